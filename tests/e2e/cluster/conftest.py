"""A cluster with everything of ours on it, as `docs/install.md` puts it there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kfp
import pytest
import yaml

from tests.e2e.cluster import company
from tests.e2e.cluster.site import (
    BUCKET,
    HOSTNAME,
    NAMESPACE,
    ROOT,
    Site,
    apply,
    kubectl,
    objects,
    until,
)

MARK = "deskgraph.e2e"
MODEL = "e2e-desk"
OPERATOR = "e2e-operator"
PROFILE = Path(__file__).with_name("profile.yaml")
READY_S = 240


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
            env={**os.environ, "DESKGRAPH_E2E": "1"},
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

    def wait(self, run_id: str, seconds: float) -> str:
        """Waits for a run's end; its state."""

        def ended() -> str | None:
            state = self.client().get_run(run_id).state
            return state if state in ("SUCCEEDED", "FAILED", "CANCELED") else None

        return until(f"end of run {run_id}", ended, seconds, every=3)

    def in_pod(self, name: str, *arguments: str, seconds: float = 300) -> tuple[str, str]:
        """Runs the command in a pod with the pipeline's rights; its phase and what it wrote."""
        apply([_pod(name, self.images["train"], list(arguments))])

        def ended() -> str | None:
            (pod,) = objects("-n", NAMESPACE, "pod", name)
            phase = str(pod["status"]["phase"])
            return phase if phase in ("Succeeded", "Failed") else None

        phase = until(f"end of pod {name}", ended, seconds)
        said = kubectl("-n", NAMESPACE, "logs", name)
        kubectl("-n", NAMESPACE, "delete", "pod", name, "--wait=false")
        return phase, said


@pytest.fixture(scope="session")
def site() -> Site:
    """Where the cluster is."""
    return Site.from_env()


@pytest.fixture(scope="session")
def installed(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """Everything of ours, on a namespace that is new."""
    folder = tmp_path_factory.mktemp("cluster")
    images = _images(Path(site.images_file))
    _empty_namespace()
    _install(site, images, folder)
    _empty_bucket(site)
    tickets = company.write_tickets(folder / "first", with_new=False)
    graph = company.write_graph(folder / "graph", with_new=False)
    yield Installed(
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


def _images(record: Path) -> dict[str, str]:
    content = json.loads(record.read_text(encoding="utf-8"))
    return {kind: entry.get("named") or entry["reference"] for kind, entry in content.items()}


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
        "images": [
            {"name": name, "newName": image.rsplit(":", 1)[0], "newTag": image.rsplit(":", 1)[1]}
            for name, image in names.items()
        ],
        # The watch knows the model that these tests train.
        "patches": [{"target": {"kind": "Namespace"}, "patch": _label_patch()}],
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
    apply(_operator())
    for deployment in ("neo4j", "mlflow"):
        kubectl(
            "-n", NAMESPACE, "rollout", "status", f"deployment/{deployment}",
            f"--timeout={READY_S}s",
        )  # fmt: skip


def _operator() -> list[dict[str, Any]]:
    """Whoever rolls back by hand: an account with the pipeline's rights."""
    account = {"kind": "ServiceAccount", "name": OPERATOR, "namespace": NAMESPACE}
    metadata = {"name": OPERATOR, "namespace": NAMESPACE}
    group = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "subjects": [account],
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "deskgraph-pipeline"},
        },
    ]


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
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": OPERATOR,
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
