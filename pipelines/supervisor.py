"""The local deploy target: keeps one verified model serving, and switches without a gap.

A loopback HTTP service in a process of its own. `POST /deployments` starts a serving process for
the new version, waits until it is ready and has answered, records it in `deployed.json`, and only
then stops the old one. `GET /deployments/current` tells what serves.
"""

from __future__ import annotations

import argparse
import contextlib
import hmac
import json
import logging
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from components.deploy.deployment import SERVED_NAME, TOKEN_VARIABLE
from components.deploy.smoke import check_answers
from components.storage import localise
from kg_schema.errors import DeskGraphError, InputError
from kg_schema.ports import LOOPBACK
from pipelines.serving_process import ServingFailed, ServingProcess
from serving.manifest import content_sha256, verify_manifest

RECORD_NAME = "deployed.json"
MAX_REQUEST_BYTES = 64 << 10
START_TIMEOUT_S = 30.0
END_TIMEOUT_S = 60.0
WATCH_S = 1.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeployRequest:
    """What is asked to serve: location of the model, its registered name and version, the graph."""

    model: str
    name: str
    version: str
    graph_uri: str = ""

    @classmethod
    def parse(cls, content: object) -> DeployRequest:
        """Reads a request's body.

        Raises:
            InputError: A field is missing, unknown or no text.
        """
        known = {"model", "name", "version", "graph_uri"}
        if not isinstance(content, dict) or not {"model", "name", "version"} <= content.keys():
            raise InputError("needs model, name and version", where="deployment")
        if content.keys() - known or not all(isinstance(each, str) for each in content.values()):
            raise InputError(f"takes the texts {', '.join(sorted(known))}", where="deployment")
        return cls(**content)


class Supervisor:
    """Holds at most one serving process that requests are sent to.

    Args:
        state_dir: Where `deployed.json`, the logs and downloaded models lie.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._logs = state_dir / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._serving: ServingProcess | None = None
        self._starting: ServingProcess | None = None
        self._record: dict[str, Any] = {}

    def deploy(self, request: DeployRequest) -> dict[str, Any]:
        """Switches to a version once it has answered; one deployment at a time.

        Returns:
            The record that `deployed.json` now holds.

        Raises:
            DeskGraphError: It cannot be served. What served before still does.
        """
        with self._lock:
            model = localise(request.model, cache=self._state_dir / "models")
            manifest = verify_manifest(model, "model")
            log = self._logs / f"serving-{request.name}-{request.version}.log".replace("/", "_")
            started = self._starting = ServingProcess(model, request.graph_uri, log)
            try:
                started.wait_ready()
                check_answers(started.url, SERVED_NAME, with_graph=bool(request.graph_uri))
                record = {
                    "name": request.name,
                    "version": request.version,
                    "model": str(model),
                    "content_sha256": content_sha256(manifest),
                    "graph_uri": request.graph_uri,
                    "url": started.url,
                    "grpc_url": started.grpc_url,
                    "pid": started.pid,
                    "deployed_at": datetime.now(UTC).isoformat(timespec="seconds"),
                    "running": True,
                }
                self._write(record)
            except BaseException:
                started.stop()
                raise
            finally:
                self._starting = None
            old, self._serving = self._serving, started
            if old is not None:
                old.stop()
            logger.info("version %s serves at %s", request.version, started.url)
            return record

    def current(self) -> dict[str, Any] | None:
        """What serves, or served until it ended by itself; None before the first deployment."""
        self.watch()
        return dict(self._record) or None

    def watch(self) -> None:
        """Notes it where the serving process has ended by itself."""
        if not self._lock.acquire(blocking=False):
            return  # a deployment is under way, and knows better
        try:
            serving = self._serving
            if serving is None or serving.exit_code is None or not self._record.get("running"):
                return
            said = serving.last_words()
            logger.error("the serving process has ended: %s", said)
            self._write({**self._record, "running": False, "ended": said})
        finally:
            self._lock.release()

    def stop(self) -> None:
        """Stops what serves, and what is about to, and records that nothing does."""
        if (starting := self._starting) is not None:
            starting.stop()
        with self._lock:
            serving, self._serving = self._serving, None
            if serving is not None:
                serving.stop()
            if self._record.get("running"):
                self._write({**self._record, "running": False})

    def _write(self, record: dict[str, Any]) -> None:
        temporary = self._state_dir / f".{RECORD_NAME}.{os.getpid()}.tmp"
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump(record, stream, indent=1)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(self._state_dir / RECORD_NAME)
        self._record = record


def make_server(supervisor: Supervisor, token: str, port: int = 0) -> ThreadingHTTPServer:
    """Puts a supervisor behind HTTP on loopback; every request needs the bearer token."""

    class Handler(BaseHTTPRequestHandler):
        server_version = "DeskGraph"
        sys_version = ""
        timeout = 30

        def do_GET(self) -> None:
            if self._allowed() and self._at("/deployments/current"):
                current = supervisor.current()
                self._reply(200, current) if current else self._error(404, "nothing is deployed")

        def do_POST(self) -> None:
            if not (self._allowed() and self._at("/deployments")):
                return
            try:
                request = DeployRequest.parse(self._body())
                self._reply(200, supervisor.deploy(request))
            except InputError as error:
                self._error(400, str(error))
            except DeskGraphError as error:
                self._error(422, str(error))

        def _body(self) -> object:
            length = self.headers.get("content-length", "")
            if not length.isdigit() or int(length) > MAX_REQUEST_BYTES:
                raise InputError("needs a short body with its length", where="deployment")
            try:
                return json.loads(self.rfile.read(int(length)))
            except ValueError:
                raise InputError("is no JSON", where="deployment") from None

        def _allowed(self) -> bool:
            given = self.headers.get("authorization", "").encode()
            if hmac.compare_digest(given, f"Bearer {token}".encode()):
                return True
            self._error(401, "the bearer token is missing or wrong")
            return False

        def _at(self, path: str) -> bool:
            if self.path == path:
                return True
            self._error(404, "no such address")
            return False

        def _error(self, status: int, line: str) -> None:
            self._reply(status, {"error": line})

        def _reply(self, status: int, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            logger.debug(format, *arguments)

    server = ThreadingHTTPServer((LOOPBACK, port), Handler)
    server.daemon_threads = True
    return server


@dataclass(frozen=True, slots=True)
class RunningSupervisor:
    """A supervisor in a child process.

    Attributes:
        url: Its address, the `deploy_target`.
        token: What its requests carry.
        pid: Its process id.
    """

    url: str
    token: str
    pid: int

    def environment(self) -> dict[str, str]:
        """What a process needs to deploy to it."""
        return {TOKEN_VARIABLE: self.token}

    def current(self) -> dict[str, Any] | None:
        """What it serves; None before the first deployment.

        Raises:
            ServingFailed: It does not answer.
        """
        headers = {"authorization": f"Bearer {self.token}"}
        try:
            response = httpx.get(
                f"{self.url}/deployments/current", headers=headers, timeout=10, trust_env=False
            )
            content: dict[str, Any] = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise ServingFailed("the supervisor does not answer", where=self.url) from error
        return content if response.status_code == 200 else None


@contextlib.contextmanager
def start_supervisor(state_dir: Path) -> Iterator[RunningSupervisor]:
    """Runs a supervisor in a child process until the block ends; what it serves ends with it.

    The child has a session of its own, so that an interrupt at the terminal reaches it through
    here alone, and ends when this process does, however that ends.

    Args:
        state_dir: Where `deployed.json` and `logs/` lie; made where it is missing.

    Raises:
        ServingFailed: It did not start.
    """
    (state_dir / "logs").mkdir(parents=True, exist_ok=True)
    token = secrets.token_urlsafe(32)
    log = state_dir / "logs" / "supervisor.log"
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.supervisor", "--state", str(state_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stream,
            env={**os.environ, TOKEN_VARIABLE: token},
            start_new_session=True,
        )
    try:
        yield RunningSupervisor(_read_url(process, log), token, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()  # the serving process sees the pipe close, and ends too
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def _read_url(process: subprocess.Popen[bytes], log: Path) -> str:
    """Reads the one line a supervisor writes once it listens."""
    timer = threading.Timer(START_TIMEOUT_S, process.kill)
    timer.start()
    try:
        line = process.stdout.readline() if process.stdout else b""
    finally:
        timer.cancel()
    if not line:
        raise ServingFailed("the supervisor did not start", where=str(log))
    return line.decode().strip()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a supervisor until SIGTERM, or until standard input closes."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.supervisor", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, metavar="DIR")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    token = os.environ.pop(TOKEN_VARIABLE, "")
    if not token:
        sys.stderr.write(f"{TOKEN_VARIABLE}: no token; set it\n")
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=_await_parent, args=(stop,), daemon=True).start()
    supervisor = Supervisor(arguments.state)
    server = make_server(supervisor, token, arguments.port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"http://{LOOPBACK}:{server.server_port}\n")
    sys.stdout.flush()
    while not stop.wait(WATCH_S):
        supervisor.watch()
    server.shutdown()
    supervisor.stop()
    return 0


def _await_parent(stop: threading.Event) -> None:
    # Not sys.stdin: its lock, held here when the process ends, would abort it.
    while os.read(0, 4096):
        pass
    stop.set()


if __name__ == "__main__":
    raise SystemExit(main())
