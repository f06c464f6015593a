"""Prunes a teacher to a plain, smaller model and lets it recover by learning from the teacher."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from components.model_dir import (
    load_model,
    read_compression,
    read_model_manifest,
    save_model,
)
from components.prune.settings import PruneResult, PruneSettings
from components.shards import read_manifest as read_shards_manifest
from components.slicing.cutting import cut_model, trim_to_domain
from components.slicing.scores import Batch, score_model
from components.storage import localise, output_dir
from components.training import TrainSpec, run_training
from components.training.data import Collator, read_rows, require_rows
from kg_schema.errors import InputError
from kg_schema.progress import Progress
from serving.manifest import ManifestError, content_sha256

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["PruneResult", "PruneSettings", "prune_model"]

logger = logging.getLogger(__name__)


def prune_model(
    teacher: str, shards: str, out: str, settings: PruneSettings, checkpoints: str
) -> PruneResult:
    """Cuts layers, heads, channels, hidden width and vocabulary, then trains what is left.

    Args:
        teacher: Location of the teacher's model directory.
        shards: Location of the shards; the train split is calibrated and recovered on.
        out: Location of the pruned model's directory, published whole or not at all.
        settings: How much is kept, and how it recovers.
        checkpoints: Local folder private to this pruning; a recovery goes on from it.

    Raises:
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
    if not settings.recovery_epochs:
        with output_dir(out) as folder:
            compression = _prune_to(folder, teacher_dir, shards_dir, settings, lineage)
        return _result(out, compression, {})
    start = Path(checkpoints) / f"start-{_digest(settings, lineage)}"
    try:
        read_model_manifest(start)
    except ManifestError:
        with output_dir(str(start)) as folder:
            _prune_to(folder, teacher_dir, shards_dir, settings, lineage)
    compression = read_compression(start)
    trained = run_training(_recovery(teacher, shards, out, settings, start, lineage, compression))
    shutil.rmtree(start)
    return _result(out, compression, trained.validation)


def _prune_to(
    folder: Path,
    teacher_dir: Path,
    shards_dir: Path,
    settings: PruneSettings,
    lineage: dict[str, Any],
) -> dict[str, Any]:
    """Writes the pruned model, before any recovery, and returns its compression.json."""
    torch.manual_seed(settings.seed)
    model, tokenizer = load_model(teacher_dir)
    rows = int(model.config.vocab_size)
    trimmed = trim_to_domain(tokenizer, shards_dir, settings.task, rows, settings.vocabulary)
    scores = score_model(model, _calibration(shards_dir, tokenizer, settings))
    cut = cut_model(model, trimmed, scores, settings.size, lineage["parent"])
    plain = {**lineage, "task": settings.task}
    save_model(cut.model, cut.tokenizer, folder, compression=cut.compression, **plain)
    parameters = cut.compression["parameters"]
    logger.info("pruned: %s parameters of %s", parameters["after"], parameters["before"])
    return cut.compression


def _calibration(
    shards_dir: Path, tokenizer: PreTrainedTokenizerBase, settings: PruneSettings
) -> Iterator[Batch]:
    rows = read_rows(shards_dir, "train", tokenizer, settings.task, settings.max_length)
    require_rows(rows, shards_dir, "train")
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(settings.seed))
    chosen = sorted(order[: settings.calibration_rows].tolist(), key=lambda at: rows.lengths[at])
    collate = Collator(settings.task, tokenizer.pad_token_id or 0)
    with Progress(len(chosen), "calibrate", "rows") as progress:
        for start in range(0, len(chosen), settings.batch_size):
            batch = [rows[at] for at in chosen[start : start + settings.batch_size]]
            yield collate(batch)
            progress.advance(len(batch))


def _recovery(
    teacher: str,
    shards: str,
    out: str,
    settings: PruneSettings,
    start: Path,
    lineage: dict[str, Any],
    compression: dict[str, Any],
) -> TrainSpec:
    return TrainSpec(
        task=settings.task,
        model_dir=str(start),
        shards=shards,
        out=out,
        checkpoints=str(start.parent / "recovery"),
        teacher=teacher,
        epochs=settings.recovery_epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        max_length=settings.max_length,
        dropout=settings.dropout,
        seed=settings.seed,
        ranks=settings.ranks,
        threads=settings.threads,
        precision=settings.precision,
        distillation=settings.distillation(
            compression["kept_layers"], len(compression["layer_influence"])
        ),
        compression=compression,
        lineage=lineage,
        what="recover",
    )


def _result(out: str, compression: dict[str, Any], validation: Any) -> PruneResult:
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
