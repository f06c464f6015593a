"""The cluster that the tests run on, as its environment tells: any Kubernetes with Kubeflow.

KUBECONFIG        who we are on it
KFP_ENDPOINT      the pipelines' API, http://…:8888
UI_URL            the pipelines' page
S3_ENDPOINT       an object store that pods reach by this same address, with AWS_ACCESS_KEY_ID and
                  AWS_SECRET_ACCESS_KEY
GATEWAY           namespace/name of a Gateway that our routes may use
GATEWAY_URL       where this process reaches it
DESKGRAPH_IMAGES  the file that `make images` wrote, its images known to the cluster
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import boto3
import httpx
import yaml

ROOT = Path(__file__).resolve().parents[3]
NAMESPACE = "deskgraph"
PIPELINES = "kubeflow"
BUCKET = "deskgraph-e2e"
HOSTNAME = "desk.e2e.test"
T = TypeVar("T")


@dataclass(frozen=True)
class Site:
    """Addresses and keys, from the environment."""

    kubeconfig: str
    kfp_endpoint: str
    ui_url: str
    s3_endpoint: str
    access_key: str
    secret_key: str
    gateway: str
    gateway_url: str
    images_file: str

    @classmethod
    def from_env(cls) -> Site:
        """Reads it, or says everything that is missing at once."""
        names = {
            "kubeconfig": "KUBECONFIG",
            "kfp_endpoint": "KFP_ENDPOINT",
            "ui_url": "UI_URL",
            "s3_endpoint": "S3_ENDPOINT",
            "access_key": "AWS_ACCESS_KEY_ID",
            "secret_key": "AWS_SECRET_ACCESS_KEY",
            "gateway": "GATEWAY",
            "gateway_url": "GATEWAY_URL",
            "images_file": "DESKGRAPH_IMAGES",
        }
        missing = [names[f.name] for f in fields(cls) if not os.environ.get(names[f.name])]
        assert not missing, f"the cluster's tests need {', '.join(missing)} in the environment"
        return cls(**{name: os.environ[variable] for name, variable in names.items()})

    @functools.cached_property
    def s3(self) -> Any:
        """The object store's client."""
        return boto3.client(
            "s3",
            endpoint_url=self.s3_endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
        )

    def upload(self, folder: Path, prefix: str) -> str:
        """Puts a file, or a folder's files, under a prefix; returns the location."""
        for path in [folder] if folder.is_file() else sorted(folder.rglob("*")):
            if path.is_file():
                name = path.name if folder.is_file() else path.relative_to(folder).as_posix()
                self.s3.upload_file(str(path), BUCKET, f"{prefix}/{name}")
        return f"s3://{BUCKET}/{prefix}" + (f"/{folder.name}" if folder.is_file() else "")


def kubectl(*arguments: str, given: str = "", check: bool = True) -> str:
    """Runs kubectl; what it wrote to standard output."""
    done = subprocess.run(
        ["kubectl", *arguments], input=given, capture_output=True, text=True, check=False
    )
    assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def objects(*arguments: str) -> list[dict[str, Any]]:
    """What `kubectl get` finds, as objects."""
    found = json.loads(kubectl("get", *arguments, "-o", "json"))
    return found["items"] if found["kind"].endswith("List") else [found]


def apply(documents: list[Mapping[str, Any]] | str) -> None:
    """Applies objects on the server's side."""
    text = documents if isinstance(documents, str) else yaml.safe_dump_all(documents)
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=text)


def until(what: str, look: Callable[[], T | None], seconds: float, every: float = 1.0) -> T:
    """Looks until there is something; fails with what was waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(every)
    raise AssertionError(f"after {seconds:.0f} s still no {what}")


def ask(site: Site, text: str, hostname: str = HOSTNAME) -> dict[str, Any]:
    """Sends a ticket through the gateway, as any client does."""
    response = httpx.post(
        f"{site.gateway_url}/v1/models/deskgraph:predict",
        json={"instances": [{"text": text}]},
        headers={"host": hostname},
        timeout=30,
        trust_env=False,
    )
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()["predictions"][0]
    return answer
