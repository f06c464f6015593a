"""Roll-outs with real answers and real metrics; the cluster and the gateway are played."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from components.cluster import HTTP_ROUTE, INFERENCE_SERVICE, Cluster, ClusterAway, ClusterError
from components.deploy.deploying import (
    RECORD_NAME,
    ROLLOUT_TAG,
    DeployRequest,
    deploy_version,
)
from components.deploy.deployment import DeployError
from components.deploy.objects import accepted, graph_of
from components.deploy.replay import Agreement, compare
from components.deploy.rollout import RolledBack
from components.deploy.settings import RolloutSettings
from components.deploy.target import parse_target
from components.registry import CANDIDATE, CHAMPION, CONTENT_TAG, PREVIOUS, ModelRegistry
from kg_schema.errors import InputError
from kg_schema.local import RunningServer
from pipelines.registry import rollback_served
from serving.manifest import content_sha256, verify_manifest
from tests.components.deploy.serving_cluster import (
    HOSTNAME,
    ServingCluster,
    serving_cluster,
    write_shards,
)
from tests.graph_server import started
from tests.kube_server import NAMESPACE, KubeServer
from tests.serving.conftest import load_small_graph
from tests.serving.server_process import serving
from tests.serving.tiny_models import intent_model

MODEL = "deskgraph-intent-tiny"
# "years" is what the bad model fails at; it is slow, and unsure of everything, besides.
KINDS: dict[str, dict[str, Any]] = {
    "good": {},
    "better": {"note": "better"},
    "bad": {"words": 7, "work": 1200, "temperature": 50.0, "out_of_scope_threshold": 0.9},
}
TICKETS = [
    ("return window", "return_window"),
    ("how long is the warranty of the X-200 phone", "warranty_length"),
    ("can i return the X-200 phone", "return_window"),
    ("is there a warranty of two years", "warranty_length"),
    ("hello", "out_of_scope"),
    ("i return it", "return_window"),
]
QUICK = RolloutSettings(
    observe_s=0.0,
    min_requests=5,
    min_latency_s=1.0,
    ready_timeout_s=0.5,
    settle_s=3.0,
    step_timeout_s=30.0,
    poll_s=0.02,
)
LENIENT = replace(
    QUICK, max_error_rate=1.0, max_abstention_gain=1.0, min_agreement=0.0, min_latency_s=60.0
)


class Killed(BaseException):
    """The step's pod is deleted."""


class KilledAt(Cluster):
    """A namespace whose user is killed before its nth write, or ended by another error."""

    def __init__(self, kube: KubeServer, number: int, error: type[BaseException] = Killed) -> None:
        super().__init__(NAMESPACE, kube.client(), retry_for_s=5)
        self._left, self._error = number, error

    def _call(self, what: str, *arguments: Any, **named: Any) -> Any:
        self._left -= what.split()[0] in ("create", "change", "delete")
        if self._left == 0:
            raise self._error("before a write")
        return super()._call(what, *arguments, **named)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {kind: intent_model(folder / kind, **options) for kind, options in KINDS.items()}


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The small company's graph in a server of its own."""
    for server in started("embedded", tmp_path_factory):
        load_small_graph(server, tmp_path_factory.mktemp("small"))
        yield server


@pytest.fixture(scope="module")
def processes(
    models: dict[str, Path], graph: RunningServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """Addresses of serving processes by their model's location; all of them over the graph."""
    folder = tmp_path_factory.mktemp("logs")
    urls: dict[str, str] = {}
    stop = threading.Event()

    def run(kind: str, path: Path) -> None:
        with serving(path, folder / kind, graph=graph.uri, deadline_s=30) as running:
            urls[f"s3://models/{kind}"] = running.url
            stop.wait()

    with pytest.MonkeyPatch.context() as patch:
        for name, value in graph.environment().items():
            patch.setenv(name, value)
        threads = [threading.Thread(target=run, args=each, daemon=True) for each in models.items()]
        for thread in threads:
            thread.start()
        while len(urls) < len(models) and all(thread.is_alive() for thread in threads):
            stop.wait(0.1)
        assert len(urls) == len(models)
        yield urls
        stop.set()
        for thread in threads:
            thread.join()


@pytest.fixture(scope="module")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    database = tmp_path_factory.mktemp("registry") / "mlflow.db"
    ModelRegistry(f"sqlite:///{database}").names()
    return database.read_bytes()


class Site:
    """A cluster, a registry with the versions 1 (good), 2 (better), 3 (bad), and who deploys."""

    def __init__(self, cluster: ServingCluster, uri: str, shards: Path, out: Path, graph: str):
        self.cluster, self.uri, self.shards, self.out, self.graph = (
            cluster,
            uri,
            shards,
            out,
            graph,
        )
        self.registry = ModelRegistry(uri)

    def deploy(
        self,
        version: str,
        settings: RolloutSettings = QUICK,
        *,
        cluster: Cluster | None = None,
        **request: Any,
    ) -> dict[str, Any]:
        """Rolls a version out and returns the record."""
        asked = DeployRequest(
            MODEL,
            version,
            self.cluster.target,
            self.uri,
            **{"graph_uri": self.graph, "shards": self.shards, **request},
        )
        cluster = cluster or Cluster(NAMESPACE, self.cluster.kube.client(), retry_for_s=5)
        deploy_version(asked, settings, out=str(self.out), cluster=cluster, reach=self.cluster)
        return self.record()

    def record(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(self.out.read_text())
        return record

    def alias(self, name: str) -> str:
        row = self.registry.with_alias(MODEL, name)
        return row.version if row else ""

    def serves(self, version: str) -> None:
        """Everything says that this version serves, and nothing else is left."""
        assert self.cluster.weights == {f"desk-v{version}": 100}
        assert self.cluster.services == [f"desk-v{version}"]
        assert (self.cluster.note("stable"), self.cluster.note("canary")) == (version, "")
        assert self.alias(CHAMPION) == version


@pytest.fixture
def site(
    kube: KubeServer,
    processes: dict[str, str],
    models: dict[str, Path],
    empty_registry: bytes,
    graph: RunningServer,
    tmp_path: Path,
) -> Iterator[Site]:
    database = tmp_path / "mlflow.db"
    database.write_bytes(empty_registry)
    shards = write_shards(tmp_path / "shards", TICKETS)
    with ExitStack() as stack:
        cluster = stack.enter_context(serving_cluster(kube, processes))
        made = Site(cluster, f"sqlite:///{database}", shards, tmp_path / "record.json", graph.uri)
        client = made.registry.client
        client.create_registered_model(MODEL)
        for kind, path in models.items():
            tags = {CONTENT_TAG: content_sha256(verify_manifest(path, "model"))}
            client.create_model_version(MODEL, f"s3://models/{kind}", tags=tags)
        yield made


def test_the_first_version_gets_the_route_and_the_alias(site: Site) -> None:
    record = site.deploy("1")
    site.serves("1")
    assert record["outcome"] == "promoted"
    (step,) = record["steps"]
    assert (step["weight"], step["gateway"]) == (100, {"1": 5})
    service = site.cluster.kube.get(INFERENCE_SERVICE, "desk-v1")
    assert service is not None
    assert service["spec"]["predictor"]["model"]["args"] == [f"--graph={site.graph}"]
    route = site.cluster.kube.get(HTTP_ROUTE, "desk")
    assert route is not None
    assert route["spec"]["hostnames"] == [HOSTNAME]


def test_a_version_as_good_goes_up_step_by_step_with_counts_at_each(site: Site) -> None:
    site.deploy("1")
    site.registry.nominate(MODEL, "2")
    record = site.deploy("2")
    site.serves("2")
    assert (site.alias(PREVIOUS), site.alias(CANDIDATE)) == ("1", "")
    assert record["outcome"] == "promoted"
    steps = {step["weight"]: step for step in record["steps"]}
    assert list(steps) == [0, 10, 50, 100]
    assert not any(step["breaches"] for step in steps.values())
    for weight, step in steps.items():
        assert step["agreement"]["share"] == 1.0
        assert step["agreement"]["compared"] == len(TICKETS)
        if weight in (10, 50):
            sent = sum(step["gateway"].values())
            assert step["gateway"]["2"] == pytest.approx(sent * weight / 100, abs=1)
            assert step["gateway"]["2"] >= QUICK.min_requests
            assert step["new"]["answers"] == step["gateway"]["2"] + len(TICKETS)
    assert steps[0]["gateway"] == {}
    assert steps[100]["gateway"] == {"2": 5}
    assert "at 10%: errors 0.0% / 0.0%; p95" in record["lines"][2]


def test_tickets_are_sent_only_where_customers_do_not_suffice(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.deploy("1")

    def busy(client: httpx.Client, tickets: Any, old: str, new: str) -> Agreement:
        """Asks both, and customers ask the new one meanwhile."""
        body = {"instances": [{"text": "hello"}]}
        for _ in range(QUICK.min_requests):
            client.post(f"{new}/v1/models/deskgraph:predict", json=body)
        return compare(client, tickets, old, new)

    monkeypatch.setattr("components.deploy.rollout.compare", busy)
    steps = {step["weight"]: step for step in site.deploy("2")["steps"]}
    site.serves("2")
    assert steps[10]["gateway"] == steps[50]["gateway"] == {}
    assert steps[100]["gateway"] == {"2": 5}  # who answers there is known by asking


@pytest.mark.parametrize("replay", [0, 200])
def test_a_broken_old_version_does_not_keep_the_new_one_back(site: Site, replay: int) -> None:
    site.deploy("1")
    address = site.cluster.serving.pop("s3://models/good")
    try:
        record = site.deploy("2", replace(QUICK, replay=replay))
    finally:
        site.cluster.serving["s3://models/good"] = address
    site.serves("2")
    steps = {step["weight"]: step for step in record["steps"]}
    assert steps[50]["gateway"]["failed"] > 0
    assert "failed" not in steps[100]["gateway"]
    if replay:
        assert steps[0]["agreement"]["old_failed"] == len(TICKETS)
        assert "nothing compared" in record["lines"][1]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"max_error_rate": 0.02}, r"of \d+ requests failed \(\d+\.\d%\), the old one's 0\.0%"),
        ({"min_latency_s": 0.001, "max_latency_ratio": 1.0}, r"p95 is \d+ ms, the old one's \d+"),
        ({"max_abstention_gain": 0.05}, r"it abstains on 100\.0%, the old one on \d+\.\d%"),
        ({"min_agreement": 0.9}, r"both agree on \d of \d .*needed 90\.0%: .*return_window: facts"),
    ],
    ids=["errors", "latency", "abstention", "disagreement"],
)
def test_a_worse_version_is_rolled_back_with_the_numbers(
    site: Site, settings: dict[str, float], reason: str
) -> None:
    site.deploy("1")
    site.registry.nominate(MODEL, "3")
    with pytest.raises(RolledBack, match=rf"rolled back: version 3 at \d+%: .*{reason}") as caught:
        site.deploy("3", replace(LENIENT, **settings))
    assert "version 1 serves 100%" in str(caught.value)
    assert "\n" not in str(caught.value)
    site.serves("1")
    record = site.record()
    assert record["outcome"] == "rolled back"
    assert record["steps"][-1]["decision"] == "roll back"
    assert "rolled back" in site.registry.version(MODEL, "3").tags[ROLLOUT_TAG]


def test_what_only_traffic_shows_takes_the_traffic_back(site: Site) -> None:
    """No replay: only what comes through the gateway tells that the new one's process is gone."""
    site.deploy("1")
    serving = site.cluster.serving

    def dies(verb: str, body: dict[str, Any]) -> None:
        control(verb, body)
        if site.cluster.weights.get("desk-v2") == 10:
            serving.pop("s3://models/better", None)

    address, control = serving["s3://models/better"], site.cluster.kube.on_write
    site.cluster.kube.on_write = dies
    try:
        with pytest.raises(RolledBack, match=r"version 2 at 10%: .*no metrics"):
            site.deploy("2", replace(QUICK, replay=0))
    finally:
        serving["s3://models/better"] = address
    site.serves("1")


def test_a_rolled_back_version_is_not_tried_twice_by_the_same_run(site: Site) -> None:
    site.deploy("1")
    for _ in range(2):
        site.cluster.sent.clear()
        with pytest.raises(RolledBack, match="rolled back: version 3 at 0%"):
            site.deploy("3", run="run-a")
    record = site.record()
    assert (record["stable"], record["outcome"]) == ("1", "rolled back")
    assert not site.cluster.sent
    assert ("create", "inferenceservices", "") in site.cluster.kube.requests
    site.cluster.kube.requests.clear()
    with pytest.raises(RolledBack):
        site.deploy("3", run="run-b")
    assert ("create", "inferenceservices", "") in site.cluster.kube.requests


SHORT = replace(QUICK, weights=(50, 100))
WRITES = ("claim", "create", "50%", "100%", "finish", "delete the old one")


@pytest.mark.parametrize("number", range(1, 7), ids=WRITES)
def test_a_roll_out_killed_before_any_write_goes_on_where_it_was(site: Site, number: int) -> None:
    shards = write_shards(site.shards.with_name("one"), [("hello", "out_of_scope")])
    site.deploy("1", SHORT)
    with pytest.raises(Killed):
        site.deploy("2", SHORT, shards=shards, cluster=KilledAt(site.cluster.kube, number))
    reached = int(site.cluster.note("step")) if site.cluster.note("canary") else None
    assert site.alias(CHAMPION) == ("2" if number == 6 else "1")
    record = site.deploy("2", SHORT, shards=shards)
    site.serves("2")
    assert site.alias(PREVIOUS) == "1"
    if reached is not None:
        assert record["steps"][0]["weight"] == reached


@pytest.mark.parametrize("number", [3, 4, 5], ids=["traffic back", "delete", "forget"])
def test_a_roll_back_killed_before_any_write_goes_on_to_its_end(site: Site, number: int) -> None:
    site.deploy("1")
    with pytest.raises(Killed):
        site.deploy("3", run="r", cluster=KilledAt(site.cluster.kube, number))
    assert site.cluster.weights == {"desk-v1": 100}
    with pytest.raises(RolledBack, match="both agree on"):
        site.deploy("3", run="r")
    site.serves("1")


def test_a_roll_back_that_loses_the_api_server_is_not_said_to_be_one(site: Site) -> None:
    site.deploy("1")
    with pytest.raises(ClusterAway):
        site.deploy("3", run="r", cluster=KilledAt(site.cluster.kube, 4, ClusterAway))
    record = site.record()
    assert record["outcome"] == ""
    assert record["lines"][-1].startswith("to be rolled back: version 3 at 0%: ")
    assert ROLLOUT_TAG not in site.registry.version(MODEL, "3").tags
    with pytest.raises(RolledBack):
        site.deploy("3", run="r")
    site.serves("1")


def test_the_new_service_goes_when_the_gateway_has_taken_the_traffic_back(site: Site) -> None:
    site.deploy("1")
    control, seen = site.cluster.kube.on_write, []
    target = parse_target(site.cluster.target)

    def slowly(verb: str, body: dict[str, Any]) -> None:
        route = site.cluster.kube.get(HTTP_ROUTE, "desk")
        assert route is not None
        if verb == "delete":
            seen.append(accepted(target, route)[0])
        if body["kind"] == HTTP_ROUTE.name and site.cluster.note("failed"):
            threading.Timer(0.3, control, (verb, body)).start()
        else:
            control(verb, body)

    site.cluster.kube.on_write = slowly
    with pytest.raises(RolledBack, match="version 3 at 10%"):
        site.deploy("3", replace(LENIENT, step_timeout_s=0.0001, min_requests=1000))
    assert seen == [True]


def test_a_roll_out_leaves_its_record_and_its_end_with_the_version(site: Site) -> None:
    client, registry = site.registry.client, site.registry
    run = client.create_run(registry.experiment(MODEL)).info.run_id
    tags = registry.version(MODEL, "3").tags
    client.create_model_version(MODEL, "s3://models/bad", run, tags=tags)
    site.deploy("1")

    def kept() -> dict[str, Any]:
        place = registry.artifact(registry.version(MODEL, "4"), RECORD_NAME)
        record: dict[str, Any] = json.loads(Path(place).read_text())
        return record

    for _ in range(2):  # the second attempt has nothing to tell, and leaves what the first did
        with pytest.raises(RolledBack):
            site.deploy("4", run="a")
        assert (kept()["outcome"], kept()["steps"][-1]["decision"]) == ("rolled back", "roll back")
    site.deploy("4", replace(LENIENT, weights=(100,), replay=0), run="b")
    site.serves("4")
    assert kept()["outcome"] == "promoted"
    assert registry.version(MODEL, "4").tags[ROLLOUT_TAG] == "promoted"


def test_a_graph_that_moved_is_followed_by_what_is_there_already(site: Site) -> None:
    def graph(version: str) -> str:
        service = site.cluster.kube.get(INFERENCE_SERVICE, f"desk-v{version}")
        assert service is not None
        return graph_of(service)

    site.deploy("1", graph_uri="")
    assert site.deploy("1")["outcome"] == "unchanged"
    assert graph("1") == site.graph
    with pytest.raises(Killed):  # made, and no further
        site.deploy("2", graph_uri="", cluster=KilledAt(site.cluster.kube, 3))
    assert graph("2") == ""
    site.deploy("2", SHORT, graph_uri=None)
    site.serves("2")
    assert graph("2") == site.graph


def test_the_alias_moves_only_after_all_of_the_traffic(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.deploy("1")
    seen = []
    promote = ModelRegistry.promote

    def watched(registry: ModelRegistry, name: str, version: str) -> None:
        seen.append((version, site.cluster.weights, set(site.cluster.services)))
        promote(registry, name, version)

    monkeypatch.setattr(ModelRegistry, "promote", watched)
    site.deploy("2")
    assert seen == [("2", {"desk-v2": 100}, {"desk-v1", "desk-v2"})]


def test_a_repeated_deploy_only_asks(site: Site) -> None:
    site.deploy("1")
    site.cluster.kube.requests.clear()
    site.cluster.sent.clear()
    record = site.deploy("1")
    site.serves("1")
    assert record["outcome"] == "unchanged"
    assert {verb for verb, _, _ in site.cluster.kube.requests} <= {"get", "list", "update"}
    route = site.cluster.kube.get(HTTP_ROUTE, "desk")
    assert route is not None
    assert route["metadata"]["generation"] == 2  # claimed, then 100%
    assert not site.cluster.sent


def test_a_third_version_is_refused_until_the_canary_is_abandoned(site: Site) -> None:
    site.deploy("1")
    with pytest.raises(Killed):
        site.deploy("3", LENIENT, cluster=KilledAt(site.cluster.kube, 4))
    assert site.cluster.weights == {"desk-v1": 90, "desk-v3": 10}
    for version in ("2", "1"):
        with pytest.raises(DeployError, match=r"version 3 is being rolled out, at 10% since"):
            site.deploy(version)
    assert site.cluster.weights == {"desk-v1": 90, "desk-v3": 10}
    route = site.cluster.kube.get(HTTP_ROUTE, "desk")
    assert route is not None
    long_ago = (datetime.now(UTC) - timedelta(hours=2)).isoformat(timespec="seconds")
    route["metadata"]["annotations"]["deskgraph/moved"] = long_ago
    Cluster(NAMESPACE, site.cluster.kube.client()).replace(HTTP_ROUTE, route)
    record = site.deploy("2")
    site.serves("2")
    assert record["lines"][0] == "version 3, left at 10%, is taken away"


def test_an_api_server_that_starts_again_is_waited_for_and_one_that_does_not_changes_nothing(
    site: Site,
) -> None:
    site.deploy("1")
    away = threading.Timer(0.5, site.cluster.kube.away_for, [1.5])
    away.start()
    site.deploy("2", replace(QUICK, observe_s=1.0))
    site.serves("2")
    site.cluster.kube.away_for(60)
    with pytest.raises(ClusterAway, match="the API server is away"):
        site.deploy("1", cluster=Cluster(NAMESPACE, site.cluster.kube.client(), retry_for_s=0.5))
    site.cluster.kube.away_for(0)
    site.serves("2")


@pytest.mark.parametrize(
    ("resource", "verb", "what"),
    [
        ("inferenceservices", "create", "no right to create InferenceService desk-v2"),
        ("httproutes", "update", "no right to change HTTPRoute desk"),
        ("httproutes", "get", "no right to read HTTPRoute desk"),
    ],
)
def test_without_a_right_the_old_version_serves_on(
    site: Site, resource: str, verb: str, what: str
) -> None:
    site.deploy("1")
    site.cluster.kube.allowed[resource].remove(verb)
    with pytest.raises((DeployError, ClusterError), match=what) as caught:
        site.deploy("2")
    assert "\n" not in str(caught.value)
    site.cluster.kube.allowed[resource].add(verb)
    site.serves("1")


def test_a_version_that_is_not_ready_is_told_in_one_line_and_taken_away(site: Site) -> None:
    site.deploy("1")
    kube = site.cluster.kube
    address = site.cluster.serving.pop("s3://models/better")
    kube.put_pod("desk-v2-0", {"serving.kserve.io/inferenceservice": "desk-v2"}, "Pending")
    kube.put_event("desk-v2-0", "BackOff", "restarting failed container")
    kube.logs["desk-v2-0"] = "starting\nmanifest.json: onnx/model.onnx is damaged\n"
    try:
        with pytest.raises(RolledBack) as caught:
            site.deploy("2")
    finally:
        site.cluster.serving["s3://models/better"] = address
    told = str(caught.value)
    assert "\n" not in told
    assert "desk-v2 is not Ready after 0.5 s (KServe has said nothing of it)" in told
    assert "pod desk-v2-0: BackOff: restarting failed container" in told
    assert "starting | manifest.json: onnx/model.onnx is damaged" in told
    site.serves("1")


def test_a_first_version_that_fails_leaves_nothing(site: Site) -> None:
    address = site.cluster.serving.pop("s3://models/good")
    try:
        with pytest.raises(RolledBack, match=r"desk-v1 is not Ready.*nothing serves"):
            site.deploy("1")
    finally:
        site.cluster.serving["s3://models/good"] = address
    assert site.cluster.services == []
    assert site.cluster.weights == {}
    assert site.alias(CHAMPION) == ""
    site.deploy("1")
    site.serves("1")


def test_a_gateway_that_does_not_take_the_route_is_told(site: Site) -> None:
    site.deploy("1")
    site.cluster.takes_routes = False
    with pytest.raises(RolledBack, match="gateway gateway/desk does not take the route"):
        site.deploy("2", replace(QUICK, settle_s=0.3))
    assert site.cluster.weights == {"desk-v1": 100}
    assert site.alias(CHAMPION) == "1"


def test_a_name_that_holds_another_model_is_refused(site: Site) -> None:
    site.deploy("1")
    other = {"metadata": {"name": "desk-v2", "annotations": {"deskgraph/content-sha256": "0" * 64}}}
    body = site.cluster.kube.get(INFERENCE_SERVICE, "desk-v1")
    assert body is not None
    spec = {key: body[key] for key in ("apiVersion", "kind", "spec")}
    Cluster(NAMESPACE, site.cluster.kube.client()).create(INFERENCE_SERVICE, {**spec, **other})
    with pytest.raises(RolledBack, match="desk-v2 holds another model, 0000"):
        site.deploy("2")
    site.serves("1")


def test_a_rollback_by_hand_brings_the_previous_one_up_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.deploy("1")
    site.deploy("2")
    real = deploy_version

    def here(request: DeployRequest) -> str:
        cluster = Cluster(NAMESPACE, site.cluster.kube.client())
        return real(request, QUICK, cluster=cluster, reach=site.cluster)

    monkeypatch.setattr("components.deploy.deploying.deploy_version", here)
    row = rollback_served(site.uri, MODEL, "previous", site.cluster.target, at_once=True)
    assert row.version == "1"
    site.serves("1")
    assert site.alias(PREVIOUS) == "2"
    service = site.cluster.kube.get(INFERENCE_SERVICE, "desk-v1")
    assert service is not None  # over the graph of the one that served
    assert service["spec"]["predictor"]["model"]["args"] == [f"--graph={site.graph}"]
    with pytest.raises(Killed):
        site.deploy("3", LENIENT, cluster=KilledAt(site.cluster.kube, 4))
    rollback_served(site.uri, MODEL, "1", site.cluster.target, at_once=True)
    site.serves("1")


def test_two_roll_outs_at_once_never_mix(site: Site) -> None:
    site.deploy("1")
    ends: list[str] = []

    def go(version: str) -> None:
        try:
            site.deploy(version, LENIENT)
            ends.append(version)
        except (DeployError, ClusterError) as error:
            ends.append(type(error).__name__)

    threads = [threading.Thread(target=go, args=(version,)) for version in "23"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = (end for end in ends if end.isdigit())
    site.serves(winner)


def test_a_location_that_no_pod_reads_is_refused(site: Site) -> None:
    client = site.registry.client
    client.create_model_version(MODEL, "/here/model", tags={CONTENT_TAG: "f" * 64})
    with pytest.raises(InputError, match="no pod can read it"):
        site.deploy("4")
    with pytest.raises(InputError, match="no version 9"):
        site.deploy("9")
