"""A training as a Kubeflow TrainJob: created once, watched to its end, fetched and deleted.

The ranks run in other pods than the step that starts them, so all that they read and write passes
through one location in the object store, private to the training:

    spec.json  base/               written by the step before the job
    training-DIGEST/               rank 0's newest checkpoint
    model/  result.json            what rank 0 publishes, the result last

The job's name is a digest of the spec. A step that is started again therefore finds its own job,
running or done, and goes on with it; a job that failed is replaced, and the new one goes on from
the checkpoint.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from components import s3
from components.base_model import found_everywhere
from components.cluster import TRAIN_JOB, Cluster, ClusterError, Object
from components.image import IMAGE_VARIABLE
from components.launch import Event, LaunchError, last_words, read_event, torchrun_command
from components.storage import (
    StorageError,
    in_object_store,
    localise,
    output_dir,
    output_file,
    remove,
    s3_address,
)
from components.training.spec import TrainResult, TrainSpec, read_result, write_spec
from kg_schema.errors import InputError

SHAPE = "trainjob://NAMESPACE/RUNTIME[?start_timeout_s=N&deadline_s=N]"
WORKER = "components.training.worker"
RUNTIME_KIND = "TrainingRuntime"
CONTAINER = "node"
"""Trainer's name of the container that trains."""
JOB_LABEL = "jobset.sigs.k8s.io/jobset-name"
INDEX_LABEL = "batch.kubernetes.io/job-completion-index"

# Address and keys of the object store are the runtime's.
PASSED_ON = ("AWS_REGION", "AWS_DEFAULT_REGION")

START_TIMEOUT_S = 600
DEADLINE_S = 24 * 3600
GONE_S = 120.0
POLL_S = 2.0
"""Between two looks at the job."""
OVERLAP_S = 5
"""Logs are read again from a little before the last time; what was seen is told by its time."""
KEPT_LINES = 200
KEPT_EVENTS = 3
LAST_LOOKS = 5
"""At a failed job's pods, for the last lines of one whose log could not be read just then."""

_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")

logger = logging.getLogger(__name__)

Tell = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Trainer:
    """What runs the ranks on a cluster.

    Attributes:
        namespace: Of runtime, TrainJob and pods.
        runtime: Name of the TrainingRuntime.
        start_timeout_s: How long the pods may take to start.
        deadline_s: After which the cluster ends the job, should nobody watch it any more.
    """

    namespace: str
    runtime: str
    start_timeout_s: int = START_TIMEOUT_S
    deadline_s: int = DEADLINE_S


def read_trainer(address: str) -> Trainer:
    """Reads `trainjob://NAMESPACE/RUNTIME`, with `start_timeout_s` and `deadline_s` as a query.

    Raises:
        InputError: It is not of that shape.
    """
    parts = urlsplit(address)
    namespace, runtime = parts.netloc, parts.path.removeprefix("/")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = options.keys() <= {"start_timeout_s", "deadline_s"}
    numbers = all(re.fullmatch("[1-9][0-9]{0,8}", value) for value in options.values())
    names = _LABEL.fullmatch(namespace) and _LABEL.fullmatch(runtime)
    if parts.scheme != "trainjob" or not (names and known and numbers):
        raise InputError("is no trainer", where=address, fix=SHAPE)
    return Trainer(namespace, runtime, **{name: int(value) for name, value in options.items()})


def run_train_job(spec: TrainSpec, tell: Tell, cluster: Cluster | None = None) -> TrainResult:
    """Trains in the pods of a TrainJob and publishes the model at `spec.out`.

    SIGTERM, like any other interruption, deletes the job. A step that cannot reach the cluster or
    the object store any more leaves it, for the step's next attempt to go on with.

    Args:
        spec: The training, with `trainer`; shards and checkpoints in the object store.
        tell: Told the ranks' events.
        cluster: The trainer's namespace; by default that of the cluster this runs in.

    Raises:
        InputError: The pods could not read what the spec names.
        LaunchError: The job failed, did not start or was deleted.
        ClusterError: The cluster refuses or stays away.
        StorageError: The object store refuses or stays away.
    """
    trainer = read_trainer(spec.trainer)
    for name in ("shards", "checkpoints"):
        if not in_object_store(getattr(spec, name)):
            raise InputError(
                f"no pod of {spec.trainer} can read the {name}",
                where=getattr(spec, name),
                fix="name an s3:// location, or leave trainer empty",
            )
    cluster = cluster or Cluster(trainer.namespace)
    staging = s3_address(spec.checkpoints)
    there = _for_the_ranks(spec, staging)
    job = train_job(there, staging, trainer)
    name = job["metadata"]["name"]
    watch = _Watch(cluster, name, trainer, spec.nodes, tell)
    with _interrupted_by_sigterm():
        try:
            _begin(cluster, job, lambda: _stage(spec, there, staging))
            watch.to_the_end()
            result = _fetch(there, staging, spec.out)
        except (ClusterError, StorageError):
            raise
        except BaseException:
            _delete(cluster, name)
            raise
        # A job that stays keeps its result: whoever finds it done fetches that.
        if _delete(cluster, name):
            _clear(staging)
    return result


def train_job(there: TrainSpec, staging: str, trainer: Trainer) -> Object:
    """Returns the TrainJob of a training.

    Args:
        there: The training as its ranks see it.
        staging: Its location in the object store.
        trainer: What runs it.
    """
    text = json.dumps(asdict(there), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    passed = [{"name": name, "value": os.environ[name]} for name in PASSED_ON if name in os.environ]
    image = os.environ.get(IMAGE_VARIABLE)  # that of the step, so that both are one code
    return {
        "apiVersion": TRAIN_JOB.api_version,
        "kind": TRAIN_JOB.name,
        "metadata": {
            "name": f"deskgraph-train-{digest}",
            "namespace": trainer.namespace,
            "labels": {"app.kubernetes.io/part-of": "deskgraph"},
            "annotations": {"deskgraph/what": there.what, "deskgraph/staging": staging},
        },
        "spec": {
            "runtimeRef": {
                "apiGroup": TRAIN_JOB.group,
                "kind": RUNTIME_KIND,
                "name": trainer.runtime,
            },
            "activeDeadlineSeconds": trainer.deadline_s,
            "trainer": {
                **({"image": image} if image else {}),
                "numNodes": there.nodes,
                "numProcPerNode": there.ranks,
                "command": torchrun_command(
                    WORKER, [f"{staging}/spec.json", f"{staging}/result.json"], python="python"
                ),
                "env": passed,
            },
        },
    }


def _for_the_ranks(spec: TrainSpec, staging: str) -> TrainSpec:
    """Returns the training with every location one that a pod reaches."""
    return replace(
        spec,
        model_dir=spec.model_dir if found_everywhere(spec.model_dir) else f"{staging}/base",
        shards=s3_address(spec.shards),
        checkpoints=staging,
        out=f"{staging}/model",
        trainer=spec.trainer.partition("?")[0],
    )


def _stage(spec: TrainSpec, there: TrainSpec, staging: str) -> None:
    if spec.model_dir != there.model_dir:
        with output_dir(there.model_dir) as folder:
            shutil.copytree(localise(spec.model_dir), folder, dirs_exist_ok=True)
    with output_file(f"{staging}/spec.json") as path:
        write_spec(there, path)


def _begin(cluster: Cluster, job: Object, stage: Callable[[], None]) -> None:
    """Creates the job, or finds the one that an earlier attempt of this step left."""
    name = job["metadata"]["name"]
    cluster.pods({JOB_LABEL: name})  # who may not see the pods could not follow the job
    found = cluster.get(TRAIN_JOB, name)
    if found is not None and not _is(found, "Failed") and not _leaves(found):
        logger.info("TrainJob %s is there already: going on with it", name)
        return
    if found is not None and not _leaves(found):
        cluster.delete(TRAIN_JOB, name)
    _wait_until_gone(cluster, name)
    stage()
    cluster.create(TRAIN_JOB, job)
    logger.info("TrainJob %s: created in namespace %s", name, cluster.namespace)


def _wait_until_gone(cluster: Cluster, name: str) -> None:
    """Returns when nothing of an earlier job of this name is left.

    Its pods outlive it for some seconds, and so does its JobSet, which Trainer would take for the
    new job's. (Deleted in the foreground, Trainer makes it anew as long as the job is there.)
    """
    deadline = time.monotonic() + GONE_S
    while cluster.get(TRAIN_JOB, name) is not None or cluster.pods({JOB_LABEL: name}):
        if time.monotonic() > deadline:
            raise ClusterError(
                f"TrainJob {name} or its pods are still there {GONE_S:.0f} s after it was deleted",
                where=f"namespace {cluster.namespace}",
                fix="see what they wait for",
            )
        time.sleep(POLL_S)


def _fetch(there: TrainSpec, staging: str, out: str) -> TrainResult:
    address = f"{staging}/result.json"
    if not s3.find_objects(address):
        raise LaunchError("the ranks ended without a result", where=address)
    result = read_result(localise(address))
    with output_dir(out) as folder:
        shutil.copytree(localise(there.out), folder, dirs_exist_ok=True)
    return replace(result, out=out)


def _clear(staging: str) -> None:
    try:
        remove(staging)
    except StorageError as error:
        logger.warning("left in the object store: %s", error)


def _delete(cluster: Cluster, name: str) -> bool:
    try:
        cluster.delete(TRAIN_JOB, name)
    except ClusterError as error:
        logger.warning("TrainJob %s stays: %s", name, error)
        return False
    return True


@contextlib.contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Lets SIGTERM (a pod's end, a cancelled run) leave the block as an exception, once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _is(job: Object, condition: str) -> bool:
    return _condition(job, condition).get("status") == "True"


def _leaves(job: Object) -> bool:
    return "deletionTimestamp" in job["metadata"]


def _condition(job: Object, condition: str) -> Object:
    found: list[Object] = job.get("status", {}).get("conditions", [])
    return next((each for each in found if each["type"] == condition), {})


@dataclass
class _Pod:
    """What is known of one node's pod, also after it is gone."""

    index: str
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))
    stamp: str = ""
    read_at: float | None = None
    state: str = ""
    started: bool = False
    ended: bool = False
    unread: bool = False
    """Whether its log could not be read at the last look."""


class _Watch:
    """Follows one TrainJob and its pods."""

    def __init__(
        self, cluster: Cluster, name: str, trainer: Trainer, nodes: int, tell: Tell
    ) -> None:
        self._cluster = cluster
        self._name = name
        self._trainer = trainer
        self._nodes = nodes
        self._tell = tell
        self._pods: dict[str, _Pod] = {}
        self._state = ""

    def to_the_end(self) -> None:
        """Returns when the job is complete.

        Raises:
            LaunchError: It failed, did not start in time, or is gone.
        """
        waiting_since = time.monotonic()
        while True:
            job = self._cluster.get(TRAIN_JOB, self._name)
            self._look_at_pods()
            if job is None:
                raise LaunchError(
                    f"TrainJob {self._name} was deleted before it ended",
                    where=f"namespace {self._cluster.namespace}",
                    fix="run the step again; it goes on from its last checkpoint",
                )
            if _is(job, "Complete"):
                self._now("complete")
                return
            if _is(job, "Failed"):
                condition = _condition(job, "Failed")
                why = condition.get("message") or condition.get("reason") or "no reason given"
                raise self._failure(f"failed ({why})")
            if _is(job, "Suspended"):
                self._now("suspended")
                waiting_since = time.monotonic()
            elif self._started():
                self._now("running")
            elif time.monotonic() - waiting_since > self._trainer.start_timeout_s:
                raise self._failure(
                    f"did not start within {self._trainer.start_timeout_s} s",
                    "give its pods what they wait for, or a longer start_timeout_s",
                )
            time.sleep(POLL_S)

    def _now(self, state: str) -> None:
        if state != self._state:
            logger.info("TrainJob %s: %s", self._name, state)
            self._state = state

    def _started(self) -> bool:
        return len({pod.index for pod in self._pods.values() if pod.started}) >= self._nodes

    def _look_at_pods(self) -> None:
        seen = self._cluster.pods({JOB_LABEL: self._name})
        for found in seen:
            name, index = found.metadata.name, (found.metadata.labels or {}).get(INDEX_LABEL, "0")
            pod = self._pods.setdefault(name, _Pod(index))
            if pod.ended and not pod.unread:
                continue
            pod.state, pod.started, pod.ended = _describe(found)
            pod.unread = pod.started and not self._read_log(name, pod)
        names = {found.metadata.name for found in seen}
        for name, pod in self._pods.items():
            if name not in names:
                pod.unread = False
                if not pod.ended:
                    pod.state, pod.ended = "is gone", True

    def _read_log(self, name: str, pod: _Pod) -> bool:
        now = time.monotonic()
        since = None if pod.read_at is None else int(now - pod.read_at) + OVERLAP_S
        lines = self._cluster.log_lines(name, CONTAINER, since)
        if lines is None:
            return False
        pod.read_at = now
        for stamp, line in lines:
            if stamp > pod.stamp:
                pod.stamp = stamp
                self._take(pod, line)
        return True

    def _take(self, pod: _Pod, line: str) -> None:
        pod.lines.append(line)
        with contextlib.suppress(ValueError):  # a line that was cut
            event = read_event(line)
            if event is not None and (pod.index == "0" or event["event"] == "error"):
                self._tell(event)

    def _failure(self, what: str, fix: str = "") -> LaunchError:
        """Returns the error that says what is known of every node."""
        for _ in range(LAST_LOOKS):
            if not any(pod.unread for pod in self._pods.values()):
                break
            time.sleep(POLL_S)
            self._look_at_pods()
        said = []
        for _, pod in sorted(self._pods.items(), key=lambda item: item[1].index):
            words = f": {last_words(list(pod.lines))}" if pod.started else ""
            said.append(f"node {pod.index} {pod.state}{words}")
        about = [self._name, *self._pods]
        with contextlib.suppress(ClusterError):
            events = [event for each in about for event in self._cluster.events(each)]
            said += list(dict.fromkeys(events))[-KEPT_EVENTS:]
        return LaunchError(
            f"TrainJob {self._name} {what}: {'; '.join(said) or 'it made no pods'}",
            where=f"namespace {self._cluster.namespace}",
            fix=fix,
        )


def _describe(pod: Any) -> tuple[str, bool, bool]:
    """Returns a pod's state in words, and whether its container has started and has ended."""
    statuses = pod.status.container_statuses or []
    state = next((each.state for each in statuses if each.name == CONTAINER), None)
    if state is not None and state.terminated is not None:
        reason = state.terminated.reason
        told = [reason] if reason not in (None, "Error", "Completed") else []
        told += ["its pod was deleted"] if pod.metadata.deletion_timestamp else []
        why = f" ({', '.join(told)})" if told else ""
        return f"exited with {state.terminated.exit_code}{why}", True, True
    if state is not None and state.running is not None:
        return "was running", True, False
    if state is not None and state.waiting is not None:
        words = (state.waiting.reason, state.waiting.message)
        return f"waits ({': '.join(word for word in words if word)})", False, False
    phase = str(pod.status.phase).lower()
    return f"is {phase}", phase in ("running", "succeeded", "failed"), False
