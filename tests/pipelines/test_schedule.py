"""`deskgraph schedule`: one recurring run, whatever was there and wherever a call breaks off."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines import cli
from pipelines.client import PipelinesClient
from pipelines.cron import parse_cron
from pipelines.kfp_api import KfpError
from pipelines.packages import read_package
from pipelines.schedule import Schedule, describe, reconcile, remove, show
from pipelines.submission import EXPERIMENT
from tests.kfp_server import KfpServer, Refused
from tests.pipelines.tiny_pipeline import NAME, compile_tiny

DAILY = parse_cron("0 0 3 * * *")


@pytest.fixture
def client(kfp_server: KfpServer) -> PipelinesClient:
    return PipelinesClient(kfp_server.access(), retry_for_s=2)


@pytest.fixture
def wanted(client: PipelinesClient, tiny_package: Path) -> Schedule:
    version = client.upload(tiny_package, NAME, read_package(tiny_package).version)
    return Schedule(NAME, version, {"rows": 4}, client.experiment("desk"), DAILY)


def said_of(client: PipelinesClient, wanted: Schedule) -> str:
    said: list[str] = []
    reconcile(client, wanted, said.append)
    assert "UTC, unless" in said[1]
    return said[0]


def test_it_is_made_as_asked_for_and_asking_again_does_nothing(
    client: PipelinesClient, wanted: Schedule, kfp_server: KfpServer
) -> None:
    assert said_of(client, wanted) == f"{NAME}: created"
    (made,) = kfp_server.all("recurring_runs")
    assert made["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * *"}}
    assert (made["no_catchup"], made["max_concurrency"], made["mode"]) == (True, "1", "ENABLE")
    assert made["runtime_config"]["parameters"] == {"rows": 4}
    assert made["pipeline_version_reference"]["pipeline_version_id"] == wanted.version.version_id
    kfp_server.requests.clear()
    assert said_of(client, wanted) == f"{NAME}: nothing to do, it is there"
    assert {method for method, _ in kfp_server.requests} == {"GET"}


def test_another_content_replaces_it(
    client: PipelinesClient, wanted: Schedule, kfp_server: KfpServer, tiny_package: Path
) -> None:
    ids = {reconcile(client, wanted, print)}
    other = client.upload(tiny_package, NAME, "sha-other")
    for changed in (
        replace(wanted, cron=parse_cron("0 0 4 * * *")),
        replace(wanted, parameters={}),
        replace(wanted, version=other),
        replace(wanted, experiment=client.experiment("another")),
    ):
        assert said_of(client, changed) == f"{NAME}: replaced"
        (left,) = kfp_server.all("recurring_runs")
        assert left["recurring_run_id"] not in ids
        ids.add(left["recurring_run_id"])


@pytest.mark.parametrize("change", [{"no_catchup": False}, {"max_concurrency": "3"}])
def test_what_somebody_made_by_hand_otherwise_is_replaced(
    change: dict[str, Any], client: PipelinesClient, wanted: Schedule, kfp_server: KfpServer
) -> None:
    made = reconcile(client, wanted, print)
    kfp_server.objects["recurring_runs"][made].update(change)
    assert said_of(client, wanted) == f"{NAME}: replaced"
    assert len(kfp_server.all("recurring_runs")) == 1


def test_one_that_was_disabled_is_enabled(
    client: PipelinesClient, wanted: Schedule, kfp_server: KfpServer
) -> None:
    made = reconcile(client, wanted, print)
    kfp_server.objects["recurring_runs"][made].update(mode="DISABLE", status="DISABLED")
    assert said_of(client, wanted) == f"{NAME}: enabled again"
    assert kfp_server.all("recurring_runs")[0]["status"] == "ENABLED"
    assert reconcile(client, wanted, print) == made


@pytest.mark.parametrize("breaks_at", ["POST", "DELETE"])
def test_a_break_in_the_middle_ends_in_one_with_the_next_call(
    breaks_at: str, client: PipelinesClient, wanted: Schedule, kfp_server: KfpServer
) -> None:
    reconcile(client, wanted, print)
    changed = replace(wanted, cron=parse_cron("0 0 4 * * *"))

    def refuse(method: str, path: str) -> None:
        if method == breaks_at:
            raise Refused(403, "no")

    kfp_server.before = refuse
    with pytest.raises(KfpError, match="no right"):
        reconcile(client, changed, print)
    assert len(kfp_server.all("recurring_runs")) == (1 if breaks_at == "POST" else 2)
    kfp_server.before = lambda method, path: None
    said_of(client, changed)
    (left,) = kfp_server.all("recurring_runs")
    assert left["trigger"]["cron_schedule"]["cron"] == "0 0 4 * * *"


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_line_that_breaks_after_the_deed_makes_no_second(
    method: str, client: PipelinesClient, wanted: Schedule, kfp_server: KfpServer
) -> None:
    made = reconcile(client, wanted, print)
    target = "/apis/v2beta1/recurringruns"
    kfp_server.lose_answer(method, target if method == "POST" else f"{target}/{made}")
    reconcile(client, replace(wanted, parameters={}), print)
    assert len(kfp_server.all("recurring_runs")) == 1


def test_two_calls_at_once_end_in_one(
    client: PipelinesClient, wanted: Schedule, kfp_server: KfpServer
) -> None:
    both_looked = threading.Barrier(2, timeout=10)

    def wait(method: str, path: str) -> None:
        if (method, path) == ("POST", "/apis/v2beta1/recurringruns"):
            both_looked.wait()

    kfp_server.before = wait
    with ThreadPoolExecutor(2) as pool:
        clients = [PipelinesClient(kfp_server.access()) for _ in range(2)]
        done = [pool.submit(reconcile, each, wanted, print) for each in clients]
        ids = [each.result() for each in done]
    (left,) = kfp_server.all("recurring_runs")
    assert left["recurring_run_id"] in ids


def test_others_are_left_alone(
    client: PipelinesClient, wanted: Schedule, kfp_server: KfpServer
) -> None:
    reconcile(client, replace(wanted, name="another"), print)
    reconcile(client, wanted, print)
    said: list[str] = []
    remove(client, NAME, said.append)
    remove(client, NAME, said.append)
    assert said == [f"{NAME}: deleted", f"{NAME}: nothing to remove"]
    assert [each["display_name"] for each in kfp_server.all("recurring_runs")] == ["another"]


def test_it_is_shown_with_its_zone(client: PipelinesClient, wanted: Schedule) -> None:
    said: list[str] = []
    show(client, NAME, said.append)
    made = reconcile(client, wanted, lambda line: None)
    show(client, NAME, said.append)
    assert said[:2] == [f"{NAME}: not scheduled", f"{NAME}: enabled, {made}"]
    assert said[2].startswith(f'  runs {wanted.version.name} at "0 0 3 * * *", next 20')
    assert said[3] == "  rows = 4"
    at = datetime(2026, 3, 4, 12, tzinfo=UTC)
    assert '"0 0 3 * * *", next 2026-03-05 03:00:00 UTC (' in describe(DAILY, at)


@pytest.mark.parametrize(
    ("cron", "told"),
    [
        ("0 3 * * *", "has five fields, with no seconds; give six"),
        ("@daily", "has 1 fields; give six"),
        ("0 0 3 31 2 *", "never comes: no such day; give six"),
    ],
)
def test_a_cron_made_elsewhere_is_shown_with_what_is_wrong(
    cron: str, told: str, client: PipelinesClient, wanted: Schedule, kfp_server: KfpServer
) -> None:
    made = reconcile(client, wanted, print)
    kfp_server.objects["recurring_runs"][made]["trigger"] = {"cron_schedule": {"cron": cron}}
    said: list[str] = []
    show(client, NAME, said.append)
    assert said[1].startswith(f'  runs {wanted.version.name} at "{cron}" ({told}')
    assert said[2] == "  rows = 4"


@pytest.mark.parametrize(
    ("version", "told"),
    [({}, "the newest version"), ({"pipeline_version_id": "7"}, "a version that is gone (7)")],
)
def test_a_version_that_is_not_named_or_gone_is_shown(
    version: dict[str, str],
    told: str,
    client: PipelinesClient,
    wanted: Schedule,
    kfp_server: KfpServer,
) -> None:
    made = reconcile(client, wanted, print)
    reference = {"pipeline_id": wanted.version.pipeline_id, **version}
    kfp_server.objects["recurring_runs"][made]["pipeline_version_reference"] = reference
    said: list[str] = []
    show(client, NAME, said.append)
    assert said[1].startswith(f'  runs {told} at "0 0 3 * * *", next 20')


def test_the_command(
    kfp_server: KfpServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        "pipelines.submission.compile_package",
        lambda name, profile, out: compile_tiny(out, name="deskgraph-training"),
    )
    command = ["schedule", "--host", kfp_server.url, "--pipeline", "training"]
    cron = ["--cron", "0 0 3 * * *", "--param", "rows=2"]
    assert cli.main([*command, *cron]) == 0
    assert cli.main([*command, *cron]) == 0
    told = capsys.readouterr().out
    assert "deskgraph-training: created" in told
    assert "deskgraph-training: nothing to do" in told
    assert [each["display_name"] for each in kfp_server.all("experiments")] == [EXPERIMENT]
    assert cli.main([*command, "--show"]) == 0
    assert "  rows = 2" in capsys.readouterr().out
    assert cli.main([*command, "--cron", "0 3 * * *"]) == 2
    assert "five fields" in capsys.readouterr().err
    assert cli.main([*command, *cron, "--param", "x=2"]) == 2
    assert cli.main([*command, "--remove"]) == 0
    assert kfp_server.all("recurring_runs") == []
