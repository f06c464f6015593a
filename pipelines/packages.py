"""The pipelines that the project has, by name, and how one becomes a package for Kubeflow."""

from __future__ import annotations

import hashlib
import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from kg_schema.errors import InputError

if TYPE_CHECKING:
    from pipelines.placement import Profile

# Module and builder by name; a builder takes a profile and returns a kfp pipeline.
PIPELINES = {
    "training": ("pipelines.training", "build_training"),
}


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
    if name not in PIPELINES:
        raise InputError(f"no pipeline {name!r}", fix=f"use one of {', '.join(PIPELINES)}")
    module, builder = PIPELINES[name]
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


def version_name(package: Path) -> str:
    """Names a package's version by its content, so that the same one is never there twice.

    Args:
        package: The compiled YAML.

    Returns:
        The pipeline's name, `-sha-` and 12 hexadecimal characters: also a Kubernetes name.
    """
    documents = list(yaml.safe_load_all(package.read_bytes()))
    # Not the file's bytes: kfp writes its comments in an order of chance. Nor the SDK's version.
    told = [{k: v for k, v in each.items() if k != "sdkVersion"} for each in documents]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    return f"{documents[0]['pipelineInfo']['name']}-sha-{digest[:12]}"


def compile_objects(
    name: str, profile: Profile, out: Path, *, version: str, namespace: str
) -> None:
    """Writes a pipeline as the Kubernetes objects Pipeline and PipelineVersion.

    Args:
        name: See `build_package`.
        profile: See `build_package`.
        out: The YAML's path; written whole or not at all.
        version: The version's name; see `version_name`.
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
