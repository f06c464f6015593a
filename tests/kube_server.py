"""A small Kubernetes API server for tests: what it refuses, a real one refuses.

It keeps objects of the kinds that the stages use, over HTTP, for the real client. Unknown kinds
and namespaces are 404, taken names and stale versions 409, what no rule allows 403, a wrong token
401. Where DESKGRAPH_CRDS names a folder of CustomResourceDefinitions, an object is refused that
their schemas refuse, unknown fields included. Nothing runs: a test plays the controllers with
`on_write` and `set_status`.
"""

from __future__ import annotations

import copy
import functools
import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from kubernetes.client import ApiClient, Configuration

from components.cluster import HTTP_ROUTE, INFERENCE_SERVICE, TRAIN_JOB, Kind
from tests.crd_schemas import crd_validator

Object = dict[str, Any]

NAMESPACE = "deskgraph"
TOKEN = "of-the-pipeline"
KINDS = {(k.group, k.version, k.plural): k for k in (TRAIN_JOB, INFERENCE_SERVICE, HTTP_ROUTE)}
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
# What manifests/ gives the pipeline's account.
ALLOWED = {
    "trainjobs": {"create", "get", "delete"},
    "inferenceservices": {"create", "get", "list", "update", "delete"},
    "httproutes": {"create", "get", "update"},
    "pods": {"get", "list"},
    "pods/log": {"get"},
    "events": {"list"},
}
_PATH = re.compile(
    r"/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))"
    r"/namespaces/(?P<namespace>[^/]+)/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>log))?"
)


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message


class KubeServer:
    """Objects by namespace, kind and name, and the faults that a test asks for.

    Attributes:
        url: Its address on loopback.
        allowed: Verbs by resource; a test takes some away.
        objects: What it keeps, by (namespace, plural, name).
        logs: What pods wrote, by name.
        on_write: Called with (verb, object) after each write, outside any lock.
        requests: (verb, resource, name) of each request that was let in.
    """

    def __init__(self) -> None:
        self.url = ""
        self.allowed = copy.deepcopy(ALLOWED)
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.logs: dict[str, str] = {}
        self.namespaces = {NAMESPACE}
        self.token = TOKEN
        self.on_write: Callable[[str, Object], object] = lambda verb, body: None
        self.requests: list[tuple[str, str, str]] = []
        self._away_until = 0.0
        self._version = 0
        self._lock = threading.RLock()

    def client(self, token: str = TOKEN) -> ApiClient:
        """The real client, logged in."""
        configuration = Configuration(host=self.url)
        configuration.api_key = {"authorization": f"Bearer {token}"}
        configuration.retries = 0
        configuration.proxy = None
        return ApiClient(configuration)

    def away_for(self, seconds: float) -> None:
        """Answers 503 until then, as a server does that is starting again."""
        self._away_until = time.monotonic() + seconds

    def get(self, kind: Kind, name: str, namespace: str = NAMESPACE) -> Object | None:
        """What it keeps, as a copy."""
        with self._lock:
            return copy.deepcopy(self.objects.get((namespace, kind.plural, name)))

    def names(self, kind: Kind) -> list[str]:
        """Names of a kind's objects, sorted."""
        with self._lock:
            return sorted(name for _, plural, name in self.objects if plural == kind.plural)

    def set_status(self, kind: Kind, name: str, status: Object, namespace: str = NAMESPACE) -> None:
        """Plays the controller: what it says of an object."""
        with self._lock:
            stored = self.objects[namespace, kind.plural, name]
            stored["status"] = status
            stored["metadata"]["resourceVersion"] = self._next()

    def put_pod(
        self, name: str, labels: dict[str, str], phase: str, status: Object | None = None
    ) -> None:
        """Plays the kubelet: a pod that is there."""
        self._put("pods", name, {"labels": labels}, {"status": {"phase": phase, **(status or {})}})

    def drop_pods(self, prefix: str) -> None:
        """Plays the kubelet: pods that are no more."""
        with self._lock:
            for key in [key for key in self.objects if key[1] == "pods"]:
                if key[2].startswith(prefix):
                    del self.objects[key]

    def put_event(self, about: str, reason: str, message: str) -> None:
        """A warning about an object."""
        body = {"involvedObject": {"name": about}, "reason": reason, "message": message}
        self._put("events", f"{about}.{uuid.uuid4().hex[:8]}", {}, {**body, "type": "Warning"})

    def _put(self, plural: str, name: str, metadata: Object, body: Object) -> None:
        with self._lock:
            full = {"name": name, "namespace": NAMESPACE, **metadata}
            self.objects[NAMESPACE, plural, name] = {"metadata": full, **body}

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> tuple[int, Any]:
        """Answers one request."""
        parts = urlsplit(target)
        if time.monotonic() < self._away_until:
            raise Refused(503, "ServiceUnavailable", "the server is starting")
        if headers.get("authorization") != f"Bearer {self.token}":
            raise Refused(401, "Unauthorized", "Unauthorized")
        found = _PATH.fullmatch(parts.path)
        if found is None:
            raise Refused(404, "NotFound", f"no path {parts.path}")
        namespace, plural, name = found["namespace"], found["plural"], found["name"] or ""
        kind = KINDS.get((found["group"] or "", found["version"] or "", plural))
        if kind is None and not (found["core"] and plural in ("pods", "events")):
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        verb = {"POST": "create", "PUT": "update", "DELETE": "delete"}.get(
            method, "get" if name else "list"
        )
        resource = f"{plural}/{found['sub']}" if found["sub"] else plural
        if verb not in self.allowed.get(resource, set()):
            raise Refused(403, "Forbidden", f"cannot {verb} resource {resource!r} in {namespace}")
        if namespace not in self.namespaces:
            raise Refused(404, "NotFound", f'namespaces "{namespace}" not found')
        with self._lock:
            self.requests.append((verb, resource, name))
            query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
            if found["sub"]:
                if (namespace, "pods", name) not in self.objects:
                    raise Refused(404, "NotFound", f'pods "{name}" not found')
                lines = self.logs.get(name, "").splitlines()
                if query.get("timestamps", "false").lower() == "true":
                    lines = [f"2026-01-01T00:00:00.{at:09d}Z {s}" for at, s in enumerate(lines)]
                return 200, "\n".join(lines[-int(query.get("tailLines", len(lines) or 1)) :])
            if verb == "list":
                return 200, {"kind": "List", "items": self._find(namespace, plural, query)}
            given = json.loads(body) if body else {}
            status, answer = self._serve(verb, kind, (namespace, plural, name), given)
        if verb not in ("get", "list"):
            self.on_write(verb, copy.deepcopy(answer))
        return status, answer

    def _find(self, namespace: str, plural: str, query: dict[str, str]) -> list[Object]:
        wanted = dict(
            pair.split("=", 1) for pair in query.get("labelSelector", "").split(",") if pair
        )
        fields = dict(
            pair.split("=", 1) for pair in query.get("fieldSelector", "").split(",") if pair
        )

        def fits(item: Object) -> bool:
            labels = item["metadata"].get("labels", {})
            return all(labels.get(key) == value for key, value in wanted.items()) and all(
                functools.reduce(lambda at, part: at.get(part, {}), key.split("."), item) == value
                for key, value in fields.items()
            )

        return [
            copy.deepcopy(item)
            for (space, of, _), item in sorted(self.objects.items())
            if (space, of) == (namespace, plural) and fits(item)
        ]

    def _serve(
        self, verb: str, kind: Kind | None, key: tuple[str, str, str], given: Object
    ) -> tuple[int, Object]:
        if verb == "create":
            key = (*key[:2], str(given.get("metadata", {}).get("name", "")))
            if key in self.objects:
                raise Refused(409, "AlreadyExists", f'{key[1]} "{key[2]}" already exists')
            return 201, self._keep(kind, key, given, None)
        stored = self.objects.get(key)
        if stored is None:
            raise Refused(404, "NotFound", f'{key[1]} "{key[2]}" not found')
        if verb == "get":
            return 200, copy.deepcopy(stored)
        if verb == "delete":
            return 200, self.objects.pop(key)
        return 200, self._keep(kind, key, given, stored)

    def _keep(
        self, kind: Kind | None, key: tuple[str, str, str], body: Object, stored: Object | None
    ) -> Object:
        assert kind is not None
        self._check(kind, key, body)
        kept = copy.deepcopy(body)
        metadata = kept["metadata"]
        metadata["namespace"] = key[0]
        generation = 1
        if stored is not None:
            before = stored["metadata"]
            version = metadata.get("resourceVersion")
            if version is not None and version != before["resourceVersion"]:
                raise Refused(
                    409,
                    "Conflict",
                    "the object has been modified; apply your changes to the latest version",
                )
            generation = before["generation"] + (kept.get("spec") != stored.get("spec"))
            metadata["uid"] = before["uid"]
            kept["status"] = stored.get("status", {})
        else:
            metadata["uid"] = str(uuid.uuid4())
            kept.pop("status", None)
        metadata["generation"] = generation
        metadata["resourceVersion"] = self._next()
        self.objects[key] = kept
        return copy.deepcopy(kept)

    def _check(self, kind: Kind, key: tuple[str, str, str], body: Object) -> None:
        if (body.get("apiVersion"), body.get("kind")) != (kind.api_version, kind.name):
            raise Refused(400, "BadRequest", f"not a {kind.api_version} {kind.name}")
        if not NAME.fullmatch(key[2]) or body["metadata"].get("name") != key[2]:
            raise Refused(422, "Invalid", f"{key[2]!r}: not a lowercase RFC 1123 label")
        if body["metadata"].get("namespace", key[0]) != key[0]:
            raise Refused(400, "BadRequest", "the namespace is not the request's")
        for where in ("labels", "annotations"):
            values = body["metadata"].get(where, {})
            if not all(isinstance(value, str) for value in values.values()):
                raise Refused(400, "BadRequest", f"metadata.{where}: values are strings")
        schema = crd_validator(kind.api_version, kind.name)
        if schema is not None:
            for error in schema.iter_errors({k: v for k, v in body.items() if k != "status"}):
                where = ".".join(map(str, error.path))
                raise Refused(422, "Invalid", f"{where}: {error.message[:300]}")

    def _next(self) -> str:
        self._version += 1
        return str(self._version)


@contextmanager
def running_kube_server() -> Iterator[KubeServer]:
    """A server on a free loopback port."""
    server = KubeServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            try:
                status, answer = server.answer(self.command, self.path, self.headers, body)
            except Refused as refusal:
                status = refusal.status
                answer = {
                    "kind": "Status",
                    "status": "Failure",
                    "reason": refusal.reason,
                    "message": refusal.message,
                    "code": status,
                }
            raw = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            self.send_response(status)
            kind = "text/plain" if isinstance(answer, str) else "application/json"
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_PUT = do_DELETE = _handle

        def log_message(self, *arguments: Any) -> None:
            """Says nothing."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    server.url = f"http://127.0.0.1:{listener.server_address[1]}"
    thread = threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        listener.server_close()


@pytest.fixture
def kube() -> Iterator[KubeServer]:
    """An empty cluster."""
    with running_kube_server() as server:
        yield server
