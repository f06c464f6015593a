"""Kubernetes as the stages use it: a few custom kinds, made once, watched, deleted.

Every call ends in its result or in one line. A name that is taken is the same object (names are
derived from what is asked for), so a repeated call goes on where a broken one stopped.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kg_schema.errors import DeskGraphError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

CALL_TIMEOUT_S = 30.0
RETRY_FOR_S = 120.0
"""How long an API server that is away is waited for: a restart takes some seconds."""
CREATE_ATTEMPTS = 5
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0
# Answers that a later attempt may turn: too many requests, and a server that is not itself.
PASSING = frozenset({0, 429, 500, 502, 503, 504})

logger = logging.getLogger(__name__)

Object = dict[str, Any]


class ClusterError(DeskGraphError):
    """The cluster cannot be reached or refuses; what it holds is as it was."""


class ClusterAway(ClusterError):
    """The API server did not come back in time; a repeated call goes on where this one stopped."""


class ClusterConflict(ClusterError):
    """An object changed since it was read; read it again."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A custom kind: where the API server keeps its objects.

    Attributes:
        group: API group.
        version: API version.
        plural: Name in paths.
        name: The kind.
    """

    group: str
    version: str
    plural: str
    name: str

    @property
    def api_version(self) -> str:
        """`group/version`, as an object says it."""
        return f"{self.group}/{self.version}"


TRAIN_JOB = Kind("trainer.kubeflow.org", "v1alpha1", "trainjobs", "TrainJob")
INFERENCE_SERVICE = Kind("serving.kserve.io", "v1beta1", "inferenceservices", "InferenceService")
HTTP_ROUTE = Kind("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute")


class Cluster:
    """One namespace of a cluster.

    Args:
        namespace: Where every object is.
        client: The API server; by default that of the pod's service account, else KUBECONFIG's.
        retry_for_s: How long an API server that is away is waited for.

    Raises:
        ClusterError: No cluster is configured.
    """

    def __init__(
        self, namespace: str, client: ApiClient | None = None, *, retry_for_s: float = RETRY_FOR_S
    ) -> None:
        from kubernetes.client import CoreV1Api, CustomObjectsApi

        self.namespace = namespace
        api = client or _configured()
        self._objects = CustomObjectsApi(api)
        self._core = CoreV1Api(api)
        self._retry_for_s = retry_for_s

    def get(self, kind: Kind, name: str) -> Object | None:
        """Returns an object; None where there is none of that name."""
        return self._call(
            f"read {kind.name} {name}", self._objects.get_namespaced_custom_object, kind, name=name
        )

    def find(self, kind: Kind, labels: Mapping[str, str]) -> list[Object]:
        """Returns the objects that carry all of these labels."""
        found = self._call(
            f"list {kind.plural}",
            self._objects.list_namespaced_custom_object,
            kind,
            label_selector=selector(labels),
        )
        items: list[Object] = (found or {}).get("items", [])
        return items

    def create(self, kind: Kind, body: Object) -> Object:
        """Creates an object, or returns the one of that name."""
        name = body["metadata"]["name"]
        what = f"create {kind.name} {name}"
        for _ in range(CREATE_ATTEMPTS):
            try:
                made = self._call(
                    what, self._objects.create_namespaced_custom_object, kind, body=body
                )
            except ClusterConflict:
                if (found := self.get(kind, name)) is not None:
                    return found
                continue  # it was on its way out, and is gone
            if made is None:
                raise ClusterError(
                    f"cannot {what}: no such namespace or kind",
                    where=f"namespace {self.namespace}",
                    fix=f"create the namespace, and install what brings {kind.plural}.{kind.group}",
                )
            return made
        raise ClusterConflict(f"cannot {what}: it comes and goes", where=self.namespace)

    def replace(self, kind: Kind, body: Object) -> Object:
        """Writes an object back as it was read and changed.

        Raises:
            ClusterConflict: It changed in between (its resourceVersion is another).
        """
        name = body["metadata"]["name"]
        what = f"change {kind.name} {name}"
        done = self._call(
            what, self._objects.replace_namespaced_custom_object, kind, name=name, body=body
        )
        if done is None:
            raise ClusterError(f"cannot {what}: it is gone", where=self.namespace)
        return done

    def delete(self, kind: Kind, name: str) -> None:
        """Deletes an object with what belongs to it; one that is gone is deleted."""
        self._call(
            f"delete {kind.name} {name}",
            self._objects.delete_namespaced_custom_object,
            kind,
            name=name,
            propagation_policy="Background",
        )

    def pods(self, labels: Mapping[str, str]) -> list[Any]:
        """Returns the pods (`V1Pod`) that carry all of these labels."""
        found = self._answered(
            "list pods",
            lambda: self._core.list_namespaced_pod(
                self.namespace, label_selector=selector(labels), _request_timeout=CALL_TIMEOUT_S
            ),
        )
        return list(found.items) if found else []

    def log_tail(
        self, pod: str, lines: int, container: str | None = None, *, previous: bool = False
    ) -> str:
        """Returns the last lines that a pod wrote; empty where it wrote none or is gone.

        With `previous`, those of the container that ended before this one was started.
        """
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        with contextlib.suppress(ApiException, HTTPError):
            return str(
                self._core.read_namespaced_pod_log(
                    pod,
                    self.namespace,
                    container=container,
                    previous=previous,
                    tail_lines=lines,
                    _request_timeout=CALL_TIMEOUT_S,
                )
            )
        return ""

    def log_lines(
        self, pod: str, container: str, since_s: int | None = None
    ) -> list[tuple[str, str]] | None:
        """Returns the lines that a container wrote, each after its time, which sorts as text.

        Args:
            pod: Name of the pod.
            container: Name of the container.
            since_s: Only those of the last so many seconds.

        Returns:
            None where they cannot be had now: it has not started, is gone, or the server is away.
        """
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        since = {} if since_s is None else {"since_seconds": since_s}
        try:
            log = self._core.read_namespaced_pod_log(
                pod,
                self.namespace,
                container=container,
                timestamps=True,
                _request_timeout=CALL_TIMEOUT_S,
                **since,
            )
        except (ApiException, HTTPError):
            return None
        pairs = (line.partition(" ") for line in str(log).split("\n") if line)
        return [(stamp, text) for stamp, _, text in pairs]

    def events(self, name: str) -> list[str]:
        """Returns the warnings about an object, oldest first, such as `FailedScheduling: …`."""
        found = self._answered(
            "list events",
            lambda: self._core.list_namespaced_event(
                self.namespace,
                field_selector=f"involvedObject.name={name},type=Warning",
                _request_timeout=CALL_TIMEOUT_S,
            ),
        )
        return [f"{event.reason}: {event.message}" for event in (found.items if found else [])]

    def _call(self, what: str, method: Any, kind: Kind, **arguments: Any) -> Object | None:
        found: Object | None = self._answered(
            what,
            lambda: method(
                kind.group,
                kind.version,
                self.namespace,
                kind.plural,
                _request_timeout=CALL_TIMEOUT_S,
                **arguments,
            ),
        )
        return found

    def _answered(self, what: str, call: Any) -> Any:
        """Repeats a call while the server is away; None for 404."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        deadline = time.monotonic() + self._retry_for_s
        for pause in _pauses():
            try:
                return call()
            except ApiException as error:
                if error.status == 404:
                    return None
                if error.status not in PASSING:
                    raise self._refused(what, error) from error
                reason = f"HTTP {error.status}"
            except HTTPError as error:
                reason = type(error).__name__
            if time.monotonic() + pause > deadline:
                raise ClusterAway(
                    f"cannot {what}: the API server is away ({reason})",
                    where=self.namespace,
                    fix="try again when `kubectl get --raw /readyz` says ok",
                )
            logger.warning("%s: %s; again in %.1f s", what, reason, pause)
            time.sleep(pause)
        raise AssertionError("pauses never end")

    def _refused(self, what: str, error: Any) -> ClusterError:
        said = _message(error)
        if error.status == 409:
            return ClusterConflict(f"cannot {what}: {said}", where=self.namespace)
        if error.status == 403:
            return ClusterError(
                f"no right to {what}",
                where=f"namespace {self.namespace}",
                fix="apply manifests/ and bind Role deskgraph-pipeline to this service account",
            )
        if error.status == 401:
            return ClusterError(
                f"cannot {what}: the token is not accepted",
                where=f"namespace {self.namespace}",
                fix="log in again, or restart the pod for a fresh service account token",
            )
        return ClusterError(f"cannot {what}: {said}", where=f"namespace {self.namespace}")


def selector(labels: Mapping[str, str]) -> str:
    """Returns labels as a selector, `a=b,c=d`."""
    return ",".join(f"{name}={value}" for name, value in labels.items())


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE_S
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE_S)


def _message(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return f"HTTP {error.status} {error.reason}"


def _configured() -> ApiClient:
    from kubernetes import config
    from kubernetes.client import ApiClient

    try:
        config.load_incluster_config()
    except config.ConfigException:
        try:
            config.load_kube_config()
        except (config.ConfigException, OSError) as error:
            raise ClusterError(
                "no cluster is configured",
                where="KUBECONFIG",
                fix="run in a pod, or point KUBECONFIG at a kubeconfig",
            ) from error
    return ApiClient()
