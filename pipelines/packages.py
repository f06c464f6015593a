"""The pipelines that the project has, by name, and how one becomes a package for Kubeflow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from kg_schema.errors import InputError
from pipelines.parameters import Parameter, declared_parameters

if TYPE_CHECKING:
    from pipelines.placement import Profile

# Module and builder by name; a builder takes a profile and returns a kfp pipeline.
PIPELINES = {
    "training": ("pipelines.training", "build_training"),
    "retraining": ("pipelines.retraining", "build_retraining"),
}
PREFIX = "deskgraph-"


@dataclass(frozen=True)
class Package:
    """A compiled pipeline.

    Attributes:
        path: The YAML.
        pipeline: The pipeline's name on the page.
        version: `sha-` and 12 hex digits over what it runs: the same content, the same version.
        parameters: What a run may be given, by name.
    """

    path: Path
    pipeline: str
    version: str
    parameters: Mapping[str, Parameter]

    @property
    def object_name(self) -> str:
        """The version's name among all pipelines' versions, as Kubernetes wants it."""
        return f"{self.pipeline}-{self.version}"


def pipeline_name(name: str) -> str:
    """Returns the name on the page of one of `PIPELINES`.

    Raises:
        InputError: There is no such pipeline.
    """
    _entry(name)
    return PREFIX + name


def build_package(name: str, profile: Profile) -> Any:
    """Builds a pipeline with a profile's defaults, settings and placement.

    Args:
        name: One of `PIPELINES`.
        profile: See `pipelines.placement.Profile`.

    Returns:
        A kfp pipeline (`GraphComponent`), ready to compile.

    Raises:
        InputError: There is no such pipeline.
    """
    module, builder = _entry(name)
    return getattr(import_module(module), builder)(profile)


def compile_package(name: str, profile: Profile, out: Path) -> None:
    """Compiles a pipeline into one YAML file that the pipelines page takes as it is.

    Args:
        name: See `build_package`.
        profile: See `build_package`.
        out: The YAML's path; written whole or not at all.

    Raises:
        InputError: There is no such pipeline.
    """
    _compile(build_package(name, profile), out)


def compile_objects(
    name: str, profile: Profile, out: Path, *, version: str, namespace: str
) -> None:
    """Writes a pipeline as the Kubernetes objects Pipeline and PipelineVersion.

    Args:
        name: See `build_package`.
        profile: See `build_package`.
        out: The YAML's path; written whole or not at all.
        version: The version's name; see `Package.object_name`.
        namespace: Where the objects go: that of Kubeflow Pipelines.

    Raises:
        InputError: There is no such pipeline.
    """
    from kfp.compiler import KubernetesManifestOptions

    options = KubernetesManifestOptions(
        pipeline_version_name=version, namespace=namespace, include_pipeline_manifest=True
    )
    _compile(
        build_package(name, profile),
        out,
        kubernetes_manifest_options=options,
        kubernetes_manifest_format=True,
    )


def _compile(pipeline: Any, out: Path, **options: Any) -> None:
    from kfp import compiler

    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.stem}.tmp.yaml")
    compiler.Compiler().compile(pipeline, package_path=str(temporary), **options)
    temporary.replace(out)


def read_package(path: Path) -> Package:
    """Reads a compiled pipeline back: its name, what it may be given, and its content's digest.

    Raises:
        InputError: The file is no compiled pipeline.
    """
    try:
        documents = list(yaml.load_all(path.read_text(encoding="utf-8"), yaml.CSafeLoader))
        pipeline = documents[0]["pipelineInfo"]["name"]
        parameters = declared_parameters(documents[0])
        # Not the file's bytes: kfp orders its comments by chance. Nor the SDK's own version.
        told = [{key: each[key] for key in each if key != "sdkVersion"} for each in documents]
    except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError) as error:
        raise InputError(
            f"no compiled pipeline ({type(error).__name__})",
            where=str(path),
            fix="write one with `deskgraph compile`",
        ) from error
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    return Package(path, pipeline, f"sha-{digest[:12]}", parameters)


def executed_tasks(specification: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields the tasks of a compiled pipeline that run something, with their keys, DAG by DAG."""
    components = specification.get("components", {})
    for each in (specification["root"], *components.values()):
        for key, task in each.get("dag", {}).get("tasks", {}).items():
            if "executorLabel" in components[task["componentRef"]["name"]]:
                yield key, task


def _entry(name: str) -> tuple[str, str]:
    if name not in PIPELINES:
        raise InputError(f"no pipeline {name!r}", fix=f"use one of {', '.join(PIPELINES)}")
    return PIPELINES[name]
