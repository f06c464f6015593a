"""Teaches a small student what its teacher knows."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from components.model_dir import (
    count_parameters,
    default_max_length,
    load_model,
    read_compression,
    read_model_manifest,
    save_model,
)
from components.shards import read_manifest as read_shards_manifest
from components.slicing.planning import Size
from components.storage import local_path, localise, output_dir
from components.training import (
    Distillation,
    Divergence,
    Relation,
    TrainResult,
    TrainSpec,
    run_training,
)
from components.training.checkpoint import drop_checkpoints
from kg_schema.errors import InputError
from serving.manifest import MANIFEST_NAME, ManifestError, content_sha256


@dataclass(frozen=True)
class DistillSettings:
    """How the student is made and taught.

    Args:
        task: `intent` or `answer`.
        layers: Share of the teacher's layers that a student cut from it has, spread evenly; a
            given student keeps its own shape.
        channels: Share of each layer's feed-forward channels that it has, chosen by
            activations x weights.
        heads: Share of the key-value groups; 1.0 in the BERT family, where they follow `hidden`.
        hidden: Share of the hidden width.
        multiple: Channels and hidden width are rounded to a multiple of this.
        vocabulary: Tokens it knows; 0 for all of the teacher's.
        positions: Positions it knows where they are learned; 0 for all.
        epochs: Passes over the train split.
        batch_size: Rows a step over all ranks.
        learning_rate: Peak rate.
        warmup: Share of the steps over which the rate rises.
        temperature: Softens both distributions.
        soft_weight: Weight of the teacher's logits.
        hard_weight: Weight of the labels.
        hidden_weight: Weight of what lies behind the logits; 0 for a student of another family
            or with another tokenizer.
        max_length: Tokens a row is cut to; 0 takes the teacher's.
        seed: Of order and dropout.
        ranks: Processes.
        threads: Threads a rank; 0 shares the cores out.
        precision: `auto` probes.
        freeze_embeddings: The embeddings keep their values.
        dropout: Of the student while it learns; negative keeps the model's own.
        activation: Of the student's feed-forward blocks, from now on; empty keeps what they have.
            A 2-layer encoder takes 0.27 ms with `relu`, 0.31 with the `gelu` of its teacher.
        teacher_cache: Folder of the teacher's kept outputs, where several trainings share them;
            empty keeps them with the checkpoints.
        augment: Copies of each train row with other words, learned from the teacher alone, for
            task `intent`; rows of task `answer` have none, whatever this says, so that one profile
            serves both tasks.
        probe: Largest share of the teacher's distribution that a linear probe on the base model's
            frozen embeddings takes, a second opinion (`components.training.probe`), as far as that
            helps on the validation split; 0 for none. Like `augment` for task `intent` alone. The
            base model is the one that the teacher names.
        divergence: Between teacher and student: `forward` or `reverse` KL, or `jsd`.
        top_k: Tokens kept of the teacher's logits at each target token, for task `answer`; 0 runs
            the teacher along.
        relation: What `hidden_weight` weighs: hidden `states`, or `attention` relations.
        relation_heads: Parts the widths are cut into for `attention`; 0 takes what fits.
    """

    task: Literal["intent", "answer"] = "intent"
    layers: float = 1 / 3
    channels: float = 0.5
    heads: float = 1.0
    hidden: float = 1.0
    multiple: int = 32
    vocabulary: int = 0
    positions: int = 0
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
    activation: str = ""
    teacher_cache: str = ""
    augment: int = 0
    probe: float = 0.0
    divergence: Divergence = "forward"
    top_k: int = 0
    relation: Relation = "states"
    relation_heads: int = 0

    def __post_init__(self) -> None:
        """Refuses a size that no student can have, and terms that it cannot learn from.

        Raises:
            InputError: A share is outside (0, 1], a count is below 0, or a term of the loss is
                not for the task.
        """
        _ = self.size
        self.distillation.require_fit(self.task)
        if self.vocabulary < 0:
            raise InputError(f"vocabulary is {self.vocabulary}", fix="use 0 or more")

    @property
    def size(self) -> Size:
        """How much of the teacher a student cut from it keeps."""
        return Size(
            layers=self.layers,
            channels=self.channels,
            heads=self.heads,
            hidden=self.hidden,
            multiple=self.multiple,
            positions=self.positions,
            max_length=self.max_length or 1,
        )

    @property
    def copies(self) -> int:
        """Copies of each row that the task allows."""
        return self.augment if self.task == "intent" else 0

    @property
    def distillation(self) -> Distillation:
        """The terms of the loss."""
        return Distillation(
            temperature=self.temperature,
            soft_weight=self.soft_weight,
            hard_weight=self.hard_weight,
            hidden_weight=self.hidden_weight,
            cache=self.teacher_cache,
            augment=self.copies,
            probe=self.probe if self.task == "intent" else 0.0,
            divergence=self.divergence,
            top_k=self.top_k,
            relation=self.relation,
            relation_heads=self.relation_heads,
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
        student: Location of a model to teach; empty cuts one from the teacher. It may be a pruned
            model, one of another family or with another tokenizer (logits alone: `hidden_weight`
            0; the tokenizer only for task `intent`), or a base model with no manifest, which for
            `intent` gets a fresh head for the shards' labels.

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
        taught = _given(student, localise(shards), settings, manifest)
    else:
        directory = _cut_once(
            teacher_dir, manifest, localise(shards), settings, local_path(checkpoints)
        )
        taught = _Student(
            directory,
            read_compression(directory),
            settings.max_length or int(manifest["max_length"]),
            manifest.get("base_model", ""),
        )
    training = run_training(
        TrainSpec(
            task=settings.task,
            model_dir=str(taught.directory),
            shards=shards,
            out=out,
            checkpoints=checkpoints,
            teacher=teacher,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            warmup=settings.warmup,
            dropout=settings.dropout,
            activation=settings.activation,
            max_length=taught.max_length,
            seed=settings.seed,
            ranks=settings.ranks,
            threads=settings.threads,
            precision=settings.precision,
            freeze_embeddings=settings.freeze_embeddings,
            distillation=replace(settings.distillation, base_model=manifest.get("base_model", "")),
            compression=taught.compression,
            lineage={"base_model": taught.base_model},
            what="distill",
        )
    )
    if not student:
        shutil.rmtree(taught.directory)
        drop_checkpoints(taught.directory.parent)
    return DistillResult(out, manifest["parameters"], training.params, training)


@dataclass(frozen=True)
class _Student:
    """What is taught.

    Args:
        directory: Where it lies on this machine.
        compression: What its compression.json is to tell.
        max_length: Tokens a row is cut to.
        base_model: What it was made from.
    """

    directory: Path
    compression: dict[str, Any]
    max_length: int
    base_model: str


def _given(
    student: str, shards: Path, settings: DistillSettings, manifest: Mapping[str, Any]
) -> _Student:
    """Returns a student that keeps its shape, as seen from the teacher it now learns from."""
    from components.training.models import open_model

    directory = localise(student)
    labels = read_shards_manifest(shards)["labels"] if settings.task == "intent" else []
    model, tokenizer = open_model(directory, settings.task, labels)
    base_model = student
    if (directory / MANIFEST_NAME).is_file():
        base_model = read_model_manifest(directory).get("base_model") or manifest.get(
            "base_model", ""
        )
    compression = {
        **read_compression(directory),
        "parent": content_sha256(dict(manifest)),
        "distilled": True,
        "parameters": {"before": manifest["parameters"], "after": count_parameters(model)},
    }
    longest = settings.max_length or int(manifest["max_length"])
    longest = min(longest, default_max_length(model, tokenizer))
    return _Student(directory, compression, longest, base_model)


def _cut_once(
    teacher: Path,
    manifest: Mapping[str, Any],
    shards: Path,
    settings: DistillSettings,
    checkpoints: Path,
) -> Path:
    """Returns the folder of the student cut from the teacher, made unless it is there whole."""
    parent = content_sha256(dict(manifest))
    data = content_sha256(read_shards_manifest(shards))
    chosen = [asdict(settings.size), settings.vocabulary, settings.seed, settings.max_length]
    size = json.dumps([*chosen, parent, data], sort_keys=True)
    folder = checkpoints / f"student-{hashlib.sha256(size.encode()).hexdigest()[:16]}"
    try:
        read_model_manifest(folder)
    except ManifestError:
        cut_student(str(teacher), str(shards), str(folder), settings)
    return folder


def cut_student(teacher: str, shards: str, out: str, settings: DistillSettings) -> None:
    """Cuts a smaller student from its teacher; not taught yet.

    The parts are chosen by activations x weights, as in pruning: half the width of a 6-layer
    encoder so chosen came back to 86.8% after one pass of recovery, by weights alone to 80.7%.

    Args:
        teacher: Location of the teacher's directory.
        shards: Location of the shards, whose train split chooses the vocabulary and the parts.
        out: Location of the student's directory, published whole or not at all.
        settings: The student's size.

    Raises:
        InputError: The family cannot be cut that way.
        ManifestError: A directory is not whole.
    """
    from components.slicing.calibration import Calibration
    from components.slicing.cutting import cut_model, trim_to_domain
    from components.slicing.scores import score_model

    directory = localise(teacher)
    manifest = read_model_manifest(directory)
    model, tokenizer = load_model(directory)
    rows, data = int(model.config.vocab_size), localise(shards)
    trimmed = trim_to_domain(tokenizer, data, settings.task, rows, settings.vocabulary)
    length = settings.max_length or int(manifest["max_length"])
    batches = Calibration.of(data, tokenizer, settings.task, max_length=length, seed=settings.seed)
    scores = score_model(model, batches)
    cut = cut_model(model, trimmed, scores, settings.size, content_sha256(manifest))
    compression = {**cut.compression, "distilled": True}
    with output_dir(out) as folder:
        save_model(cut.model, cut.tokenizer, folder, task=settings.task, compression=compression)
