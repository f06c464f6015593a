"""The pipelines that the project has, by name, and how one becomes a package for Kubeflow."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kg_schema.errors import InputError

if TYPE_CHECKING:
    from pipelines.placement import Profile

# Module and builder by name; a builder takes a profile and returns a kfp pipeline.
PIPELINES = {
    "training": ("pipelines.training", "build_training"),
    "retraining": ("pipelines.retraining", "build_retraining"),
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
    from kfp import compiler

    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.stem}.tmp.yaml")
    compiler.Compiler().compile(build_package(name, profile), package_path=str(temporary))
    temporary.replace(out)
