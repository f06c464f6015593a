"""What the numbers say, and where they come from."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.cluster import Cluster
from components.deploy.analysis import Evidence, breaches
from components.deploy.metrics import Counts, MetricsUnread, Window, quantile, read_counters
from components.deploy.page import log_rollout
from components.deploy.reach import InCluster
from components.deploy.replay import Agreement, ReplayTicket, compare, replay_tickets
from components.deploy.settings import RolloutSettings
from tests.components.deploy.serving_cluster import write_shards
from tests.components.deploy.test_deployment import ANSWER
from tests.kube_server import NAMESPACE, KubeServer

SETTINGS = RolloutSettings()
CLIENT = httpx.Client()
OLD = Counts(answers=100, abstained=20, errors=0, p95_s=0.1)


def judged(new: Counts, old: Counts = OLD, **more: Any) -> list[str]:
    return breaches(Evidence(10, old, new, **more), SETTINGS)


def test_a_version_like_the_old_one_goes_on() -> None:
    assert judged(OLD) == []
    assert judged(Counts(answers=100, abstained=28, p95_s=0.14)) == []


@pytest.mark.parametrize(
    ("new", "what"),
    [
        (Counts(answers=95, abstained=19, errors=5), r"5 of 100 requests failed \(5.0%\)"),
        (Counts(answers=100, abstained=20, p95_s=0.2), "p95 is 200 ms, the old one's 100 ms"),
        (Counts(answers=100, abstained=45), "it abstains on 45.0%, the old one on 20.0%"),
    ],
)
def test_a_worse_one_does_not(new: Counts, what: str) -> None:
    (said,) = judged(new)
    assert what.replace("\\", "") in said


def test_what_both_do_is_not_the_new_ones_fault() -> None:
    assert judged(Counts(answers=90, errors=10), Counts(answers=90, errors=10)) == []
    assert judged(Counts(answers=100, p95_s=0.04), Counts(answers=100, p95_s=0.001)) == []


def test_few_requests_say_nothing_yet_and_few_answers_may_differ_by_chance() -> None:
    assert judged(Counts(answers=2, errors=1, p95_s=9.0)) == []
    assert judged(Counts(answers=24, abstained=7)) == []


def test_a_gateway_that_loses_requests_is_told() -> None:
    lost = {"1": 80, "2": 10, "failed": 10}
    (said,) = judged(OLD, gateway=lost, failure="HTTP 503")
    assert said == "10 of 100 requests through the gateway failed (HTTP 503)"
    assert judged(OLD, gateway={"1": 17, "2": 2, "failed": 1}) == []  # may be chance
    assert judged(OLD, gateway={"1": 16, "2": 2, "failed": 2}) != []


def test_the_line_of_a_step_says_why_requests_failed() -> None:
    lost = {"1": 356, "2": 40, "failed": 4}
    line = Evidence(10, OLD, OLD, None, lost, "HTTP 503").line()
    assert line.endswith("through the gateway: 1 356, 2 40, failed 4 (HTTP 503)")
    assert Evidence(10, OLD, OLD, None, {"1": 4}).line().endswith("through the gateway: 1 4")


def test_what_a_broken_old_one_loses_is_not_the_new_ones_fault() -> None:
    lost = {"2": 10, "failed": 90}
    assert judged(OLD, Counts(), gateway=lost) == []
    assert judged(OLD, Counts(answers=1, errors=99, p95_s=0.1), gateway=lost) == []
    assert judged(OLD, OLD, gateway=lost) != []
    assert judged(OLD, Counts(), gateway={"2": 2, "failed": 98}) != []
    last = Evidence(100, Counts(), OLD, gateway={"2": 90, "failed": 10})
    assert breaches(last, SETTINGS) != []


def answer(intent: str, *facts: str) -> dict[str, Any]:
    claims = [{"text": "x", "facts": list(facts)}]
    return {**ANSWER, "intent": {"label": intent}, "answer": {"claims": claims}}


def test_agreement_is_of_intents_and_facts_and_forgives_what_is_put_right() -> None:
    found = Agreement()
    known, unknown = ReplayTicket("t", "returns"), ReplayTicket("t")
    found.add(known, answer("returns", "a", "b"), answer("returns", "b", "a"))
    found.add(known, answer("price"), answer("returns", "a"))  # the new one is right
    assert (found.compared, found.agreed, found.corrected) == (2, 2, 1)
    found.add(unknown, answer("price"), answer("returns"))
    found.add(known, answer("returns"), answer("price"))
    found.add(known, answer("returns", "a"), answer("returns", "c"))
    found.add(known, answer("returns"), None)
    assert (found.compared, found.agreed, found.failed) == (6, 2, 1)
    assert found.changes == {"price -> returns": 1, "returns -> price": 1, "returns: facts": 1}
    found.add(known, None, answer("returns"))
    found.add(known, {"text": "a"}, {"text": "b"})
    assert (found.asked, found.compared) == (8, 6)
    (said,) = judged(OLD, agreement=Agreement(asked=10, compared=10, agreed=8))
    assert said == "both agree on 8 of 10 replayed tickets (80.0%), needed 90.0%"


def test_where_nothing_was_compared_nothing_is_said_to_agree(tmp_path: Path) -> None:
    found = Agreement()
    found.add(ReplayTicket("t"), None, answer("returns"))
    found.add(ReplayTicket("t"), {"text": "a"}, {"text": "b"})
    assert (found.share, found.failed, found.old_failed) == (None, 0, 1)
    evidence = Evidence(0, OLD, OLD, found)
    assert breaches(evidence, SETTINGS) == []
    assert "nothing compared" in evidence.line()
    logged: dict[str, float] = {}
    record = {"outcome": "", "version": "2", "steps": [evidence.as_json([])]}
    (tmp_path / "record").write_text(json.dumps(record))
    rollout = SimpleNamespace(path=str(tmp_path / "record"), metadata={})
    log_rollout(rollout, SimpleNamespace(log_metric=logged.__setitem__))
    assert "error_rate_at_0" in logged and "agreement_at_0" not in logged


@pytest.mark.parametrize(("silent", "asked"), [("old", (10, 30)), ("new", (10, 10))])
def test_a_side_that_does_not_answer_is_not_asked_for_ever(
    silent: str, asked: tuple[int, int]
) -> None:
    urls: list[str] = []

    def reply(request: httpx.Request) -> httpx.Response:
        urls.append(request.url.host)
        silence = request.url.host == silent
        return httpx.Response(503 if silence else 200, json={"predictions": [answer("a")]})

    with httpx.Client(transport=httpx.MockTransport(reply)) as client:
        found = compare(client, [ReplayTicket("t")] * 30, "http://old", "http://new")
    assert (urls.count("old"), urls.count("new")) == asked
    assert (found.old_failed, found.failed) == ((30, 0) if silent == "old" else (0, 10))


def test_tickets_are_taken_evenly_and_only_what_can_be_asked(tmp_path: Path) -> None:
    rows = [(f"ticket {number}", "a") for number in range(10)]
    shards = write_shards(tmp_path / "shards", [*rows, ("  ", "a"), ("x" * 9000, "a")])
    assert [each.text for each in replay_tickets(shards, 3)] == ["ticket 0", "ticket 3", "ticket 6"]
    assert len(replay_tickets(shards, 100)) == 10


BOUNDS = (0.01, 0.05, 0.1, 0.5, 1.0)


@given(st.lists(st.floats(0.0001, 0.99), min_size=20, max_size=200))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(times: list[float]) -> None:
    counts = {bound: sum(each <= bound for each in times) for bound in BOUNDS}
    found = quantile({**counts, math.inf: len(times)}, 0.95)
    true = float(np.quantile(times, 0.95, method="inverted_cdf"))
    index = next(i for i, bound in enumerate(BOUNDS) if true <= bound)
    assert (0.0, *BOUNDS)[index] <= found <= BOUNDS[index]


def test_a_quantile_of_nothing_is_0_and_beyond_the_last_bound_that_bound() -> None:
    assert quantile({}, 0.95) == 0.0
    assert quantile({1.0: 0, math.inf: 10}, 0.95) == 1.0


class Replicas:
    """Replicas of whom a test says the counters."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counters: dict[str, dict[str, float]] = {}
        monkeypatch.setattr(
            "components.deploy.metrics.read_counters", lambda client, url: self.counters[url]
        )

    def service(self, name: str) -> str:
        return name

    def replicas(self, name: str) -> list[str]:
        return list(self.counters)


def test_a_window_sums_replicas_that_come_go_and_start_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reach = Replicas(monkeypatch)
    reach.counters = {"a": {"le/+Inf": 100, "abstained": 50}, "b": {"le/+Inf": 10}}
    window = Window(CLIENT, reach, "desk-v1")
    reach.counters = {"a": {"le/+Inf": 110, "abstained": 51}, "b": {"le/+Inf": 4}}  # b is new
    assert window.look() == Counts(answers=14, abstained=1, p95_s=0.0)
    reach.counters = {"a": {"le/+Inf": 111, "abstained": 51, "fault/internal": 2}, "c": {}}
    assert window.look() == Counts(answers=15, abstained=1, errors=2, p95_s=0.0)
    reach.counters = {"b": {"le/+Inf": 6}, "c": {}}  # b was not Ready for one look
    assert window.look().answers == 17


def test_a_version_without_metrics_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.deploy.metrics.PAUSE_S", 0.0)
    reach = Replicas(monkeypatch)
    with pytest.raises(MetricsUnread, match="desk-v1: no replica is Ready"):
        Window(CLIENT, reach, "desk-v1")
    window = Window(CLIENT, reach, "desk-v1", required=False)
    assert window.look() == Counts()
    reach.counters = {"a": {"le/+Inf": 100}}  # what it did before is not of this window
    assert window.look() == Counts()
    reach.counters = {"a": {"le/+Inf": 103}}
    assert window.look().answers == 3
    reach.counters = {}
    assert window.look().answers == 3
    monkeypatch.undo()
    with (
        httpx.Client() as client,
        pytest.raises(MetricsUnread, match="no metrics: ConnectError"),
    ):
        read_counters(client, "http://127.0.0.1:9")


def test_replicas_are_the_ready_pods_by_their_own_addresses(kube: KubeServer) -> None:
    labels = {"serving.kserve.io/inferenceservice": "desk-v1"}
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    kube.put_pod("a", labels, "Running", {**ready, "podIP": "10.0.0.2"})
    kube.put_pod("b", labels, "Running", {**ready, "podIP": "fd00::2"})
    kube.put_pod("c", labels, "Running", {"podIP": "10.0.0.4"})
    kube.put_pod("d", {"serving.kserve.io/inferenceservice": "desk-v2"}, "Running", ready)
    ports = [{"containerPort": 9000}]
    pod = kube.objects[NAMESPACE, "pods", "b"]
    pod["spec"] = {"containers": [{"name": "kserve-container", "ports": ports}]}
    reach = InCluster(Cluster(NAMESPACE, kube.client()))
    assert reach.replicas("desk-v1") == ["http://10.0.0.2:8080", "http://[fd00::2]:9000"]
    assert reach.service("desk-v1") == f"http://desk-v1-predictor.{NAMESPACE}"
