"""The objects of a deployment: an InferenceService a version, and one HTTPRoute over them.

KServe in Standard mode splits no traffic between versions, so the weights are the route's. Its
annotations tell how far a roll-out has come: whoever starts again reads them there.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from components.cluster import HTTP_ROUTE, INFERENCE_SERVICE, Object
from components.deploy.settings import RolloutSettings
from components.deploy.target import KserveTarget

PREFIX = "deskgraph/"
APP_LABEL = "app.kubernetes.io/name"
APP = "deskgraph-assistant"
ROUTE_LABEL = f"{PREFIX}route"
VERSION_LABEL = f"{PREFIX}version"
DIGEST = f"{PREFIX}content-sha256"
RUN = f"{PREFIX}run"
RUNTIME = MODEL_FORMAT = "deskgraph"
SERVICE_ACCOUNT = "deskgraph-serving"
SERVICE_PORT = 80
# What strangers may reach: the protocols, and not /metrics.
PUBLIC_PATHS = ("/v1", "/v2")
GRAPH_FLAG = "--graph="


@dataclass(frozen=True, slots=True)
class Release:
    """A registered version that is to serve.

    Attributes:
        version: Its number in the registry.
        location: Of its model directory, `s3://…`.
        content_sha256: Digest of its files.
        graph_uri: Address of the graph; empty for none, None for that of the version that serves.
    """

    version: str
    location: str
    content_sha256: str
    graph_uri: str | None = ""

    @property
    def model(self) -> str:
        """The digest as its answers tell it."""
        return self.content_sha256[:12]


@dataclass(frozen=True, slots=True)
class RouteState:
    """How far a roll-out is, as the route's annotations keep it.

    Attributes:
        stable: The version that serves; empty before the first.
        canary: The version that is being rolled out; empty for none.
        step: Percent of the traffic that the canary gets.
        started: When the roll-out began, ISO 8601.
        moved: When its last step began.
        run: Who rolls out, or rolled back last.
        failed: Why the canary is being rolled back, or the last one was.
        failed_version: The version that was rolled back last.
    """

    stable: str = ""
    canary: str = ""
    step: str = "0"
    started: str = ""
    moved: str = ""
    run: str = ""
    failed: str = ""
    failed_version: str = ""

    @classmethod
    def of(cls, route: Object | None) -> RouteState:
        """Reads a route's annotations; the empty state where there is no route."""
        kept = (route or {}).get("metadata", {}).get("annotations") or {}
        found = {each.name: kept.get(_key(each.name)) for each in fields(cls)}
        return cls(**{name: value for name, value in found.items() if value is not None})

    def annotations(self) -> dict[str, str]:
        """Returns the annotations that say this."""
        return {_key(each.name): getattr(self, each.name) for each in fields(self)}

    @property
    def weights(self) -> list[tuple[str, int]]:
        """Versions and their percents; a canary without traffic is left out."""
        share = int(self.step) if self.canary and not self.failed else 0
        old = [(self.stable, 100 - share)] if self.stable else []
        return [*old, (self.canary, share)] if share else old


def _key(name: str) -> str:
    return PREFIX + name.replace("_", "-")


def inference_service(
    target: KserveTarget, release: Release, settings: RolloutSettings, run: str = ""
) -> Object:
    """Builds a version's InferenceService; what all versions share is the ServingRuntime's."""
    model: dict[str, Any] = {
        "modelFormat": {"name": MODEL_FORMAT},
        "runtime": RUNTIME,
        "storageUri": release.location,
        "args": graph_arguments(release.graph_uri),
    }
    return {
        "apiVersion": INFERENCE_SERVICE.api_version,
        "kind": INFERENCE_SERVICE.name,
        "metadata": {
            "name": target.service(release.version),
            "labels": {
                APP_LABEL: APP,
                ROUTE_LABEL: target.name,
                VERSION_LABEL: release.version,
            },
            "annotations": {
                "serving.kserve.io/deploymentMode": "Standard",
                "serving.kserve.io/autoscalerClass": "hpa",
                DIGEST: release.content_sha256,
                RUN: run,
            },
        },
        "spec": {
            "predictor": {
                "minReplicas": settings.min_replicas,
                "maxReplicas": settings.max_replicas,
                "scaleMetric": "cpu",
                "scaleTarget": settings.target_cpu,
                "serviceAccountName": SERVICE_ACCOUNT,
                "model": model,
            }
        },
    }


def graph_arguments(graph_uri: str | None) -> list[str]:
    """Returns the arguments that give a service its graph, or none.

    Even where it is empty: they stand behind the runtime's own arguments, and the last counts.
    """
    return [f"{GRAPH_FLAG}{graph_uri or ''}"]


def graph_of(service: Object) -> str:
    """Returns the graph that an InferenceService was given; empty for none."""
    arguments = service["spec"]["predictor"]["model"].get("args") or []
    found = (each.removeprefix(GRAPH_FLAG) for each in arguments if each.startswith(GRAPH_FLAG))
    return next(found, "")


def http_route(target: KserveTarget, state: RouteState, found: Object | None = None) -> Object:
    """Builds the route of a state, over what is found there: others' metadata stays."""
    metadata = dict((found or {}).get("metadata", {}))
    metadata["name"] = target.name
    metadata["labels"] = {**(metadata.get("labels") or {}), APP_LABEL: APP}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), **state.annotations()}
    return {
        "apiVersion": HTTP_ROUTE.api_version,
        "kind": HTTP_ROUTE.name,
        "metadata": metadata,
        "spec": {
            "parentRefs": [{"name": target.gateway_name, "namespace": target.gateway_namespace}],
            "hostnames": [target.hostname],
            "rules": [
                {
                    "matches": [
                        {"path": {"type": "PathPrefix", "value": path}} for path in PUBLIC_PATHS
                    ],
                    "backendRefs": [
                        {
                            "name": f"{target.service(version)}-predictor",
                            "port": SERVICE_PORT,
                            "weight": weight,
                        }
                        for version, weight in state.weights
                    ],
                }
            ],
        },
    }


def accepted(target: KserveTarget, route: Object) -> tuple[bool, str]:
    """Tells whether the gateway has taken a route as it is now, and what it says else."""
    generation = route["metadata"].get("generation", 0)
    ours = (target.gateway_name, target.gateway_namespace)
    for parent in (route.get("status") or {}).get("parents") or []:
        reference = parent.get("parentRef", {})
        if (reference.get("name"), reference.get("namespace")) != ours:
            continue
        wanted = {"Accepted", "ResolvedRefs"}
        for condition in parent.get("conditions") or []:
            if condition.get("observedGeneration", generation) < generation:
                continue
            if condition["status"] == "True":
                wanted.discard(condition["type"])
            elif condition["type"] in wanted:
                return False, f"{condition.get('reason', '')}: {condition.get('message', '')}"
        return not wanted, "" if not wanted else "it has not seen the change"
    return False, "it does not know the route"


def ready(service: Object) -> tuple[bool, str]:
    """Tells whether KServe says Ready of an InferenceService, and what it says else."""
    status = service.get("status") or {}
    generation = service["metadata"].get("generation", 0)
    conditions = {each["type"]: each for each in status.get("conditions") or []}
    if conditions.get("Ready", {}).get("status") == "True":
        seen = status.get("observedGeneration", generation) >= generation
        return seen, "" if seen else "it has not seen the change"
    failure = (status.get("modelStatus") or {}).get("lastFailureInfo") or {}
    # A traceback's last line tells what went wrong.
    said = (failure.get("message") or "").strip().split("\n")[-1:]
    said += [
        f"{each.get('reason', '')}: {each.get('message', '')}"
        for kind, each in conditions.items()
        if kind.endswith("Ready") and each["status"] == "False" and each.get("message")
    ]
    told = dict.fromkeys(line for line in said if line)
    return False, "; ".join(told) or "KServe has said nothing of it"
