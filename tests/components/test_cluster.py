"""Objects on a cluster: made once, however often a call is repeated or the server goes away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.cluster import (
    HTTP_ROUTE,
    INFERENCE_SERVICE,
    TRAIN_JOB,
    Cluster,
    ClusterConflict,
    ClusterError,
    Kind,
)
from tests.kube_server import NAMESPACE, KubeServer, Refused


def train_job(name: str = "job", nodes: int = 2) -> dict[str, Any]:
    return {
        "apiVersion": TRAIN_JOB.api_version,
        "kind": TRAIN_JOB.name,
        "metadata": {"name": name, "labels": {"app": "deskgraph"}},
        "spec": {
            "runtimeRef": {"name": "deskgraph-torch", "kind": "TrainingRuntime"},
            "trainer": {"numNodes": nodes},
        },
    }


def of(kube: KubeServer, **options: Any) -> Cluster:
    return Cluster(NAMESPACE, kube.client(), retry_for_s=5, **options)


def test_a_name_that_is_taken_is_the_same_object(kube: KubeServer) -> None:
    cluster = of(kube)
    first = cluster.create(TRAIN_JOB, train_job())
    again = cluster.create(TRAIN_JOB, train_job(nodes=4))
    assert first["metadata"]["uid"] == again["metadata"]["uid"]
    assert again["spec"]["trainer"]["numNodes"] == 2


def test_objects_are_found_by_their_labels(kube: KubeServer) -> None:
    cluster = of(kube)
    service = {
        "apiVersion": INFERENCE_SERVICE.api_version,
        "kind": INFERENCE_SERVICE.name,
        "metadata": {"name": "desk-v1", "labels": {"app": "deskgraph"}},
        "spec": {"predictor": {"minReplicas": 1}},
    }
    cluster.create(INFERENCE_SERVICE, service)
    found = cluster.find(INFERENCE_SERVICE, {"app": "deskgraph"})
    assert [each["metadata"]["name"] for each in found] == ["desk-v1"]
    assert cluster.find(INFERENCE_SERVICE, {"app": "other"}) == []


def test_a_name_that_was_on_its_way_out_is_made_again(
    kube: KubeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = of(kube)
    first = cluster.create(TRAIN_JOB, train_job())
    answer = kube.answer

    def gone_when_refused(*request: Any) -> tuple[int, Any]:
        try:
            return answer(*request)
        except Refused as refusal:
            if refusal.status == 409:
                kube.objects.clear()
            raise

    monkeypatch.setattr(kube, "answer", gone_when_refused)
    again = cluster.create(TRAIN_JOB, train_job(nodes=4))
    assert again["metadata"]["uid"] != first["metadata"]["uid"]
    assert again["spec"]["trainer"]["numNodes"] == 4


def test_a_change_under_ones_hands_is_refused(kube: KubeServer) -> None:
    cluster = of(kube)
    route = {
        "apiVersion": HTTP_ROUTE.api_version,
        "kind": HTTP_ROUTE.name,
        "metadata": {"name": "desk"},
        "spec": {"hostnames": ["a.test"]},
    }
    mine = cluster.create(HTTP_ROUTE, route)
    other = cluster.get(HTTP_ROUTE, "desk")
    assert other is not None
    other["spec"]["hostnames"] = ["b.test"]
    cluster.replace(HTTP_ROUTE, other)
    with pytest.raises(ClusterConflict, match="modified"):
        cluster.replace(HTTP_ROUTE, mine)
    kept = kube.get(HTTP_ROUTE, "desk")
    assert kept is not None
    assert kept["spec"]["hostnames"] == ["b.test"]


def test_what_is_gone_is_none_and_deleted(kube: KubeServer) -> None:
    cluster = of(kube)
    assert cluster.get(TRAIN_JOB, "never") is None
    cluster.delete(TRAIN_JOB, "never")
    cluster.create(TRAIN_JOB, train_job())
    cluster.delete(TRAIN_JOB, "job")
    assert kube.names(TRAIN_JOB) == []


def test_a_server_that_starts_again_is_waited_for(kube: KubeServer) -> None:
    kube.away_for(1.2)
    assert of(kube).create(TRAIN_JOB, train_job())["metadata"]["generation"] == 1


def test_a_server_that_stays_away_is_one_line(kube: KubeServer) -> None:
    kube.away_for(60)
    with pytest.raises(ClusterError, match=r"cannot read TrainJob job: the API server is away"):
        Cluster(NAMESPACE, kube.client(), retry_for_s=0.6).get(TRAIN_JOB, "job")
    with pytest.raises(ClusterError, match="the API server is away"):
        kube.url = "http://127.0.0.1:9"
        Cluster(NAMESPACE, kube.client(), retry_for_s=0.6).get(TRAIN_JOB, "job")


def test_no_right_and_a_stale_token_say_what_to_do(kube: KubeServer) -> None:
    kube.allowed["trainjobs"].remove("create")
    with pytest.raises(ClusterError, match=r"no right to create TrainJob job.*deskgraph-pipeline"):
        of(kube).create(TRAIN_JOB, train_job())
    with pytest.raises(ClusterError, match=r"token is not accepted.*fresh"):
        Cluster(NAMESPACE, kube.client("stale")).get(TRAIN_JOB, "job")


def test_a_kind_or_namespace_that_is_not_there_is_one_line(kube: KubeServer) -> None:
    absent = Kind("nowhere.io", "v1", "things", "Thing")
    body = {"apiVersion": "nowhere.io/v1", "kind": "Thing", "metadata": {"name": "a"}}
    with pytest.raises(ClusterError, match=r"install what brings things\.nowhere\.io"):
        of(kube).create(absent, body)
    with pytest.raises(ClusterError, match="no such namespace"):
        Cluster("elsewhere", kube.client()).create(TRAIN_JOB, train_job())


def test_an_object_that_is_not_of_its_kind_is_refused(kube: KubeServer) -> None:
    with pytest.raises(ClusterError, match="RFC 1123"):
        of(kube).create(TRAIN_JOB, train_job("Job_1"))
    wrong = {**train_job(), "kind": "Job"}
    with pytest.raises(ClusterError, match="TrainJob"):
        of(kube).create(TRAIN_JOB, wrong)


def test_pods_logs_and_events_are_read(kube: KubeServer) -> None:
    kube.put_pod("job-node-0", {"job": "a"}, "Failed")
    kube.put_pod("other", {"job": "b"}, "Running")
    kube.logs["job-node-0"] = "one\ntwo\nthree"
    kube.put_event("job", "FailedScheduling", "0/1 nodes are available")
    cluster = of(kube)
    assert [pod.metadata.name for pod in cluster.pods({"job": "a"})] == ["job-node-0"]
    assert cluster.log_tail("job-node-0", 2) == "two\nthree"
    assert cluster.log_tail("other", 2) == ""
    assert cluster.events("job") == ["FailedScheduling: 0/1 nodes are available"]


def test_without_a_cluster_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ClusterError, match="no cluster is configured"):
        Cluster(NAMESPACE)
