"""Prunes a teacher to a plain, smaller model and lets it recover by learning from the teacher."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.model_dir import lineage_of, read_model_manifest, write_compression
from components.prune.rounds import run_rounds
from components.prune.settings import PruneError, PruneResult, PruneSettings
from components.prune.work import Work
from components.shards import read_manifest as read_shards_manifest
from components.storage import localise, output_dir
from kg_schema.errors import InputError
from serving.manifest import content_sha256, write_manifest

__all__ = ["PruneError", "PruneResult", "PruneSettings", "prune_model"]


def prune_model(
    teacher: str, shards: str, out: str, settings: PruneSettings, checkpoints: str
) -> PruneResult:
    """Cuts layers, heads, channels, hidden width and vocabulary, then trains what is left.

    Args:
        teacher: Location of the teacher's model directory.
        shards: Location of the shards; the train split is calibrated and recovered on.
        out: Location of the pruned model's directory, published whole or not at all.
        settings: How much is kept, and how it recovers.
        checkpoints: Local folder private to this pruning; a broken one goes on from it, at its
            last finished round and that one's last whole checkpoint.

    Raises:
        PruneError: Not even the first round stays within the budget of accuracy.
        InputError: The family, the shards or the settings do not allow it.
        ManifestError: The teacher or the shards are not whole.
    """
    teacher_dir, shards_dir = localise(teacher), localise(shards)
    manifest = read_model_manifest(teacher_dir)
    if manifest["task"] != settings.task:
        raise InputError(
            f"a model for task {manifest['task']!r}",
            where=teacher,
            fix=f"use one for task {settings.task!r}",
        )
    lineage = {
        "parent": content_sha256(manifest),
        "data": content_sha256(read_shards_manifest(shards_dir)),
        "base_model": manifest.get("base_model", ""),
        "max_length": _max_length(manifest, settings),
    }
    work = Work(
        teacher=teacher_dir,
        shards=shards_dir,
        settings=settings,
        lineage=lineage,
        folder=Path(checkpoints) / f"rounds-{_digest(settings, lineage)}",
    )
    source, compression = run_rounds(work)
    validation = _publish(source, out, compression)
    shutil.rmtree(work.folder)
    return _result(out, compression, validation)


def _publish(source: Path, out: str, compression: Mapping[str, Any]) -> dict[str, float]:
    """Copies a model with another compression.json and returns what it reached on validation."""
    manifest = read_model_manifest(source)
    with output_dir(out) as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True)
        write_compression(folder, compression)
        write_manifest(folder, manifest["kind"], **lineage_of(manifest))
    reached: dict[str, float] = manifest.get("validation", {})
    return reached


def _result(
    out: str, compression: Mapping[str, Any], validation: Mapping[str, float]
) -> PruneResult:
    names = ("kept_heads", "kept_channels", "kept_hidden", "kept_vocabulary")
    return PruneResult(
        out=out,
        before=compression["parameters"]["before"],
        after=compression["parameters"]["after"],
        kept_layers=tuple(compression["kept_layers"]),
        kept={name.removeprefix("kept_"): compression[name]["count"] for name in names},
        validation=validation,
    )


def _max_length(manifest: dict[str, Any], settings: PruneSettings) -> int:
    longest = int(manifest["max_length"])
    return min(longest, settings.positions) if settings.positions else longest


def _digest(settings: PruneSettings, lineage: dict[str, Any]) -> str:
    text = json.dumps([asdict(settings), lineage], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
