"""A TrainJob from its step's side: created once, watched, fetched, deleted, or one clear line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from components import s3
from components.cluster import TRAIN_JOB, Cluster, ClusterError
from components.launch import EVENT_MARK, LaunchError
from components.storage import StorageError, in_object_store, output_dir
from components.training import TrainResult, TrainSpec, run_training, write_spec
from components.training.spec import write_result
from components.training.train_job import read_trainer, run_train_job
from kg_schema.errors import InputError
from serving.manifest import write_manifest
from tests.components.training.kubelet import put_node, say
from tests.kube_server import NAMESPACE, TOKEN, KubeServer

TRAINER = f"trainjob://{NAMESPACE}/deskgraph-torch"
STEP = """
import sys
from pathlib import Path
from components.stage import reported
from components.training import read_spec, run_training
with reported():
    run_training(read_spec(Path(sys.argv[1])))
"""


@pytest.fixture(autouse=True)
def looking_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.training.train_job.POLL_S", 0.05)


@pytest.fixture
def spec(staging: str, tmp_path: Path) -> TrainSpec:
    """A training that no test runs for real: its pods are played."""
    return TrainSpec(
        task="intent",
        model_dir="minilm",
        shards=f"{staging}/shards",
        out=str(tmp_path / "model"),
        checkpoints=f"{staging}/staging",
        ranks=1,
        nodes=2,
        trainer=TRAINER,
        what="fine-tune",
    )


def run(
    kube: KubeServer, spec: TrainSpec, tell: Callable[[Any], None] = lambda event: None
) -> TrainResult:
    cluster = Cluster(NAMESPACE, kube.client(), retry_for_s=5)
    return run_train_job(spec, tell, cluster)


def publish(spec: TrainSpec) -> None:
    """What rank 0 leaves: a model and, after it, the result."""
    with output_dir(f"{spec.checkpoints}/model") as out:
        (out / "config.json").write_text("{}")
        write_manifest(out, "model")
    result = TrainResult(
        out=f"{spec.checkpoints}/model",
        steps=10,
        resumed_from=0,
        seconds=1.0,
        train_seconds=1.0,
        tokens_per_second=1.0,
        train_loss=0.5,
        validation={"accuracy": 1.0},
        precision="fp32",
        precision_probe={},
        ranks=2,
        params={"total": 1, "encoder": 1},
    )
    write_result(result, f"{spec.checkpoints}/result.json")


def finish(kube: KubeServer, spec: TrainSpec) -> Callable[[str], None]:
    """What a job's end leaves."""

    def act(name: str) -> None:
        publish(spec)
        say(kube, name, "Complete")

    return act


def on_create(kube: KubeServer, act: Callable[[str], object]) -> None:
    """Acts on the name of each job that is created."""

    def on_write(verb: str, body: dict[str, Any]) -> None:
        if verb == "create":
            act(body["metadata"]["name"])

    kube.on_write = on_write


def later(act: Callable[..., object], *given: object, after_s: float = 0.3) -> None:
    threading.Timer(after_s, act, given).start()


def name_of_the_job(kube: KubeServer, spec: TrainSpec) -> str:
    """Creates the job as a step does that then loses the cluster; tells its name."""
    before = set(kube.names(TRAIN_JOB))
    on_create(kube, lambda name: kube.away_for(60))
    cluster = Cluster(NAMESPACE, kube.client(), retry_for_s=0.0)
    with pytest.raises(ClusterError, match="away"):
        run_train_job(spec, lambda event: None, cluster)
    kube.on_write = lambda verb, body: None
    kube.away_for(0)
    (name,) = set(kube.names(TRAIN_JOB)) - before
    return name


def created(kube: KubeServer) -> int:
    return sum(verb == "create" for verb, _, _ in kube.requests)


def test_a_job_that_is_done_before_the_first_look_is_fetched_and_cleared_away(
    kube: KubeServer, spec: TrainSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("DESKGRAPH_IMAGE", "deskgraph/train:sha-1")
    seen: list[dict[str, Any]] = []

    def note_and_finish(name: str) -> None:
        seen.append(kube.get(TRAIN_JOB, name) or {})
        finish(kube, spec)(name)

    on_create(kube, note_and_finish)
    result = run(kube, spec)
    assert (result.out, result.validation) == (spec.out, {"accuracy": 1.0})
    assert (Path(spec.out) / "config.json").is_file()
    assert kube.names(TRAIN_JOB) == []
    assert s3.find_objects(spec.checkpoints) == []
    trainer = seen[0]["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (2, 1)
    assert trainer["image"] == "deskgraph/train:sha-1"
    assert {"name": "AWS_REGION", "value": "eu-west-1"} in trainer["env"]
    assert seen[0]["spec"]["runtimeRef"] == {
        "apiGroup": "trainer.kubeflow.org",
        "kind": "TrainingRuntime",
        "name": "deskgraph-torch",
    }
    assert seen[0]["spec"]["activeDeadlineSeconds"] > 3600


def test_a_step_that_is_started_again_goes_on_with_its_job(
    kube: KubeServer, spec: TrainSpec
) -> None:
    name = name_of_the_job(kube, spec)
    s3.delete(s3.find_objects(spec.checkpoints))
    later(finish(kube, spec), name)
    assert run(kube, spec).steps == 10
    assert created(kube) == 1


def test_another_training_is_another_job(kube: KubeServer, spec: TrainSpec) -> None:
    name_of_the_job(kube, spec)
    name_of_the_job(kube, replace(spec, seed=8))
    name_of_the_job(kube, replace(spec, checkpoints=f"{spec.checkpoints}-of-another-run"))
    assert len(kube.names(TRAIN_JOB)) == 3


def test_a_failed_job_of_an_earlier_attempt_is_replaced_when_its_pods_are_gone(
    kube: KubeServer, spec: TrainSpec
) -> None:
    name = name_of_the_job(kube, spec)
    put_node(kube, name, 0, {"running": {}})
    say(kube, name, "Failed")
    left: list[int] = []

    def note_and_finish(name: str) -> None:
        left.append(len([key for key in kube.objects if key[1] == "pods"]))
        finish(kube, spec)(name)

    on_create(kube, note_and_finish)
    later(kube.drop_pods, name, after_s=0.8)
    assert run(kube, spec).steps == 10
    assert left == [0]
    assert created(kube) == 2


def test_a_job_that_is_being_deleted_is_waited_for(kube: KubeServer, spec: TrainSpec) -> None:
    name = name_of_the_job(kube, spec)
    key = NAMESPACE, TRAIN_JOB.plural, name
    leaving = kube.objects[key]
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    kube.on_write = lambda verb, body: (
        kube.objects.__setitem__(key, leaving) if verb == "delete" else finish(kube, spec)(name)
    )
    later(kube.objects.pop, key, after_s=0.8)
    assert run(kube, spec).steps == 10


def test_a_failure_says_each_nodes_end_and_last_lines_and_deletes_the_job(
    kube: KubeServer, spec: TrainSpec
) -> None:
    def fail(name: str) -> None:
        killed = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
        lost = put_node(kube, name, 0, {"running": {}}, log="start\nConnection closed by peer\n")
        put_node(kube, name, 1, killed, "Failed", "loading\nmy last words\n")
        kube.put_event(name, "JobFailed", "too many failures")

        def later_still() -> None:
            kube.drop_pods(lost)
            say(kube, name, "Failed", "jobset failed")

        later(later_still, after_s=0.5)

    on_create(kube, fail)
    with pytest.raises(LaunchError) as caught:
        run(kube, spec)
    line = str(caught.value)
    assert "\n" not in line
    assert "failed (jobset failed)" in line
    assert "node 0 is gone: start | Connection closed by peer" in line
    assert "node 1 exited with 137 (OOMKilled): loading | my last words" in line
    assert "JobFailed: too many failures" in line
    assert kube.names(TRAIN_JOB) == []
    assert s3.find_objects(spec.checkpoints) != []  # for the next attempt


def test_events_of_rank_0_are_relayed_once_and_bad_input_on_any_rank_is_told(
    kube: KubeServer, spec: TrainSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def line(kind: str, **values: object) -> str:
        return f"{EVENT_MARK}{json.dumps({'event': kind, **values})}\n"

    def play(name: str) -> None:
        first = put_node(kube, name, 0, {"running": {}}, log=line("log", line="one"))
        second = put_node(kube, name, 1, {"running": {}}, log=line("log", line="of another"))

        def more() -> None:
            kube.logs[first] += line("log", line="two") + EVENT_MARK + '{"cut'
            kube.logs[second] += line("error", exit_code=2, what="no labels", where="x", fix="")
            say(kube, name, "Failed")

        later(more, after_s=0.5)

    monkeypatch.setattr("components.cluster._configured", kube.client)
    told: list[str] = []
    monkeypatch.setattr("components.training.run.logger.info", lambda _, said: told.append(said))
    on_create(kube, play)
    with pytest.raises(InputError, match="no labels"):
        run_training(spec)
    assert told == ["one", "two"]


def test_bad_input_is_told_though_the_log_could_not_be_read_at_first(
    kube: KubeServer, spec: TrainSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"event": "error", "exit_code": 2, "what": "no labels", "where": "x", "fix": ""}

    def play(name: str) -> None:
        ended = {"terminated": {"exitCode": 1, "reason": "Error"}}
        put_node(kube, name, 0, ended, "Failed", f"{EVENT_MARK}{json.dumps(said)}\n")
        put_node(kube, name, 1, ended, "Failed", "another\n")
        say(kube, name, "Failed")

    unread = {"0": 2, "1": 1_000}  # the one is read in the end, the other never
    read = Cluster.log_lines

    def failing(self: Cluster, pod: str, *given: Any) -> list[tuple[str, str]] | None:
        index = pod.removesuffix("-x")[-1]
        unread[index] -= 1
        return None if unread[index] >= 0 else read(self, pod, *given)

    monkeypatch.setattr(Cluster, "log_lines", failing)
    monkeypatch.setattr("components.cluster._configured", kube.client)
    on_create(kube, play)
    with pytest.raises(InputError, match="no labels"):
        run_training(spec)


def test_pods_that_never_start_are_told_with_what_they_wait_for(
    kube: KubeServer, spec: TrainSpec
) -> None:
    def pend(name: str) -> None:
        put_node(kube, name, 0, {"running": {}})
        waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
        pod = put_node(kube, name, 1, waiting, "Pending")
        kube.put_event(pod, "FailedScheduling", "0/1 nodes are available: Insufficient cpu")

    on_create(kube, pend)
    with pytest.raises(LaunchError) as caught:
        run(kube, replace(spec, trainer=f"{TRAINER}?start_timeout_s=1"))
    assert "did not start within 1 s" in str(caught.value)
    assert "node 1 waits (ImagePullBackOff: no such image)" in str(caught.value)
    assert "FailedScheduling: 0/1 nodes are available" in str(caught.value)
    assert kube.names(TRAIN_JOB) == []


def test_a_suspended_job_may_wait_as_long_as_it_must(kube: KubeServer, spec: TrainSpec) -> None:
    def wait_for_the_queue(name: str) -> None:
        say(kube, name, "Suspended")
        later(finish(kube, spec), name, after_s=1.5)

    on_create(kube, wait_for_the_queue)
    assert run(kube, replace(spec, trainer=f"{TRAINER}?start_timeout_s=1")).steps == 10


def test_an_api_server_that_starts_again_is_waited_for(kube: KubeServer, spec: TrainSpec) -> None:
    def play(name: str) -> None:
        put_node(kube, name, 0, {"running": {}}, log="a line\n")
        later(kube.away_for, 1.5, after_s=0.2)
        later(finish(kube, spec), name, after_s=0.6)

    on_create(kube, play)
    assert run(kube, spec).steps == 10


@pytest.mark.parametrize(
    ("resource", "verb", "said"),
    [
        ("trainjobs", "create", r"no right to create TrainJob deskgraph-train-"),
        ("trainjobs", "get", r"no right to read TrainJob deskgraph-train-"),
        ("pods", "list", r"no right to list pods"),
    ],
)
def test_a_missing_right_is_named_before_anything_is_made(
    kube: KubeServer, spec: TrainSpec, resource: str, verb: str, said: str
) -> None:
    kube.allowed[resource].remove(verb)
    with pytest.raises(ClusterError, match=said):
        run(kube, spec)
    assert kube.names(TRAIN_JOB) == []


def test_a_job_that_somebody_deleted_is_one_line(kube: KubeServer, spec: TrainSpec) -> None:
    def play(name: str) -> None:
        put_node(kube, name, 0, {"running": {}})
        later(kube.objects.pop, (NAMESPACE, TRAIN_JOB.plural, name))

    on_create(kube, play)
    with pytest.raises(LaunchError, match=r"was deleted before it ended.*run the step again"):
        run(kube, spec)


def test_a_job_that_left_no_result_is_one_line(kube: KubeServer, spec: TrainSpec) -> None:
    on_create(kube, lambda name: say(kube, name, "Complete"))
    with pytest.raises(LaunchError, match="without a result"):
        run(kube, spec)
    assert kube.names(TRAIN_JOB) == []


def test_a_job_that_cannot_be_deleted_keeps_its_result(kube: KubeServer, spec: TrainSpec) -> None:
    on_create(kube, finish(kube, spec))
    kube.allowed["trainjobs"].remove("delete")
    assert run(kube, spec).steps == 10
    shutil.rmtree(spec.out)
    kube.allowed["trainjobs"].add("delete")
    assert run(kube, spec).steps == 10
    assert created(kube) == 1
    assert (Path(spec.out) / "config.json").is_file()
    assert kube.names(TRAIN_JOB) == []
    assert s3.find_objects(spec.checkpoints) == []


def test_an_object_store_that_is_away_leaves_the_job_for_the_next_attempt(
    kube: KubeServer, spec: TrainSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finish_and_rotate(name: str) -> None:
        finish(kube, spec)(name)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "rotated")

    on_create(kube, finish_and_rotate)
    with pytest.raises(StorageError, match="AWS_SECRET_ACCESS_KEY"):
        run(kube, spec)
    assert len(kube.names(TRAIN_JOB)) == 1
    assert not Path(spec.out).exists()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    assert run(kube, spec).steps == 10
    assert created(kube) == 1


def test_sigterm_deletes_the_job(kube: KubeServer, spec: TrainSpec, tmp_path: Path) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": kube.url}}],
        "users": [{"name": "it", "user": {"token": TOKEN}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    }
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    write_spec(spec, tmp_path / "spec.json")
    step = subprocess.Popen(
        [sys.executable, "-c", STEP, str(tmp_path / "spec.json")],
        env={**os.environ, "KUBECONFIG": str(tmp_path / "config")},
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 30
    while not kube.names(TRAIN_JOB) and time.monotonic() < end:
        time.sleep(0.05)
    name = kube.names(TRAIN_JOB)[0]
    put_node(kube, name, 0, {"running": {}})
    step.send_signal(signal.SIGTERM)
    _, said = step.communicate(timeout=20)
    assert step.returncode == 128 + signal.SIGTERM, said
    assert kube.names(TRAIN_JOB) == []


@pytest.mark.parametrize("name", ["shards", "checkpoints"])
def test_what_no_pod_can_read_is_bad_input(kube: KubeServer, spec: TrainSpec, name: str) -> None:
    with pytest.raises(InputError, match=f"can read the {name}.*s3://"):
        run(kube, replace(spec, **{name: "/tmp/here"}))  # noqa: S108
    assert kube.requests == []


def test_kubeflows_name_of_the_object_store_is_understood(
    kube: KubeServer, spec: TrainSpec
) -> None:
    minio = replace(spec, checkpoints=spec.checkpoints.replace("s3://", "minio://"))
    assert in_object_store(minio.checkpoints)
    on_create(kube, finish(kube, spec))
    assert run(kube, minio).steps == 10


def test_a_trainers_address_is_read_or_refused() -> None:
    trainer = read_trainer("trainjob://deskgraph/deskgraph-torch?start_timeout_s=30")
    assert (trainer.namespace, trainer.runtime) == ("deskgraph", "deskgraph-torch")
    assert (trainer.start_timeout_s, trainer.deadline_s) == (30, 86400)
    for wrong in (
        "deskgraph-torch",
        "http://deskgraph/deskgraph-torch",
        "trainjob://deskgraph",
        "trainjob://deskgraph/",
        "trainjob://desk_graph/torch",
        "trainjob://deskgraph/torch/more",
        "trainjob://deskgraph/torch?start_timeout_s=soon",
        "trainjob://deskgraph/torch?start_timeout_s=",
        "trainjob://deskgraph/torch?image=other",
    ):
        with pytest.raises(InputError, match="is no trainer"):
            read_trainer(wrong)


def test_nodes_without_a_trainer_are_bad_input(spec: TrainSpec) -> None:
    with pytest.raises(InputError, match="2 nodes and nothing that runs them"):
        replace(spec, trainer="")
    with pytest.raises(InputError, match="does not divide by 3 ranks"):
        replace(spec, nodes=3)
