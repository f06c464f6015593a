"""A real serving process on loopback, for the length of a `with` block."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from kg_schema.ports import free_ports


class Server:
    def __init__(self, model: Path, log: Path, **settings):
        self.port = free_ports(2)
        self.grpc_port = self.port + 1
        self.url, self.log = f"http://127.0.0.1:{self.port}", log
        arguments = {"model": model, "port": self.port, "grpc-port": self.grpc_port, **settings}
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in arguments.items()]
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "serving.app", *flags],
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=stream,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        self.http = httpx.Client(base_url=self.url, timeout=30, trust_env=False)

    def get(self, path):
        return self.http.get(path)

    def predict(self, *instances, **options):
        body = {"instances": list(instances)}
        return self.http.post("/v1/models/deskgraph:predict", json=body, **options)

    def infer(self, *texts):
        tensor = {"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": list(texts)}
        return self.http.post("/v2/models/deskgraph/infer", json={"inputs": [tensor]})

    def wait(self, path, status=200, timeout_s=90.0):
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            with contextlib.suppress(httpx.HTTPError):
                if self.get(path).status_code == status:
                    return
            time.sleep(0.05)
        raise AssertionError(f"{path} is not {status}: {self.log.read_text()}")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        self.process.stdin.close()
        self.http.close()
        return code


@contextlib.contextmanager
def serving(model: Path, log: Path, **settings):
    server = Server(model, log, **settings)
    try:
        server.wait("/v2/health/ready")
        yield server
    finally:
        server.stop()
