"""A small Kubeflow Pipelines API server for tests: what it refuses, the real one (2.14) refuses.

It speaks the REST paths of v2beta1 that the real client uses: names taken are 409, unknown ids
404, unknown or wrong parameters, filters, page tokens and cron expressions 400, another token 401.
No pipeline runs: a test plays the backend with `play` and `finish`.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.message import Message
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlsplit

import pytest
import yaml

from pipelines.kfp_api import Access

Object = dict[str, Any]

ROOT = "/apis/v2beta1"
TERMINAL = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 500: 13, 501: 12}
# What a request may say of each kind, and what lists may be filtered and sorted by.
FIELDS = {
    "experiments": {"display_name", "description", "namespace"},
    "pipelines": {"display_name", "name", "description", "namespace"},
    "runs": {
        "display_name", "description", "experiment_id", "pipeline_spec", "service_account",
        "pipeline_version_reference", "runtime_config", "run_id",
    },
    "recurringruns": {
        "display_name", "description", "experiment_id", "pipeline_spec", "service_account",
        "pipeline_version_reference", "runtime_config", "trigger", "mode", "no_catchup",
        "max_concurrency", "namespace",
    },
}  # fmt: skip
COLUMNS = {
    "experiments": {"display_name", "name", "description", "created_at", "experiment_id"},
    "pipelines": {"display_name", "name", "description", "created_at", "pipeline_id", "namespace"},
    "pipeline_versions": {
        "display_name", "name", "description", "created_at", "pipeline_version_id",
    },
    "runs": {
        "display_name", "description", "created_at", "finished_at", "run_id", "state",
        "experiment_id", "recurring_run_id", "namespace", "storage_state", "scheduled_at",
    },
    "recurring_runs": {
        "display_name", "description", "created_at", "updated_at", "recurring_run_id",
    },
}  # fmt: skip
TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "STRING": ("string", lambda value: isinstance(value, str)),
    "BOOLEAN": ("bool", lambda value: isinstance(value, bool)),
    "STRUCT": ("struct", lambda value: isinstance(value, dict)),
    "LIST": ("list", lambda value: isinstance(value, list)),
    "NUMBER_INTEGER": ("double or integer", lambda value: _is_number(value)),
    "NUMBER_DOUBLE": ("double or integer", lambda value: _is_number(value)),
}
# MariaDB compares without case.
OPERATIONS: dict[str, Callable[[str, Object], bool]] = {
    "EQUALS": lambda value, said: value == said["stringValue"].lower(),
    "IN": lambda value, said: value in map(str.lower, said["stringValues"]["values"]),
    "IS_SUBSTRING": lambda value, said: said["stringValue"].lower() in value,
}
_CRON_FIELD = re.compile(r"(?:[*?]|\w+(?:-\w+)?)(?:/\d+)?(?:,(?:[*?]|\w+(?:-\w+)?)(?:/\d+)?)*")
_CRON_BOUNDS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


class Refused(Exception):
    """An answer that is no success.

    Args:
        status: Of HTTP.
        message: What the service says.
        by: Who says it: the service behind the gateway, the `gateway`, or the `upload` server;
            empty for somebody on the way, who says it in plain text.
    """

    def __init__(self, status: int, message: str, by: str = "service") -> None:
        super().__init__(message)
        self.status, self.message, self.by = status, message, by

    def body(self) -> Object | str:
        """The answer, JSON mostly."""
        if not self.by:
            return self.message
        if self.by == "upload":
            return {"error_message": f"Failed to create: {self.message}", "error_details": "…"}
        code = CODES.get(self.status, 13)
        if self.by == "gateway":
            return {"code": code, "message": self.message}
        short = "Internal Server Error" if code == 13 else self.message
        details = [{"@type": "type.googleapis.com/google.rpc.Status", "message": short}]
        return {"code": code, "message": f"Failed to serve: {self.message}", "details": details}


class LostConnection(Exception):
    """The request was done, and its answer never arrives."""


class KfpServer:
    """What a backend keeps, and the faults that a test asks for.

    Attributes:
        url: Its address on loopback.
        token: Which bearer token it takes; empty for any and none.
        cookie: The same for a cookie.
        objects: What it keeps, by kind and id, in the order it was made.
        logs: What pods wrote, by name.
        requests: (method, path) of each request that was let in.
        before: Called with (method, path) before each request is served; may raise `Refused`.
        clock: Seconds since 1970.
    """

    def __init__(self) -> None:
        self.url = ""
        self.token = ""
        self.cookie = ""
        self.objects: dict[str, dict[str, Object]] = {
            kind: {} for kind in ("experiments", "pipelines", "versions", "runs", "recurring_runs")
        }
        self.logs: dict[str, str] = {}
        self.requests: list[tuple[str, str]] = []
        self.before: Callable[[str, str], object] = lambda method, path: None
        self.clock: Callable[[], float] = time.time
        self._away_until = 0.0
        self._lost: list[tuple[str, str]] = []
        self._lock = threading.RLock()

    def access(self, **options: Any) -> Access:
        """How one reaches it, with nothing taken from the environment."""
        return Access(self.url, **options)

    def away_for(self, seconds: float) -> None:
        """Answers 503 until then, as a gateway does before a server that starts again."""
        self._away_until = time.monotonic() + seconds

    def lose_answer(self, method: str, path: str) -> None:
        """Does the next such request, and closes the connection without an answer."""
        self._lost.append((method, path))

    def all(self, kind: str) -> list[Object]:
        """What it keeps of a kind, oldest first."""
        with self._lock:
            return [dict(each) for each in self.objects[kind].values()]

    def play(self, run_id: str, state: str, *tasks: Object) -> None:
        """Plays the backend: a run's state and its steps."""
        with self._lock:
            run = self.objects["runs"][run_id]
            self._pass(run, state)
            run["run_details"] = {"task_details": list(tasks)}
            if state in TERMINAL:
                run["finished_at"] = self.now()

    def now(self) -> str:
        """The time as it tells it, in whole seconds."""
        return datetime.fromtimestamp(int(self.clock()), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> tuple[int, Any]:
        """Answers one request."""
        parts = urlsplit(target)
        if time.monotonic() < self._away_until:
            raise Refused(503, "no healthy upstream")
        if self.token and headers.get("authorization") != f"Bearer {self.token}":
            raise Refused(401, "Request header error: there is no valid token")
        if self.cookie and headers.get("cookie") != self.cookie:
            raise Refused(302, "Found")
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        self.before(method, parts.path)
        with self._lock:
            self.requests.append((method, parts.path))
            answer = self._route(method, parts.path, query, headers, body)
        if (method, parts.path) in self._lost:
            self._lost.remove((method, parts.path))
            raise LostConnection
        return 200, answer

    def _route(
        self, method: str, path: str, query: dict[str, str], headers: Any, body: bytes
    ) -> Any:
        for wanted, pattern, handler in _ROUTES:
            found = re.fullmatch(pattern, path)
            if found and wanted == method:
                given = found.groupdict()
                if handler is KfpServer._upload_version:
                    return self._upload_version(query, _uploaded(headers, body))
                if method == "GET":
                    return handler(self, query, **given)
                return handler(self, json.loads(body) if body else {}, **given)
        known = any(re.fullmatch(pattern, path) for _, pattern, _ in _ROUTES)
        if known:
            raise Refused(501, "Method Not Allowed", by="gateway")
        raise Refused(404, "Not Found", by="gateway")

    def _list(self, kind: str, key: str, query: dict[str, str], rows: list[Object]) -> Object:
        fits = _predicates(kind, query.get("filter", ""))
        rows = [row for row in rows if fits(row)]
        by, _, order = (query.get("sort_by") or "created_at").partition(" ")
        if by not in COLUMNS[kind] or order not in ("", "asc", "desc"):
            raise Refused(400, f"Invalid sorting field: {by!r}")
        rows.sort(key=lambda row: (row.get(by) or "", row[key]), reverse=order == "desc")
        if (asked_size := int(query.get("page_size") or 0)) < 0:
            raise Refused(400, "The page size should be greater than 0")
        size = min(asked_size or 20, 200)
        asked = [query.get("filter", ""), query.get("sort_by", "")]
        start = 0
        if token := query.get("page_token"):
            try:
                *same, start = json.loads(base64.b64decode(token))
            except ValueError:
                raise Refused(400, "Invalid package token") from None
            if same != asked:
                raise Refused(400, "page token does not match the supplied sort by and/or filter")
        answer: Object = {"total_size": len(rows)} if rows else {}
        if rows[start:]:
            # The one name that the protocol has in camel case.
            shown = "recurringRuns" if kind == "recurring_runs" else kind
            answer[shown] = rows[start : start + size]
        if rows[start + size :]:
            token = base64.b64encode(json.dumps([*asked, start + size]).encode()).decode()
            answer["next_page_token"] = token
        return answer

    def _list_experiments(self, query: dict[str, str]) -> Object:
        return self._list("experiments", "experiment_id", query, self.all("experiments"))

    def _create_experiment(self, body: Object) -> Object:
        _known("experiments", body)
        return self._keep("experiments", "experiment_id", body, unique=("display_name",))

    def _list_pipelines(self, query: dict[str, str]) -> Object:
        return self._list("pipelines", "pipeline_id", query, self.all("pipelines"))

    def _create_pipeline(self, body: Object) -> Object:
        _known("pipelines", body)
        body["name"] = body.get("name") or body.get("display_name")
        return self._keep("pipelines", "pipeline_id", body, unique=("name",))

    def _list_versions(self, query: dict[str, str], pipeline: str) -> Object:
        self._get("pipelines", pipeline)
        rows = [row for row in self.all("versions") if row["pipeline_id"] == pipeline]
        return self._list("pipeline_versions", "pipeline_version_id", query, rows)

    def _get_version(self, query: dict[str, str], pipeline: str, version: str) -> Object:
        return self._get("versions", version)

    def _upload_version(self, query: dict[str, str], content: bytes) -> Object:
        pipeline = query.get("pipelineid", "")
        if pipeline not in self.objects["pipelines"]:
            raise Refused(400, f"Pipeline {pipeline} not found", by="upload")
        documents = list(yaml.safe_load_all(content))
        if "pipelineInfo" not in documents[0]:
            raise Refused(500, "unknown template format: pipeline spec is invalid", by="upload")
        spec = documents[0]
        if len(documents) > 1:
            spec = {"pipeline_spec": documents[0], "platform_spec": documents[1]}
        body = {
            "pipeline_id": pipeline,
            "name": query["name"],
            "display_name": query.get("display_name") or query["name"],
            "pipeline_spec": spec,
        }
        unique = ("pipeline_id", "name")
        try:
            return self._keep("versions", "pipeline_version_id", body, unique=unique)
        except Refused as refusal:
            raise Refused(refusal.status, refusal.message, by="upload") from None

    def _list_runs(self, query: dict[str, str]) -> Object:
        return self._list("runs", "run_id", query, self.all("runs"))

    def _get_run(self, query: dict[str, str], run: str) -> Object:
        return self._get("runs", run)

    def _create_run(self, body: Object) -> Object:
        _known("runs", body)
        if not body.get("display_name"):
            raise Refused(500, "Run name cannot be empty")
        self._check_run(body)
        body = {**body, "state": "PENDING", "storage_state": "AVAILABLE"}
        body["state_history"] = [{"update_time": self.now(), "state": "PENDING"}]
        body["finished_at"] = "1970-01-01T00:00:00Z"
        return self._keep("runs", "run_id", body)

    def _pass(self, run: Object, state: str) -> None:
        run["state"] = state
        run["state_history"].append({"update_time": self.now(), "state": state})

    def _terminate(self, body: Object, run: str) -> Object:
        found = self._get("runs", run)
        if found["state"] in (*TERMINAL, "CANCELING"):
            raise Refused(400, f"Failed to terminate a run {run}. Row not found")
        self._pass(found, "CANCELING")
        return {}

    def _list_recurring(self, query: dict[str, str]) -> Object:
        rows = self.all("recurring_runs")
        return self._list("recurring_runs", "recurring_run_id", query, rows)

    def _get_recurring(self, query: dict[str, str], recurring: str) -> Object:
        return self._get("recurring_runs", recurring)

    def _create_recurring(self, body: Object) -> Object:
        _known("recurringruns", body)
        if not body.get("display_name"):
            raise Refused(500, "Recurring run's name cannot be empty")
        if not 1 <= int(body.get("max_concurrency") or 0) <= 10:
            raise Refused(400, "Max concurrency of a recurring run must be at least 1 and at most")
        if (cron := body.get("trigger", {}).get("cron_schedule", {}).get("cron")) is not None:
            _check_cron(cron)
        self._check_run(body)
        mode = "ENABLE" if body.get("mode") == "ENABLE" else "DISABLE"
        body = {**body, "mode": mode, "status": f"{mode}D"}
        return self._keep("recurring_runs", "recurring_run_id", body)

    def _enable(self, body: Object, recurring: str) -> Object:
        self._get("recurring_runs", recurring).update(mode="ENABLE", status="ENABLED")
        return {}

    def _delete_recurring(self, body: Object, recurring: str) -> Object:
        self._get("recurring_runs", recurring)
        del self.objects["recurring_runs"][recurring]
        return {}

    def _log(self, query: dict[str, str], run: str, pod: str) -> Any:
        if run not in self.objects["runs"]:
            # The status line is gone before the server knows that it fails.
            return json.dumps({"error_message": f"Failed to read logs for run {run}"})
        return self.logs.get(pod, "")

    def _check_run(self, body: Object) -> None:
        """Looks at what will run as the backend does: its version, experiment and parameters."""
        experiment = body.get("experiment_id")
        if experiment and experiment not in self.objects["experiments"]:
            raise Refused(404, f"Experiment {experiment} not found")
        reference = body.get("pipeline_version_reference") or {}
        version = self.objects["versions"].get(reference.get("pipeline_version_id", ""))
        if version is None:
            raise Refused(500, "Failed to create a run due to error fetching manifest")
        spec = version["pipeline_spec"].get("pipeline_spec", version["pipeline_spec"])
        declared = spec["root"].get("inputDefinitions", {}).get("parameters", {})
        given = (body.get("runtime_config") or {}).get("parameters") or {}
        for name, entry in declared.items():
            if name not in given:
                if not entry.get("isOptional") and "defaultValue" not in entry:
                    raise Refused(400, f"parameter {name} is not optional, yet has neither default")
                continue
            wanted, fits = TYPES[entry["parameterType"]]
            if not fits(given[name]):
                raise Refused(400, f"input parameter {name} requires type {wanted}")
        if extra := sorted(given.keys() - declared.keys()):
            raise Refused(
                400, f"parameter(s) provided are not required by pipeline: {', '.join(extra)}"
            )

    def _get(self, kind: str, key: str) -> Object:
        if key not in self.objects[kind]:
            raise Refused(404, f"{kind[:-1]} {key} not found")
        return self.objects[kind][key]

    def _keep(self, kind: str, key: str, body: Object, unique: tuple[str, ...] = ()) -> Object:
        for other in self.objects[kind].values() if unique else ():
            if all(other.get(field) == body.get(field) for field in unique):
                raise Refused(409, f"The name {body[unique[-1]]} already exist.")
        made = {**body, key: str(uuid.uuid4()), "created_at": self.now()}
        if not made.get("runtime_config", {}).get("parameters", True):
            del made["runtime_config"]
        self.objects[kind][made[key]] = made
        return dict(made)


def _known(kind: str, body: Object) -> None:
    if unknown := body.keys() - FIELDS[kind]:
        raise Refused(400, f'proto: (line 1:2): unknown field "{min(unknown)}"', by="gateway")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _predicates(kind: str, text: str) -> Callable[[Object], bool]:
    """Reads a filter, which is decoded once more than HTTP does."""
    if not text:
        return lambda row: True
    try:
        predicates = json.loads(unquote_plus(text))["predicates"]
    except (ValueError, KeyError):
        raise Refused(400, f"failed to parse valid filter from {text!r}") from None
    for predicate in predicates:
        if predicate["key"] not in COLUMNS[kind]:
            raise Refused(400, f"no support for filtering on unrecognized field {predicate['key']}")
        if predicate["operation"] not in OPERATIONS:
            raise Refused(400, f"invalid value for enum field operation: {predicate['operation']}")

    def fits(row: Object) -> bool:
        for predicate in predicates:
            value = str(row.get(predicate["key"]) or "")
            if not OPERATIONS[predicate["operation"]](value.lower(), predicate):
                return False
        return True

    return fits


def _check_cron(text: str) -> None:
    """Refuses what the backend refuses; it takes five fields too, as seconds to months."""
    fields = text.split()
    if text in ("@hourly", "@daily", "@weekly", "@monthly", "@yearly"):
        return
    if len(fields) not in (5, 6):
        raise Refused(400, f"Schedule cron is not a supported format: {len(fields)} fields")
    for part, (low, high) in zip(fields, _CRON_BOUNDS, strict=False):
        numbers = [int(each) for each in re.findall(r"(?<!/)\b\d+", part)]
        backwards = any(int(a) > int(b) for a, b in re.findall(r"\b(\d+)-(\d+)", part))
        if (
            not _CRON_FIELD.fullmatch(part)
            or any(not low <= each <= high for each in numbers)
            or backwards
            or re.search(r"/0+\b", part)
        ):
            raise Refused(400, f"Schedule cron is not a supported format: {part}")


def _uploaded(headers: Any, body: bytes) -> bytes:
    head = f"content-type: {headers['content-type']}\r\n\r\n".encode()
    for part in BytesParser().parsebytes(head + body).walk():
        if isinstance(part, Message) and part.get_filename():
            return bytes(part.get_payload(decode=True))
    raise Refused(400, "Failed to read a pipeline spec file")


_ROUTES: list[tuple[str, str, Callable[..., Any]]] = [
    ("GET", f"{ROOT}/experiments", KfpServer._list_experiments),
    ("POST", f"{ROOT}/experiments", KfpServer._create_experiment),
    ("GET", f"{ROOT}/pipelines", KfpServer._list_pipelines),
    ("POST", f"{ROOT}/pipelines", KfpServer._create_pipeline),
    ("POST", f"{ROOT}/pipelines/upload_version", KfpServer._upload_version),
    ("GET", rf"{ROOT}/pipelines/(?P<pipeline>[^/:]+)/versions", KfpServer._list_versions),
    (
        "GET",
        rf"{ROOT}/pipelines/(?P<pipeline>[^/:]+)/versions/(?P<version>[^/:]+)",
        KfpServer._get_version,
    ),
    ("GET", f"{ROOT}/runs", KfpServer._list_runs),
    ("POST", f"{ROOT}/runs", KfpServer._create_run),
    ("GET", rf"{ROOT}/runs/(?P<run>[^/:]+)", KfpServer._get_run),
    ("POST", rf"{ROOT}/runs/(?P<run>[^/:]+):terminate", KfpServer._terminate),
    ("GET", f"{ROOT}/recurringruns", KfpServer._list_recurring),
    ("POST", f"{ROOT}/recurringruns", KfpServer._create_recurring),
    ("POST", rf"{ROOT}/recurringruns/(?P<recurring>[^/:]+):enable", KfpServer._enable),
    ("GET", rf"{ROOT}/recurringruns/(?P<recurring>[^/:]+)", KfpServer._get_recurring),
    ("DELETE", rf"{ROOT}/recurringruns/(?P<recurring>[^/:]+)", KfpServer._delete_recurring),
    ("GET", r"/apis/v1alpha1/runs/(?P<run>[^/]+)/nodes/(?P<pod>[^/]+)/log", KfpServer._log),
]


@contextmanager
def running_kfp_server() -> Iterator[KfpServer]:
    """A server on a free loopback port."""
    server = KfpServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer in one piece

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            kind = "application/json"
            answer: Any
            try:
                status, answer = server.answer(self.command, self.path, self.headers, body)
            except Refused as refusal:
                status = refusal.status
                answer = refusal.body()
            except LostConnection:
                self.close_connection = True
                return
            if isinstance(answer, str) or status in (302, 503):
                kind = "text/html" if status == 302 else "text/plain"
            raw = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            self.send_response(status)
            if status == 302:
                self.send_header("location", f"{server.url}/dex/auth")
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

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
def kfp_server() -> Iterator[KfpServer]:
    """A backend of the test's own."""
    with running_kfp_server() as server:
        yield server
