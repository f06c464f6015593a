"""`deskgraph watch`: a retraining for changed policies, one at a time, once for each change."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from components.registry import (
    CHAMPION,
    ModelRegistry,
    RegisteredVersion,
    recorded_fingerprint,
)
from kg_schema.connection import GraphSettings, GraphUnavailable
from kg_schema.errors import InputError
from kg_schema.local import RunningServer
from kg_schema.migrate import migrate
from kg_schema.ontology import load_ontology
from kg_schema.writer import GraphWriter
from pipelines import cli, packages
from pipelines.client import PipelinesClient, Version
from pipelines.cron import parse_cron
from pipelines.policy_watch import Watch, check
from pipelines.schedule import Schedule, reconcile
from tests.kfp_server import KfpServer
from tests.pipelines.tiny_pipeline import NAME

OLD, NEW = "0" * 16, "1" * 16
MODEL = "desk-intent"


@pytest.fixture
def client(kfp_server: KfpServer) -> PipelinesClient:
    return PipelinesClient(kfp_server.access(), retry_for_s=2)


@pytest.fixture
def version(client: PipelinesClient, tiny_package: Path) -> Version:
    return client.upload(tiny_package, NAME, "sha-1")


@pytest.fixture(scope="module")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An MLflow database with its tables, which take seconds to make."""
    path = tmp_path_factory.mktemp("registry") / "mlflow.db"
    ModelRegistry(f"sqlite:///{path}").names()
    return path.read_bytes()


@pytest.fixture
def tracking_uri(empty_registry: bytes, tmp_path: Path) -> str:
    (tmp_path / "mlflow.db").write_bytes(empty_registry)
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def crown(tracking_uri: str, model: str = MODEL, **tags: str) -> None:
    """Registers a version with these tags, and makes it champion."""
    client = ModelRegistry(tracking_uri).client
    if model not in ModelRegistry(tracking_uri).names():
        client.create_registered_model(model)
    made = client.create_model_version(model, "file:///tmp/model", tags=tags)
    client.set_registered_model_alias(model, CHAMPION, made.version)


@pytest.fixture
def watch(tracking_uri: str, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """A champion of the old policies, and a graph with the new ones."""
    crown(tracking_uri, graph=OLD)

    def read(settings: GraphSettings) -> str:
        return NEW

    monkeypatch.setattr("pipelines.policy_watch.read_fingerprint", read)
    graph = GraphSettings("bolt://127.0.0.1:1")
    return Watch(graph, tracking_uri, MODEL, NAME, schedule=NAME)


@pytest.fixture
def scheduled(client: PipelinesClient, version: Version) -> str:
    """The recurring run that says what to train on."""
    cron = parse_cron("0 0 3 * * *")
    experiment = client.experiment("scheduled")
    wanted = Schedule(NAME, version, {"rows": 9}, experiment, cron)
    return reconcile(client, wanted, lambda line: None)


def checked(client: PipelinesClient, watch: Watch, settle_s: float = 0.0) -> str:
    said: list[str] = []
    check(client, watch, said.append, settle_s=settle_s)
    (line,) = said
    return line


def test_changed_policies_start_one_run_and_no_other_beside_it(
    client: PipelinesClient, watch: Watch, scheduled: str, kfp_server: KfpServer
) -> None:
    assert checked(client, watch).startswith(
        f"policies changed: {OLD} -> {NEW}; started run {NAME}"
    )
    (run,) = kfp_server.all("runs")
    assert run["display_name"] == f"{NAME}-policies-{NEW}"
    assert f"{OLD} -> {NEW}" in run["description"]
    for state in ("PENDING", "RUNNING", "CANCELING"):
        kfp_server.play(run["run_id"], state)
        assert f"a run is under way: {NAME}-policies-{NEW}" in checked(client, watch)
    assert len(kfp_server.all("runs")) == 1


def test_any_run_of_the_pipeline_counts_and_those_of_others_do_not(
    client: PipelinesClient,
    watch: Watch,
    scheduled: str,
    kfp_server: KfpServer,
    tiny_package: Path,
) -> None:
    experiment = client.experiment("elsewhere")
    other = client.upload(tiny_package, "deskgraph-other", "sha-1")
    client.start_run("another pipeline's", other, {}, experiment, "test")
    older = client.upload(tiny_package, NAME, "sha-0")
    mine = client.start_run("by hand", older, {}, experiment, "test")
    assert "a run is under way: by hand" in checked(client, watch)
    kfp_server.play(mine.run_id, "SUCCEEDED")
    assert "; started run" in checked(client, watch)


@pytest.mark.parametrize("state", ["SUCCEEDED", "FAILED", "CANCELED"])
def test_after_a_run_for_the_same_policies_it_waits(
    state: str, client: PipelinesClient, watch: Watch, scheduled: str, kfp_server: KfpServer
) -> None:
    checked(client, watch)
    kfp_server.clock = lambda: time.time() - 3000
    kfp_server.play(kfp_server.all("runs")[0]["run_id"], state)
    line = checked(client, watch)
    assert f"; a run for them {state.lower()}: {NAME}-policies-{NEW}" in line
    assert "the next in 10 min" in line or "the next in 9 min" in line
    kfp_server.clock = lambda: time.time() - 3700
    kfp_server.play(kfp_server.all("runs")[0]["run_id"], state)
    assert "; started run" in checked(client, watch)


def test_policies_that_changed_and_changed_back_are_changed(
    client: PipelinesClient,
    watch: Watch,
    scheduled: str,
    kfp_server: KfpServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [NEW]

    def read(settings: GraphSettings) -> str:
        return now[0]

    monkeypatch.setattr("pipelines.policy_watch.read_fingerprint", read)
    for minute, policies in enumerate((NEW, "2" * 16, NEW)):
        kfp_server.clock = lambda minute=minute: time.time() - 600 + 60 * minute  # type: ignore[misc]
        now[0] = policies
        assert "; started run" in checked(client, watch)
        kfp_server.play(kfp_server.all("runs")[-1]["run_id"], "SUCCEEDED")
    assert "a run for them succeeded" in checked(client, watch)


def test_what_the_schedule_runs_is_what_is_run(
    client: PipelinesClient,
    watch: Watch,
    version: Version,
    scheduled: str,
    kfp_server: KfpServer,
    tiny_package: Path,
) -> None:
    client.upload(tiny_package, NAME, "sha-newer")
    checked(client, watch)
    (run,) = kfp_server.all("runs")
    assert run["pipeline_version_reference"]["pipeline_version_id"] == version.version_id
    assert run["runtime_config"]["parameters"] == {"rows": 9}
    assert run["experiment_id"] == client.experiment("scheduled")


def test_a_schedule_of_the_newest_version_keeps_its_parameters(
    client: PipelinesClient,
    watch: Watch,
    version: Version,
    scheduled: str,
    kfp_server: KfpServer,
    tiny_package: Path,
) -> None:
    latest = {"pipeline_id": version.pipeline_id}
    kfp_server.objects["recurring_runs"][scheduled]["pipeline_version_reference"] = latest
    kfp_server.clock = lambda: time.time() + 60
    newest = client.upload(tiny_package, NAME, "sha-newer")
    checked(client, watch)
    (run,) = kfp_server.all("runs")
    assert run["pipeline_version_reference"]["pipeline_version_id"] == newest.version_id
    assert run["runtime_config"]["parameters"] == {"rows": 9}


def test_a_schedule_that_is_disabled_stops_the_watch_too(
    client: PipelinesClient, watch: Watch, scheduled: str, kfp_server: KfpServer
) -> None:
    off = {"mode": "DISABLE", "status": "DISABLED"}
    kfp_server.objects["recurring_runs"][scheduled].update(off)
    line = checked(client, watch)
    assert line == f"policies changed: {OLD} -> {NEW}; left alone: {NAME} is disabled"
    client.enable_recurring_run(scheduled)
    assert "; started run" in checked(client, watch)


def test_without_a_schedule_of_this_pipeline_nothing_is_started(
    client: PipelinesClient,
    watch: Watch,
    version: Version,
    scheduled: str,
    kfp_server: KfpServer,
    tiny_package: Path,
) -> None:
    other = client.upload(tiny_package, "deskgraph-other", "sha-1")
    reference = kfp_server.objects["recurring_runs"][scheduled]["pipeline_version_reference"]
    reference["pipeline_id"] = other.pipeline_id
    refused = "nothing is scheduled that says what to train on; .*`deskgraph schedule`"
    with pytest.raises(InputError, match=refused):
        checked(client, watch)
    client.delete_recurring_run(scheduled)
    with pytest.raises(InputError, match=refused):
        checked(client, watch)
    assert kfp_server.all("runs") == []


def test_two_that_look_at_once_leave_one_run(
    client: PipelinesClient, watch: Watch, scheduled: str, kfp_server: KfpServer
) -> None:
    both_looked = threading.Barrier(2, timeout=10)

    def wait(method: str, path: str) -> None:
        if (method, path) == ("POST", "/apis/v2beta1/runs"):
            both_looked.wait()

    kfp_server.before = wait
    with ThreadPoolExecutor(2) as pool:
        clients = [PipelinesClient(kfp_server.access()) for _ in range(2)]
        lines = [each.result() for each in [pool.submit(checked, c, watch, 0.3) for c in clients]]
    states = sorted(run["state"] for run in kfp_server.all("runs"))
    assert states == ["CANCELING", "PENDING"]
    assert sorted("started beside it" in line for line in lines) == [False, True]


def test_nothing_is_done_where_nothing_changed_or_nothing_is_there(
    client: PipelinesClient, watch: Watch, scheduled: str, kfp_server: KfpServer
) -> None:
    crown(watch.tracking_uri, graph=OLD, graph_stamp=NEW)
    assert checked(client, watch) == f"nothing changed (fingerprint {NEW})"
    crown(watch.tracking_uri, graph=NEW)
    assert checked(client, watch) == f"nothing changed (fingerprint {NEW})"
    fresh = Watch(watch.graph, watch.tracking_uri, "unknown", NAME, NAME)
    assert checked(client, fresh) == "nothing to compare: there is no champion yet"
    assert kfp_server.all("runs") == []


def test_a_champion_that_had_no_graph_is_left_alone(
    client: PipelinesClient, watch: Watch, scheduled: str, kfp_server: KfpServer
) -> None:
    crown(watch.tracking_uri)
    line = checked(client, watch)
    assert line == "nothing to compare: the champion was trained without a graph"
    assert kfp_server.all("runs") == []


def test_what_is_missing_is_said(client: PipelinesClient, watch: Watch) -> None:
    with pytest.raises(InputError, match="no retraining pipeline is there; upload and schedule"):
        checked(client, watch)
    crown(watch.tracking_uri, "another")
    with pytest.raises(InputError, match=f"name one of another, {MODEL}"):
        checked(client, replace(watch, model=""))


def test_a_registry_that_is_not_there_is_an_error_and_not_made(
    client: PipelinesClient, watch: Watch, tmp_path: Path
) -> None:
    missing = tmp_path / "mistyped" / "mlflow.db"
    with pytest.raises(InputError, match="no registry there yet"):
        checked(client, replace(watch, tracking_uri=f"sqlite:///{missing}"))
    assert not missing.parent.exists()


@pytest.mark.parametrize(
    ("tags", "recorded"),
    [({}, ""), ({"graph": OLD}, OLD), ({"graph": OLD, "graph_stamp": NEW}, NEW)],
)
def test_a_later_stamp_counts(tags: dict[str, str], recorded: str) -> None:
    version = RegisteredVersion("m", "1", "/m", "2026", (), tags, "")
    assert recorded_fingerprint(version) == recorded


def test_the_command_on_a_real_graph(
    kfp_server: KfpServer,
    client: PipelinesClient,
    scheduled: str,
    graph_server: RunningServer,
    tracking_uri: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setitem(packages.PIPELINES, "tiny", ("", ""))
    settings = graph_server.settings()
    with GraphWriter(settings) as writer:
        writer.write("MATCH (n) WHERE NOT n:SchemaMigration DETACH DELETE n", what="empty")
        migrate(writer, load_ontology())
        writer.write("CREATE (:Policy {id: 'PO_RETURN', name: 'Returns'})", what="a policy")
    for name, value in graph_server.environment().items():
        monkeypatch.setenv(name, value)
    command = ["watch", "--host", kfp_server.url, "--graph-uri", settings.uri]
    command += ["--tracking-uri", tracking_uri, "--pipeline", "tiny"]

    def said() -> str:
        assert cli.main(command) == 0
        return capsys.readouterr().out.strip()

    crown(tracking_uri, graph=OLD)
    first = said().split("-> ")[1].split(";")[0]
    crown(tracking_uri, graph=first)
    assert said() == f"nothing changed (fingerprint {first})"
    text = tmp_path / "policy.txt"
    text.write_text("Thirty days.", encoding="utf-8")
    assert cli.main(["graph", "policy", "set", "PO_RETURN", "--text-file", str(text)]) == 0
    capsys.readouterr()
    assert said().startswith(f"policies changed: {first} -> ")
    monkeypatch.setenv("NEO4J_PASSWORD", "wrong")
    assert cli.main(command) == 1
    assert "refuses the user name or password" in capsys.readouterr().err


def test_a_graph_that_is_away_is_an_error_not_a_change(
    client: PipelinesClient, tracking_uri: str, kfp_server: KfpServer
) -> None:
    gone = Watch(GraphSettings("bolt://127.0.0.1:1"), tracking_uri, MODEL, NAME, NAME)
    with pytest.raises(GraphUnavailable):
        check(client, gone, print)
    assert kfp_server.requests == []
