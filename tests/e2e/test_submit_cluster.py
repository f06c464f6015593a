"""The way to Kubeflow Pipelines on a real backend (KFP_ENDPOINT), with a pipeline of two steps.

DESKGRAPH_IMAGES names the record of the images that the cluster has.
"""

from __future__ import annotations

import io
import os
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.client import UNDER_WAY, PipelinesClient, equals, in_states
from pipelines.cron import parse_cron
from pipelines.images import read_record
from pipelines.kfp_api import Access, KfpError, KfpMissing
from pipelines.packages import Package, read_package
from pipelines.run_follower import RunFollower
from pipelines.schedule import Schedule, reconcile, remove
from pipelines.submission import follow, submit
from tests.pipelines.tiny_pipeline import compile_tiny

ENDPOINT = os.environ.get("KFP_ENDPOINT", "")
EXPERIMENT = "deskgraph-e2e"

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not ENDPOINT, reason="KFP_ENDPOINT names no cluster"),
]


@pytest.fixture(scope="module")
def client() -> PipelinesClient:
    return PipelinesClient(Access.find(ENDPOINT))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """A pipeline of this module's own, whose version nobody has uploaded."""
    image = read_record(Path(os.environ["DESKGRAPH_IMAGES"]))["train"].named
    out = tmp_path_factory.mktemp("tiny") / "tiny.yaml"
    return read_package(
        compile_tiny(out, image=image, name=f"deskgraph-e2e-{uuid.uuid4().hex[:8]}")
    )


def run(client: PipelinesClient, package: Package, *parameters: str) -> tuple[int, list[str], str]:
    said: list[str] = []
    out = io.StringIO()
    run_id = submit(client, package, said.append, parameters=parameters, experiment=EXPERIMENT)
    follower = RunFollower(client, run_id, stream=out, poll_s=1.0)
    code = follow(client, run_id, said.append, link=run_id, again="again", follower=follower)
    return code, said, out.getvalue()


def test_a_version_is_uploaded_once_and_its_run_followed(
    client: PipelinesClient, package: Package
) -> None:
    code, said, told = run(client, package, "rows=4", "note=hello", 'options={"b": [1, 2.5]}')
    assert code == 0, (said, told)
    assert said[0].endswith("uploaded")
    assert re.fullmatch(r"SUCCEEDED in \d+ s: .*|SUCCEEDED in .* min .* s: .*", said[-1])
    assert re.search(r"count +running\n", told)
    assert re.search(r"count +done in \d+ s", told)
    assert re.search(r"look +done in \d+ s", told)
    code, said, told = run(client, package, "rows=4", "note=again")
    assert code == 0
    assert said[0].endswith("was there already")
    assert re.search(r"count +kept from an earlier run", told)
    assert re.search(r"look +done in \d+ s", told)


def test_a_step_that_fails_ends_in_its_own_line(client: PipelinesClient, package: Package) -> None:
    code, said, told = run(client, package, "rows=4", "note=t.csv", "fail=true")
    assert code == 1
    assert "look: t.csv: 16 is too much" in said, told
    assert said[-1].startswith("FAILED in")
    code, said, told = run(client, package, "rows=-1")
    assert code == 1
    assert "count: ValueError: -1 rows" in said, told


def test_a_run_can_be_ended(client: PipelinesClient, package: Package) -> None:
    said: list[str] = []
    run_id = submit(client, package, said.append, experiment=EXPERIMENT, run_name="a%+b ended")
    assert next(client.runs(equals("display_name", "a%+b ended"))).run_id == run_id
    owner = client.find_pipeline(package.pipeline)
    assert owner is not None
    assert run_id in [each.run_id for each in client.runs_of(owner, in_states(UNDER_WAY))]
    client.end_run(run_id)
    client.end_run(run_id)
    follower = RunFollower(client, run_id, stream=io.StringIO(), poll_s=1.0)
    assert follow(client, run_id, said.append, link="", again="again", follower=follower) == 1


def test_what_it_refuses_is_one_line(client: PipelinesClient, package: Package) -> None:
    version = client.upload(package.path, package.pipeline, package.version)
    experiment = client.experiment(EXPERIMENT)
    with pytest.raises(KfpMissing):
        client.run(str(uuid.uuid4()))
    for values in ({"nope": 1}, {"rows": "1"}, {"options": 1}):
        with pytest.raises(KfpError, match="cannot start run x") as caught:
            client.start_run("x", version, values, experiment, "refused")
        assert "\n" not in str(caught.value)
    with pytest.raises(KfpError):
        client.create_recurring_run("x", version, {}, experiment, "0 0 99 * * *")


@pytest.fixture
def schedule_name(client: PipelinesClient) -> Iterator[str]:
    name = f"deskgraph-e2e-{uuid.uuid4().hex[:8]}"
    yield name
    remove(client, name, print)


def test_a_schedule_is_one_recurring_run(
    client: PipelinesClient, package: Package, schedule_name: str
) -> None:
    version = client.upload(package.path, package.pipeline, package.version)
    experiment = client.experiment(EXPERIMENT)
    said: list[str] = []

    def asked(cron: str, rows: int = 4) -> str:
        wanted = Schedule(schedule_name, version, {"rows": rows}, experiment, parse_cron(cron))
        return reconcile(client, wanted, said.append)

    first = asked("0 0 3 * * *")
    assert asked("0 0 3 * * *") == first
    assert "nothing to do" in said[2]
    other = asked("0 0 4 * * *")
    (left,) = client.recurring_runs(schedule_name)
    assert left.recurring_run_id == other != first
    assert (left.no_catchup, left.max_concurrency, left.status) == (True, "1", "ENABLED")
    assert asked("0 0 4 * * *", rows=5) != other
    assert len(client.recurring_runs(schedule_name)) == 1


def test_a_schedule_starts_runs_of_its_version(
    client: PipelinesClient, package: Package, schedule_name: str
) -> None:
    version = client.upload(package.path, package.pipeline, package.version)
    cron = parse_cron("*/20 * * * * *")
    wanted = Schedule(schedule_name, version, {}, client.experiment(EXPERIMENT), cron)
    recurring = reconcile(client, wanted, print)
    deadline = time.monotonic() + 120
    runs = []
    while not runs and time.monotonic() < deadline:
        time.sleep(2)
        runs = [
            each for each in client.runs_of(version.pipeline_id)
            if each.recurring_run_id == recurring
        ]  # fmt: skip
    remove(client, schedule_name, print)
    assert runs
    assert runs[0].pipeline_version_reference.pipeline_version_id == version.version_id
    for each in client.runs_of(version.pipeline_id, in_states(UNDER_WAY)):
        client.end_run(each.run_id)


def test_a_stale_token_is_said(client: PipelinesClient, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("stale", encoding="utf-8")
    stale = PipelinesClient(Access(ENDPOINT, token_file=token))
    try:
        stale.experiment(EXPERIMENT)
    except KfpError as error:
        assert "is stale" in str(error)
        return
    pytest.skip("this Kubeflow takes anybody")
