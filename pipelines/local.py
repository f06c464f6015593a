"""Runs the compiled pipeline on this machine: services around it, progress beside it."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kg_schema.errors import DeskGraphError, InputError
from pipelines.follow import Follower
from pipelines.packages import compile_package, executed_tasks
from pipelines.placement import Profile
from pipelines.services import environment, local_graph
from pipelines.workspace import Workspace

logger = logging.getLogger(__name__)

DURATIONS = "durations.json"
OUTPUTS = "outputs.json"


class StageFailed(DeskGraphError):
    """A step of the pipeline failed."""

    def __init__(self, what: str, *, where: str, fix: str, exit_code: int) -> None:
        super().__init__(what, where=where, fix=fix)
        self.exit_code = exit_code


@dataclass(frozen=True)
class LocalRun:
    """What to run.

    Args:
        profile: Settings and defaults.
        tickets: Location of the tickets.
        pipeline: Name of the pipeline, one of `pipelines.packages.PIPELINES`.
        test_tickets: Location of separate test tickets; empty for none.
        unlabelled: Location of tickets without labels; empty for none.
        graph: Location of the graph's files; empty for none.
        gold: Location of the gold questions; empty for none.
        parameters: Further pipeline parameters by name.
        fresh: Run every step again, whatever earlier runs finished.
    """

    profile: Profile
    tickets: str
    pipeline: str = "training"
    test_tickets: str = ""
    unlabelled: str = ""
    graph: str = ""
    gold: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    fresh: bool = False


@dataclass(frozen=True)
class LocalResult:
    """What a run left.

    Args:
        outputs: The pipeline's outputs: paths of artifacts, parameters as they are.
        deployment: What the supervisor serves now; empty where nothing was deployed.
        report: The report's path; None where the pipeline makes none.
        seconds: Wall time.
        cached: Steps that were kept from an earlier run.
    """

    outputs: Mapping[str, Any]
    deployment: Mapping[str, Any]
    report: Path | None
    seconds: float
    cached: tuple[str, ...]


@contextmanager
def run_locally(run: LocalRun, workspace: Workspace) -> Iterator[LocalResult]:
    """Runs the DAG in a workspace; the winner serves until the context ends.

    Steps that an earlier run finished on the same inputs, code and settings are kept. What a
    failed run had made before stays as it was.

    Args:
        run: What to run.
        workspace: Where.

    Yields:
        What the run left, while graph and server still answer.

    Raises:
        InputError: Something given cannot be used.
        StageFailed: A step failed.
    """
    from pipelines.supervisor import start_supervisor

    started = time.monotonic()
    _check_parameters(run)
    if ignored := run.profile.ignored_locally():
        logger.warning("without Kubernetes these settings do nothing: %s", ", ".join(ignored))
    with ExitStack() as stack:
        stack.enter_context(workspace.lock())
        if run.fresh:
            workspace.forget()
        workspace.sweep()
        package = workspace.out / "pipeline.yaml"
        compile_package(run.pipeline, run.profile, package)
        parameters: dict[str, Any] = {
            **run.parameters,
            "tickets": run.tickets,
            "test_tickets": run.test_tickets,
            "unlabelled": run.unlabelled,
            "graph": run.graph,
            "gold": run.gold,
            "tracking_uri": workspace.tracking_uri,
            "checkpoints": str(workspace.checkpoints),
            "graph_uri": "",
        }
        if run.graph:
            parameters["graph_uri"] = stack.enter_context(_graph(workspace))
        supervisor = stack.enter_context(start_supervisor(workspace.out))
        stack.enter_context(environment(supervisor.environment()))
        parameters["deploy_target"] = supervisor.url
        outputs, cached = _execute(package, parameters, run, workspace)
        made = outputs.get("report")
        yield LocalResult(
            outputs=outputs,
            deployment=supervisor.current() or {},
            report=_publish_report(Path(made), workspace) if made else None,
            seconds=time.monotonic() - started,
            cached=cached,
        )


@contextmanager
def _graph(workspace: Workspace) -> Iterator[str]:
    """Gives the graph's address, and what reaches it to every step by the environment."""
    if uri := os.environ.get("NEO4J_URI"):
        yield uri
        return
    with local_graph(workspace.graph) as server, environment(server.environment()):
        yield server.uri


def _check_parameters(run: LocalRun) -> None:
    """Refuses at once what the first step would refuse a while later."""
    for name in ("tickets", "test_tickets", "unlabelled", "graph", "gold"):
        location = str(getattr(run, name))
        if location and "://" not in location and not location.startswith("samples:"):
            path = Path(location)
            if not path.exists():
                raise InputError(
                    "no such file or folder",
                    where=location,
                    fix=f"check --{name.replace('_', '-')}",
                )


def _execute(
    package: Path, parameters: dict[str, Any], run: LocalRun, workspace: Workspace
) -> tuple[dict[str, Any], tuple[str, ...]]:
    job = workspace.out / ".job.json"
    outputs = workspace.out / OUTPUTS
    outputs.unlink(missing_ok=True)
    content = {
        "package": str(package),
        "arguments": parameters,
        "root": str(workspace.pipeline),
        "cache": str(workspace.cache),
        "outputs": str(outputs),
    }
    job.write_text(json.dumps(content), encoding="utf-8")
    expected = {**run.profile.expected_seconds, **workspace.read_json(DURATIONS)}
    follower = Follower(planned_steps(package, with_graph=bool(run.graph)), expected)
    log = workspace.logs / f"run-{time.strftime('%Y%m%d-%H%M%S')}.log"
    code = _follow(job, follower, log)
    workspace.write_json(DURATIONS, {**workspace.read_json(DURATIONS), **follower.durations})
    if code != 0 or not outputs.exists():
        raise _failure(follower, log)
    return json.loads(outputs.read_text(encoding="utf-8")), tuple(follower.cached)


def _follow(job: Path, follower: Follower, log: Path) -> int:
    command = [sys.executable, "-m", "pipelines.local_worker", str(job)]
    # A group of its own, ended as one: from here at an interrupt, by itself when this is killed.
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )
    try:
        with log.open("w", encoding="utf-8") as stream:
            for line in process.stdout or ():
                stream.write(line)
                follower.read([line])
        return process.wait()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def _failure(follower: Follower, log: Path) -> StageFailed:
    failure = follower.failure
    if failure is None:
        return StageFailed(
            "the pipeline did not finish", where=str(log), fix="read its last lines", exit_code=1
        )
    if failure.message:
        return StageFailed(failure.message, where=failure.step, fix="", exit_code=failure.exit_code)
    return StageFailed(
        "broke", where=failure.step, fix=f"its traceback is in {log}", exit_code=failure.exit_code
    )


def planned_steps(package: Path, *, with_graph: bool) -> dict[str, str]:
    """Names the steps of a compiled pipeline by the task names of a local run's log.

    Args:
        package: The compiled YAML.
        with_graph: Whether the branch with the graph is taken.

    Returns:
        Names shown on the pipelines page, by task.
    """
    content = next(yaml.safe_load_all(package.read_text(encoding="utf-8")))
    left_out = "comp-no-graph" if with_graph else "comp-load-graph"
    return {
        component.removeprefix("comp-"): task["taskInfo"]["name"]
        for _, task in executed_tasks(content)
        if (component := task["componentRef"]["name"]) != left_out
    }


def _publish_report(made: Path, workspace: Workspace) -> Path:
    workspace.report.mkdir(exist_ok=True)
    final = workspace.report / "index.html"
    temporary = final.with_suffix(".tmp")
    shutil.copyfile(made, temporary)
    temporary.replace(final)
    return final
