"""`deskgraph submit`: a package's version on the backend, one run of it, followed to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from kg_schema.progress import format_duration
from pipelines.client import SUCCEEDED, PipelinesClient
from pipelines.kfp_api import KfpError, KfpMissing
from pipelines.packages import Package, compile_package, read_package
from pipelines.parameters import parse_parameters
from pipelines.placement import Profile
from pipelines.run_follower import RunFollower

EXPERIMENT = "deskgraph"
INTERRUPTED = 130

Say = Callable[[str], None]


@contextmanager
def compiled(pipeline: str, profile: Profile) -> Iterator[Package]:
    """Compiles a pipeline for as long as it takes to upload it.

    Args:
        pipeline: One of `packages.PIPELINES`.
        profile: What it is compiled for.

    Raises:
        InputError: There is no such pipeline.
    """
    with TemporaryDirectory(prefix="deskgraph-") as folder:
        path = Path(folder) / "pipeline.yaml"
        compile_package(pipeline, profile, path)
        yield read_package(path)


def submit(
    client: PipelinesClient,
    package: Package,
    say: Say,
    *,
    parameters: Sequence[str] = (),
    experiment: str = EXPERIMENT,
    run_name: str = "",
) -> str:
    """Uploads a package where its version is missing, and starts one run of it.

    Args:
        client: The backend.
        package: What runs.
        say: Takes each line of the result.
        parameters: `name=value`, typed by the package.
        experiment: The experiment's name, made where it is missing.
        run_name: As the page shows it; the pipeline's name and the time by default.

    Returns:
        The run's id.

    Raises:
        InputError: A parameter does not fit; nothing was uploaded.
        KfpError: The backend refuses or is away.
    """
    values = parse_parameters(parameters, package.parameters)
    version = client.upload(package.path, package.pipeline, package.version)
    how = "uploaded" if version.created else "was there already"
    say(f"{package.pipeline} {version.name} {how}")
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    name = run_name or f"{package.pipeline}-{stamp}"
    why = f"deskgraph submit, {version.name}"
    run = client.start_run(name, version, values, client.experiment(experiment), why)
    say(f"run {name} started: {run.run_id}")
    return str(run.run_id)


def follow(
    client: PipelinesClient,
    run_id: str,
    say: Say,
    *,
    link: str,
    again: str,
    end_on_interrupt: bool = False,
    follower: RunFollower | None = None,
) -> int:
    """Follows a run to its end.

    Args:
        client: The backend.
        run_id: The run.
        say: Takes each line of the result.
        link: The run's page.
        again: The command line that goes on with this run, without what to do.
        end_on_interrupt: Whether Ctrl-C ends the run too.
        follower: Looks at the run; a new one by default.

    Returns:
        0 where the run succeeded, 130 at Ctrl-C, else 1.

    Raises:
        KfpError: The backend refuses or is away for too long; the run goes on.
    """
    try:
        ended = (follower or RunFollower(client, run_id)).follow()
    except KeyboardInterrupt:
        if end_on_interrupt:
            client.end_run(run_id)
            say(f"asked the run to end: {link}")
        else:
            say(f"the run goes on: {link}")
            say(f"  {again} --follow {run_id}    to follow it")
            say(f"  {again} --end {run_id}       to end it")
        return INTERRUPTED
    except KfpMissing:
        raise
    except KfpError as error:
        fix = f"{error.fix}; the run goes on, see `{again} --follow {run_id}`".removeprefix("; ")
        raise KfpError(error.what, where=error.where, fix=fix) from error
    for failure in ended.failures:
        say(failure)
    say(f"{ended.state} in {format_duration(ended.seconds)}: {link}")
    return 0 if ended.state == SUCCEEDED else 1


def run_link(ui: str, run_id: str) -> str:
    """Returns the address of a run's page."""
    return f"{ui.rstrip('/')}/#/runs/details/{run_id}"
