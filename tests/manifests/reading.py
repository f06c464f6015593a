"""The manifests as they stand in their files, and as kustomize builds them."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
KUSTOMIZATION = "kustomization.yaml"
BY_HAND = "storage-initializer.yaml"
"""Of another project's object, outside of our namespace."""
# They change objects and are none.
PATCHES = {
    "components/mlflow-volume/use-claim.yaml",
    "components/restricted/namespace.yaml",
    "overlays/production/assistant-resources.yaml",
}


@dataclass(frozen=True)
class Pod:
    """A pod as some object describes it.

    Attributes:
        owner: Where it is described: file, kind, name.
        spec: Its spec, or that of a ServingRuntime, which has containers and volumes too.
        labels: Its labels.
    """

    owner: str
    spec: Object
    labels: dict[str, str]

    @property
    def containers(self) -> list[Object]:
        """Those that begin it as well."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def servers(self) -> list[Object]:
        """Containers that listen."""
        return [each for each in self.spec["containers"] if each.get("ports")]


def files() -> list[Path]:
    """Every YAML file that a kustomization is made of."""
    return sorted(
        path
        for path in MANIFESTS.rglob("*.yaml")
        if path.name not in (KUSTOMIZATION, BY_HAND)
        and "images" not in path.relative_to(MANIFESTS).parts
    )


def kustomizations() -> list[Path]:
    """Every kustomization."""
    return sorted(MANIFESTS.rglob(KUSTOMIZATION))


@functools.cache
def objects() -> tuple[tuple[str, Object], ...]:
    """Every object of the files, with its file."""
    return tuple(
        (name, each)
        for path in files()
        if (name := path.relative_to(MANIFESTS).as_posix()) not in PATCHES
        for each in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    )


def of_kind(kind: str) -> list[Object]:
    """The objects of a kind."""
    return [each for _, each in objects() if each["kind"] == kind]


def named(kind: str, name: str) -> Object:
    """The one object of that kind and name."""
    (found,) = [each for each in of_kind(kind) if each["metadata"]["name"] == name]
    return found


def pods(source: Sequence[tuple[str, Object]]) -> list[Pod]:
    """Every pod that these objects describe, however deep."""
    return [
        Pod(f"{where} {each['kind']} {each['metadata']['name']}", spec, labels)
        for where, each in source
        for spec, labels in _pods(each, {})
    ]


def _pods(at: Any, labels: dict[str, str]) -> Iterator[tuple[Object, dict[str, str]]]:
    if isinstance(at, list):
        for item in at:
            yield from _pods(item, labels)
    elif isinstance(at, dict):
        if "containers" in at:
            yield at, at.get("labels", labels)
        for key, value in at.items():
            inner = at.get("metadata", {}).get("labels", {}) if key == "spec" else labels
            yield from _pods(value, inner)


def kustomize() -> list[str] | None:
    """The command that builds a kustomization; None where there is none on this machine."""
    if shutil.which("kubectl"):
        return ["kubectl", "kustomize"]
    return ["kustomize", "build"] if shutil.which("kustomize") else None


def build(folder: Path) -> list[Object]:
    """Builds a kustomization into its objects."""
    command = kustomize()
    assert command is not None
    done = subprocess.run(
        [*command, str(folder)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def write_above(folder: Path, overlay: str, components: Sequence[str], images: Object) -> Path:
    """Writes a kustomization over an overlay, as one keeps it outside of this project."""

    def reached(path: str) -> str:
        return os.path.relpath((MANIFESTS / path).resolve(), folder.resolve())

    content = {
        "resources": [reached(f"overlays/{overlay}")],
        "components": [reached(f"components/{each}") for each in components],
        "images": [{"name": name, **to} for name, to in images.items()],
    }
    (folder / KUSTOMIZATION).write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder
