"""How the deploying process reaches what it deploys: Services by name, pods by address."""

from __future__ import annotations

from typing import Any, Protocol

from components.cluster import Cluster

POD_LABEL = "serving.kserve.io/inferenceservice"
DEFAULT_PORT = 8080
CONTAINER = "kserve-container"


class Reach(Protocol):
    """Addresses of an InferenceService."""

    def service(self, name: str) -> str:
        """Returns the address that answers tickets, whichever replica does."""
        ...

    def replicas(self, name: str) -> list[str]:
        """Returns each replica's own address: /metrics are a process's own."""
        ...


class InCluster:
    """As a pod reaches them.

    Args:
        cluster: The namespace.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def service(self, name: str) -> str:
        """Returns the predictor's Service."""
        return f"http://{name}-predictor.{self._cluster.namespace}"

    def replicas(self, name: str) -> list[str]:
        """Returns the pods that are Ready, by their addresses."""
        pods = self._cluster.pods({POD_LABEL: name})
        return sorted(_address(pod) for pod in pods if _is_ready(pod))


def _is_ready(pod: Any) -> bool:
    conditions = pod.status.conditions or []
    ready = any(each.type == "Ready" and each.status == "True" for each in conditions)
    return bool(ready and pod.status.pod_ip and pod.metadata.deletion_timestamp is None)


def _address(pod: Any) -> str:
    containers = pod.spec.containers if pod.spec else []
    ports = [
        port.container_port
        for container in containers
        if container.name == CONTAINER
        for port in container.ports or []
    ]
    host = pod.status.pod_ip
    return f"http://{f'[{host}]' if ':' in host else host}:{next(iter(ports), DEFAULT_PORT)}"
