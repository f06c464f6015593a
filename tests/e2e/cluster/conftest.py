"""A cluster with everything of ours on it, as `docs/install.md` puts it there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kfp
import pytest
import yaml

from pipelines.images import read_record
from tests.e2e.cluster import company
from tests.e2e.cluster.site import (
    BUCKET,
    HOSTNAME,
    NAMESPACE,
    PIPELINES,
    ROOT,
    Site,
    apply,
    kubectl,
    objects,
    until,
)

MARK = "deskgraph.e2e"
MODEL = "e2e-desk"
PROFILE = Path(__file__).with_name("profile.yaml")
READY_S = 240
SESSION = uuid.uuid4().hex[:8]


@dataclass(frozen=True)
class Installed:
    """What stands on the cluster, and what a run there is told."""

    site: Site
    images: dict[str, str]
    parameters: dict[str, Any]
    folder: Path

    def deskgraph(self, *arguments: str | Path, check: bool = True) -> str:
        """Runs the command against this cluster; what it wrote."""
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
        said = done.stdout + done.stderr
        assert not check or done.returncode == 0, said
        return said

    def compile(self, pipeline: str) -> Path:
        """Compiles a pipeline with the images that the cluster has."""
        out = self.folder / f"{pipeline}.yaml"
        self.deskgraph(
            "compile", "--pipeline", pipeline, "--profile", PROFILE,
            "--images", self.site.images_file, "--out", out,
        )  # fmt: skip
        return out

    def client(self) -> kfp.Client:
        """The pipelines' own client."""
        return kfp.Client(host=self.site.kfp_endpoint)

    def wait(self, run_id: str, seconds: float, look: Callable[[], object] = lambda: None) -> str:
        """Waits for a run's end, and looks at something else meanwhile; its state."""

        def ended() -> str | None:
            look()
            state = self.client().get_run(run_id).state
            return state if state in ("SUCCEEDED", "FAILED", "CANCELED") else None

        return until(f"end of run {run_id}", ended, seconds, every=3)

    def retry(self, run_id: str) -> None:
        """Does what the button *Retry* of a failed run does; returns when the run goes on."""
        client = self.client()
        client._run_api.run_service_retry_run(run_id=run_id)  # the SDK has no name for it
        until("run that goes on", lambda: client.get_run(run_id).state != "FAILED", 60)

    def in_pod(
        self, name: str, *arguments: str, token: str = "", seconds: float = 300
    ) -> tuple[str, str]:
        """Runs the command where the pipeline's steps run; its phase and what it wrote.

        Args:
            name: Of the pod.
            arguments: Of the command.
            token: What the pod shows the API server in place of its account's own token.
            seconds: How long it may take.
        """
        pod = _pod(name, self.images["train"], list(arguments))
        if token:
            apply([_secret(name, token)])
            _show(pod, name)
        apply([pod])

        def ended() -> str | None:
            (pod,) = objects("-n", PIPELINES, "pod", name)
            phase = str(pod["status"]["phase"])
            return phase if phase in ("Succeeded", "Failed") else None

        phase = until(f"end of pod {name}", ended, seconds)
        said = kubectl("-n", PIPELINES, "logs", name)
        kubectl("-n", PIPELINES, "delete", "pod", name, "--wait=true")
        kubectl("-n", PIPELINES, "delete", "secret", name, "--ignore-not-found")
        return phase, said


@pytest.fixture(scope="session")
def site() -> Site:
    """Where the cluster is."""
    return Site.from_env()


@pytest.fixture(scope="session")
def installed(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """Everything of ours, on a namespace that is new; E2E_KEEP leaves it there."""
    folder = tmp_path_factory.mktemp("cluster")
    images = _images(Path(site.images_file))
    _empty_namespace()
    _install(site, images, folder)
    _empty_bucket(site)
    # Other tickets each time: Kubeflow would else keep the steps of an earlier session.
    tickets = company.write_tickets(folder / "first", with_new=False, session=SESSION)
    graph = company.write_graph(folder / "graph", with_new=False)
    told = Installed(
        site,
        images,
        {
            "tickets": site.upload(tickets, "company"),
            "graph": site.upload(graph, "company/graph"),
            "model_name": MODEL,
            "deploy_target": (
                f"kserve://{NAMESPACE}/desk?gateway={site.gateway}&hostname={HOSTNAME}"
            ),
        },
        folder,
    )
    yield told
    if not os.environ.get("E2E_KEEP"):
        told.deskgraph("schedule", "--host", site.kfp_endpoint, "--remove")
        _empty_namespace()


def _images(record: Path) -> dict[str, str]:
    return {kind: image.named for kind, image in read_record(record).items()}


def _empty_namespace() -> None:
    """Begins with no namespace of an earlier test; leaves anybody else's alone."""
    found = kubectl("get", "namespace", NAMESPACE, "--ignore-not-found", "-o", "json")
    if not found:
        return
    labels = json.loads(found)["metadata"].get("labels", {})
    assert labels.get(MARK) == "true", (
        f"namespace {NAMESPACE} is somebody's: these tests would delete it; label it {MARK}=true"
    )
    kubectl("delete", "namespace", NAMESPACE, "--wait=true", "--timeout=180s")


def _install(site: Site, images: dict[str, str], folder: Path) -> None:
    place = Path(os.path.relpath(ROOT / "manifests" / "overlays" / "dev", folder))
    names = {"deskgraph/train": images["train"], "deskgraph/serve": images["serve"]}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [str(place)],
        "images": [{"name": name, **_parts(image)} for name, image in names.items()],
        "patches": [
            {"target": {"kind": "Namespace"}, "patch": _label_patch()},
            {"target": {"kind": "NetworkPolicy", "name": "assistant"}, "patch": _from(site)},
        ],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), encoding="utf-8")
    apply(kubectl("kustomize", "--load-restrictor=LoadRestrictionsNone", str(folder)))
    secrets = subprocess.run(
        ["sh", str(ROOT / "manifests" / "secrets.sh")],
        capture_output=True,
        text=True,
        check=True,
        env={
            **os.environ,
            "S3_ENDPOINT": site.s3_endpoint,
            "GRAPH_PASSWORD": "a-password-of-the-tests",
        },
    )
    apply(secrets.stdout)
    for deployment in ("neo4j", "mlflow"):
        kubectl(
            "-n", NAMESPACE, "rollout", "status", f"deployment/{deployment}",
            f"--timeout={READY_S}s",
        )  # fmt: skip


def _parts(image: str) -> dict[str, str]:
    """An image's name and its tag or digest, as kustomize takes them."""
    name, at, digest = image.partition("@")
    if at:
        return {"newName": name, "digest": digest}
    name, _, tag = image.rpartition(":")
    return {"newName": name, "newTag": tag}


def _from(site: Site) -> str:
    """Lets the gateway of this cluster in."""
    place = "/spec/ingress/0/from/0/namespaceSelector/matchLabels"
    value = {"kubernetes.io/metadata.name": site.gateway.split("/")[0]}
    return json.dumps([{"op": "replace", "path": place, "value": value}])


def _label_patch() -> str:
    return f'[{{"op": "add", "path": "/metadata/labels/{MARK}", "value": "true"}}]'


def _empty_bucket(site: Site) -> None:
    from botocore.exceptions import ClientError

    try:
        site.s3.create_bucket(Bucket=BUCKET)
    except ClientError as error:
        assert error.response["Error"]["Code"] in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")
    for page in site.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for entry in page.get("Contents", ()):
            site.s3.delete_object(Bucket=BUCKET, Key=entry["Key"])


def _pod(name: str, image: str, arguments: list[str]) -> dict[str, Any]:
    def secret(variable: str, of: str, key: str) -> dict[str, Any]:
        return {"name": variable, "valueFrom": {"secretKeyRef": {"name": of, "key": key}}}

    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": PIPELINES},
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": "pipeline-runner",
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python", "-m", "pipelines.cli", *arguments],
                    "env": [
                        {"name": "MLFLOW_TRACKING_URI", "value": "http://mlflow.deskgraph:5000"},
                        {"name": "NEO4J_URI", "value": "bolt://neo4j.deskgraph:7687"},
                        {"name": "NEO4J_DATABASE", "value": "deskgraph"},
                        secret("NEO4J_USERNAME", "deskgraph-graph", "username"),
                        secret("NEO4J_PASSWORD", "deskgraph-graph", "password"),
                        secret("AWS_ACCESS_KEY_ID", "deskgraph-object-store", "access-key"),
                        secret("AWS_SECRET_ACCESS_KEY", "deskgraph-object-store", "secret-key"),
                        secret("AWS_ENDPOINT_URL_S3", "deskgraph-object-store", "endpoint"),
                        secret("AWS_REGION", "deskgraph-object-store", "region"),
                    ],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "runAsNonRoot": True,
                        "runAsUser": 65532,
                        "capabilities": {"drop": ["ALL"]},
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - in the pod
                }
            ],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }


def _secret(name: str, token: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": PIPELINES},
        "stringData": {"token": token, "namespace": PIPELINES},
    }


def _show(pod: dict[str, Any], secret: str) -> None:
    """Puts a secret's token where a pod looks for its account's."""
    sources = [
        {"secret": {"name": secret}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    ]
    spec = pod["spec"]
    spec["automountServiceAccountToken"] = False
    spec["volumes"].append({"name": "account", "projected": {"sources": sources}})
    spec["containers"][0]["volumeMounts"].append(
        {"name": "account", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    )
