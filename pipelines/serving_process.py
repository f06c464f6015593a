"""One serving process: started beside whatever serves, watched until ready, stopped in order."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

import httpx

from components.deploy.deployment import SERVED_NAME
from kg_schema.errors import DeskGraphError
from kg_schema.ports import LOOPBACK, free_ports

READY_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0
POLL_S = 0.1


class ServingFailed(DeskGraphError):
    """A serving process did not become ready, or ended by itself."""


class ServingProcess:
    """`python -m serving.app` on two free ports of loopback.

    It ends with this process, however this one ends: its standard input is a pipe from here.

    Args:
        model: The model directory.
        graph_uri: Address of the graph; empty for none.
        log: Where its output goes.
    """

    def __init__(self, model: Path, graph_uri: str, log: Path) -> None:
        port = free_ports(2)
        grpc_port = port + 1
        self.url = f"http://{LOOPBACK}:{port}"
        self.grpc_url = f"{LOOPBACK}:{grpc_port}"
        self._log = log
        arguments = ["--model", str(model), "--graph", graph_uri, "--name", SERVED_NAME]
        arguments += ["--port", str(port), "--grpc-port", str(grpc_port), "--lifeline", "true"]
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "serving.app", *arguments],
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=stream,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """What it ended with; None while it runs."""
        return self._process.poll()

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Waits until the model is verified and loaded.

        Raises:
            ServingFailed: It ended, or is not ready in time.
        """
        deadline = time.monotonic() + timeout_s
        with httpx.Client(base_url=self.url, timeout=5.0, trust_env=False) as client:
            while time.monotonic() < deadline:
                if self.exit_code is not None:
                    raise ServingFailed(self.last_words(), where="serving process")
                try:
                    if client.get(f"/v2/models/{SERVED_NAME}/ready").status_code == 200:
                        return
                except httpx.HTTPError:
                    pass  # not listening yet; the loop asks again until the deadline
                time.sleep(POLL_S)
        raise ServingFailed(f"not ready in {timeout_s:g} s", where=str(self._log))

    def last_words(self) -> str:
        """The last line of its log, and the exit code where it has ended."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
        with contextlib.suppress(ValueError, AttributeError):  # a plain line is the message
            last = str(json.loads(last).get("message", last))
        return last if self.exit_code is None else f"exit code {self.exit_code}: {last}"

    def stop(self) -> None:
        """Lets it finish what runs, then ends it. Safe to call twice."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
