"""A cluster to roll out on: the fake API server, real serving processes, a gateway by weights.

KServe is played: an InferenceService whose model a process serves becomes Ready, and its Service
is that process. The gateway is played: it takes every route, and sends requests on by the
weights that the HTTPRoute holds at that moment.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq

from components.cluster import HTTP_ROUTE, INFERENCE_SERVICE
from components.shards import shard_schema
from serving.manifest import write_manifest
from tests.kube_server import NAMESPACE, KubeServer

HOSTNAME = "desk.test"
NAME = "desk"
NOWHERE = "http://127.0.0.1:9"


class ServingCluster:
    """What there is of a cluster in these tests.

    Attributes:
        kube: The API server.
        serving: Addresses of processes by the model's location.
        gateway: The gateway's address.
        sent: Requests that the gateway sent on, by InferenceService.
        takes_routes: Whether it says Accepted of a route.
    """

    def __init__(self, kube: KubeServer, serving: dict[str, str]) -> None:
        self.kube = kube
        self.serving = serving
        self.gateway = ""
        self.sent: Counter[str] = Counter()
        self.takes_routes = True
        self._credit: Counter[str] = Counter()
        kube.on_write = self._control

    @property
    def target(self) -> str:
        """The deploy target."""
        options = f"gateway=gateway/desk&hostname={HOSTNAME}&url={self.gateway}"
        return f"kserve://{NAMESPACE}/{NAME}?{options}"

    @property
    def weights(self) -> dict[str, int]:
        """The route's, by InferenceService."""
        route = self.kube.get(HTTP_ROUTE, NAME)
        assert route is not None
        backends = route["spec"]["rules"][0]["backendRefs"]
        return {each["name"].removesuffix("-predictor"): each["weight"] for each in backends}

    @property
    def services(self) -> list[str]:
        """Names of the InferenceServices."""
        return self.kube.names(INFERENCE_SERVICE)

    def note(self, key: str) -> str:
        """An annotation of the route."""
        route = self.kube.get(HTTP_ROUTE, NAME)
        assert route is not None
        return str(route["metadata"]["annotations"][f"deskgraph/{key}"])

    # As `components.deploy.reach.Reach`

    def service(self, name: str) -> str:
        """Where an InferenceService's process listens."""
        found = self.kube.get(INFERENCE_SERVICE, name)
        location = found["spec"]["predictor"]["model"]["storageUri"] if found else ""
        return self.serving.get(location, NOWHERE)

    def replicas(self, name: str) -> list[str]:
        """The one process."""
        return [self.service(name)]

    def _control(self, verb: str, body: dict[str, Any]) -> None:
        name, kind = body["metadata"]["name"], body["kind"]
        if verb == "delete":
            return
        generation = body["metadata"]["generation"]
        if kind == INFERENCE_SERVICE.name and self.service(name) != NOWHERE:
            ready = {"type": "Ready", "status": "True"}
            status = {"conditions": [ready], "observedGeneration": generation}
            self.kube.set_status(INFERENCE_SERVICE, name, status)
        if kind == HTTP_ROUTE.name and self.takes_routes:
            taken = [
                {"type": kind, "status": "True", "observedGeneration": generation}
                for kind in ("Accepted", "ResolvedRefs")
            ]
            reference = {"name": "desk", "namespace": "gateway"}
            status = {"parents": [{"parentRef": reference, "conditions": taken}]}
            self.kube.set_status(HTTP_ROUTE, name, status)

    def choose(self, host: str) -> str:
        """The InferenceService that gets the next request: smooth weighted round robin."""
        route = self.kube.get(HTTP_ROUTE, NAME)
        if route is None or host not in route["spec"]["hostnames"]:
            return ""
        weights = {name: weight for name, weight in self.weights.items() if weight}
        for name, weight in weights.items():
            self._credit[name] += weight
        if not weights:
            return ""
        chosen = max(weights, key=lambda name: self._credit[name])
        self._credit[chosen] -= sum(weights.values())
        self.sent[chosen] += 1
        return chosen


@contextmanager
def serving_cluster(kube: KubeServer, serving: dict[str, str]) -> Iterator[ServingCluster]:
    """A cluster whose gateway listens on loopback."""
    cluster = ServingCluster(kube, serving)
    lock = threading.Lock()
    client = httpx.Client(timeout=30, trust_env=False)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            with lock:
                service = cluster.choose(self.headers["host"])
            status, answer = (404, b"{}") if not service else (503, b"{}")
            if service and (url := cluster.service(service)) != NOWHERE:
                response = client.post(f"{url}{self.path}", content=body)
                status, answer = response.status_code, response.content
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments: Any) -> None:
            """Says nothing."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    cluster.gateway = f"http://127.0.0.1:{listener.server_address[1]}"
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    try:
        yield cluster
    finally:
        listener.shutdown()
        listener.server_close()
        client.close()


def write_shards(folder: Path, tickets: list[tuple[str, str]]) -> Path:
    """A shards directory whose validation split holds these texts and intents."""
    folder.mkdir()
    rows = [
        {"ticket_id": str(number), "text": text, "intent": intent, "label": 0, "solution_ids": []}
        for number, (text, intent) in enumerate(tickets)
    ]
    path = "validation-00000-of-00001.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=shard_schema()), folder / path)
    shards = [{"path": path, "split": "validation", "rows": len(rows)}]
    write_manifest(folder, "shards", shards=shards, labels=[])
    return folder
