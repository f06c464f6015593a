"""Teaches a small student what its teacher knows."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from components.model_dir import (
    count_parameters,
    load_model,
    read_compression,
    read_model_manifest,
    save_model,
)
from components.storage import local_path, localise, output_dir
from components.training import Distillation, TrainResult, TrainSpec, run_training
from components.training.checkpoint import drop_checkpoints
from kg_schema.errors import InputError
from serving.manifest import ManifestError, content_sha256


@dataclass(frozen=True)
class DistillSettings:
    """How the student is made and taught.

    Args:
        task: `intent` or `answer`.
        layers: Layers of a student cut from the teacher; a given student keeps its own.
        channels: Share of the teacher's feed-forward channels that a cut student keeps.
        epochs: Passes over the train split.
        batch_size: Rows a step over all ranks.
        learning_rate: Peak rate.
        warmup: Share of the steps over which the rate rises.
        temperature: Softens both distributions.
        soft_weight: Weight of the teacher's logits.
        hard_weight: Weight of the labels.
        hidden_weight: Weight of the hidden states.
        max_length: Tokens a row is cut to; 0 takes the teacher's.
        seed: Of order and dropout.
        ranks: Processes.
        threads: Threads a rank; 0 shares the cores out.
        precision: `auto` probes.
        freeze_embeddings: The embeddings keep their values.
        dropout: Of the student while it learns; negative keeps the model's own.
        teacher_cache: Folder of the teacher's kept outputs, where several trainings share them;
            empty keeps them with the checkpoints.
    """

    task: Literal["intent", "answer"] = "intent"
    layers: int = 2
    channels: float = 0.5
    epochs: int = 6
    batch_size: int = 32
    learning_rate: float = 4e-4
    warmup: float = 0.1
    temperature: float = 2.0
    soft_weight: float = 1.0
    hard_weight: float = 0.5
    hidden_weight: float = 1.0
    max_length: int = 0
    seed: int = 7
    ranks: int = 2
    threads: int = 0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    freeze_embeddings: bool = True
    dropout: float = -1.0
    teacher_cache: str = ""

    def __post_init__(self) -> None:
        """Refuses a share of channels outside (0, 1].

        Raises:
            InputError: It is.
        """
        if not 0 < self.channels <= 1:
            raise InputError(f"channels is {self.channels}", fix="use a share above 0 and up to 1")

    @property
    def distillation(self) -> Distillation:
        """The terms of the loss."""
        return Distillation(
            temperature=self.temperature,
            soft_weight=self.soft_weight,
            hard_weight=self.hard_weight,
            hidden_weight=self.hidden_weight,
            cache=self.teacher_cache,
        )


@dataclass(frozen=True)
class DistillResult:
    """What distillation did; the model itself is the directory at `out`.

    Args:
        out: Location of the student's directory.
        before: `{"total", "encoder"}` parameters of the teacher.
        after: The same of the student.
        training: What the training did.
    """

    out: str
    before: Mapping[str, int]
    after: Mapping[str, int]
    training: TrainResult


def distill_model(
    teacher: str,
    shards: str,
    out: str,
    settings: DistillSettings,
    checkpoints: str,
    student: str = "",
) -> DistillResult:
    """Trains a student on its teacher's logits and hidden states and on the labels.

    Args:
        teacher: Location of the teacher's directory.
        shards: Location of the shards.
        out: Location of the result, published whole or not at all.
        settings: How to make and teach the student.
        checkpoints: Folder private to this training, resumed from after a break.
        student: Location of a model to teach (a pruned one); empty cuts one from the teacher.

    Raises:
        InputError: A location or a setting cannot be used, or the models do not fit each other.
        ManifestError: A directory is not whole.
        LaunchError: A rank failed.
    """
    teacher_dir = localise(teacher)
    manifest = read_model_manifest(teacher_dir)
    if manifest["task"] != settings.task:
        raise InputError(
            f"a teacher for task {manifest['task']!r}",
            where=teacher,
            fix=f"use one for task {settings.task!r}",
        )
    if student:
        directory = localise(student)
        compression = _described(directory, content_sha256(manifest), manifest["parameters"])
    else:
        directory = _cut_once(teacher_dir, manifest, settings, local_path(checkpoints))
        compression = read_compression(directory)
    training = run_training(
        TrainSpec(
            task=settings.task,
            model_dir=str(directory),
            shards=shards,
            out=out,
            checkpoints=checkpoints,
            teacher=teacher,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            warmup=settings.warmup,
            dropout=settings.dropout,
            max_length=settings.max_length or int(manifest["max_length"]),
            seed=settings.seed,
            ranks=settings.ranks,
            threads=settings.threads,
            precision=settings.precision,
            freeze_embeddings=settings.freeze_embeddings,
            distillation=settings.distillation,
            compression=compression,
            lineage={"base_model": manifest.get("base_model", "")},
            what="distill",
        )
    )
    if not student:
        shutil.rmtree(directory)
        drop_checkpoints(directory.parent)
    return DistillResult(out, manifest["parameters"], training.params, training)


def _described(student: Path, parent: str, before: Mapping[str, int]) -> dict[str, Any]:
    """Returns a given student's compression, as seen from the teacher it now learns from."""
    kept = {**read_compression(student), "parent": parent}
    after = read_model_manifest(student)["parameters"]
    return {**kept, "distilled": True, "parameters": {"before": before, "after": after}}


def _cut_once(
    teacher: Path, manifest: Mapping[str, Any], settings: DistillSettings, checkpoints: Path
) -> Path:
    """Returns the folder of the student cut from the teacher, made unless it is there whole."""
    parent = content_sha256(dict(manifest))
    name = f"student-{parent[:12]}-{settings.layers}-{settings.channels:g}"
    folder = checkpoints / name
    try:
        read_model_manifest(folder)
    except ManifestError:
        _cut(teacher, folder, parent, settings)
    return folder


def _cut(teacher: Path, folder: Path, parent: str, settings: DistillSettings) -> None:
    from components.distill.shape import cut_student

    model, tokenizer = load_model(teacher)
    width = model.config.intermediate_size
    channels = max(1, round(width * settings.channels))
    student, cut = cut_student(model, layers=settings.layers, channels=channels)
    compression = {
        "parent": parent,
        "distilled": True,
        "kept_layers": cut.layers,
        "kept_channels": {"count": channels, "of": width, "indices": cut.channels},
        "parameters": {"before": count_parameters(model), "after": count_parameters(student)},
    }
    with output_dir(str(folder)) as out:
        save_model(student, tokenizer, out, task=settings.task, compression=compression)
