"""What one training lessens: its terms, and the teacher they are read from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from components.base_model import find_base
from components.model_dir import load_model, model_labels
from components.storage import local_path, localise
from components.training.checkpoint import content_digest
from components.training.data import Collator, TicketRows, read_rows, require_rows
from components.training.losses import (
    HiddenProjection,
    Objective,
    RelationTerm,
    Teacher,
    spread_layers,
)
from components.training.matching import require_comparable, token_map
from components.training.models import backbone_layers, open_model
from components.training.opened import Session, read_train_rows
from components.training.probe import Probe, choose_share
from components.training.relations import common_heads, last_projections
from components.training.spec import Distillation
from components.training.teachers import (
    CachedAndLiveTeacher,
    CachedTeacher,
    LiveTeacher,
    Pairs,
    Reading,
    cache_key,
    read_teacher,
)
from kg_schema.errors import InputError

TEACHER_FOLDER = "teacher"


def objective_of(session: Session) -> Objective:
    """Returns the loss of a training, its teacher read where it is kept.

    Raises:
        InputError: Student and teacher do not fit each other, or not the shards.
        ManifestError: The teacher's directory is not whole.
    """
    spec = session.spec
    if spec.distillation is None:
        return Objective(spec.task, spec.label_smoothing)
    return _Lesson(session, spec.distillation).objective()


@dataclass(frozen=True)
class _Voice:
    """A classifier that is heard.

    Args:
        name: As the progress calls it.
        directory: Where it was opened from.
        model: In evaluation mode.
        tokenizer: Its own.
    """

    name: str
    directory: Path
    model: Any
    tokenizer: Any


class _Lesson:
    """One student before one teacher."""

    def __init__(self, session: Session, weights: Distillation) -> None:
        self._session = session
        self._weights = weights
        self._teacher, self._tokenizer = load_model(localise(session.spec.teacher))
        self._attention = bool(weights.hidden_weight) and weights.relation == "attention"
        self._vocabulary = self._match()

    def objective(self) -> Objective:
        """Returns the loss, and hangs the hidden term's projection on the student."""
        spec, weights = self._session.spec, self._weights
        pairs, projection = self._projection()
        relations = self._relations() if self._attention else None
        teacher = self._speaker(pairs)
        return Objective(spec.task, spec.label_smoothing, weights, teacher, projection, relations)

    def _match(self) -> torch.Tensor | None:
        """Returns the teacher's id of each of the student's tokens, where one must be known."""
        session = self._session
        models = (
            session.model,
            session.tokenizer,
            Path(session.spec.model_dir),
            self._teacher,
            self._tokenizer,
        )
        if self._weights.hidden_weight:
            return require_comparable(*models)
        return token_map(*models) if session.spec.task == "answer" else None

    def _projection(self) -> tuple[Pairs, HiddenProjection | None]:
        if not self._weights.hidden_weight or self._attention:
            return (), None
        model, teacher = self._session.model, self._teacher
        own, its = len(backbone_layers(model)), len(backbone_layers(teacher))
        pairs = self._weights.layer_map or spread_layers(own, its)
        _check_pairs(pairs, own, its)
        projection = HiddenProjection(pairs, model.config.hidden_size, teacher.config.hidden_size)
        model.hidden_projection = projection.to(self._session.world.device)
        return pairs, projection

    def _relations(self) -> RelationTerm:
        own, its = last_projections(self._session.model), last_projections(self._teacher)
        linears: tuple[Any, ...] = (*own, *its)
        widths = [int(each.out_features) for each in linears]
        most = int(self._teacher.config.num_attention_heads)
        return RelationTerm(own, common_heads(widths, self._weights.relation_heads, most))

    def _speaker(self, pairs: Pairs) -> Teacher:
        if self._session.spec.task == "answer" and not self._weights.top_k:
            return self._live(pairs)
        kept = self._kept_answers(pairs) if self._weights.top_k else self._kept_classes(pairs)
        return CachedAndLiveTeacher(kept, self._live(pairs)) if self._attention else kept

    def _live(self, pairs: Pairs) -> LiveTeacher:
        return LiveTeacher(
            self._teacher,
            pairs,
            self._session.world.device,
            self._vocabulary,
            self._session.spec.task,
            last_projections(self._teacher) if self._attention else (),
        )

    def _kept_classes(self, pairs: Pairs) -> Teacher:
        """Returns a classifier's outputs, mixed with a probe's where that is asked for."""
        session = self._session
        labels = list(session.manifest["labels"])
        if model_labels(self._teacher) != labels:
            raise InputError(
                "the teacher knows other labels than the shards", where=session.spec.teacher
            )
        own = self._voice()
        teacher = self._heard(own, "train", self._rows("train", own), pairs)
        return self._with_probe(own, teacher, labels) if self._weights.probe else teacher

    def _voice(self) -> _Voice:
        directory = localise(self._session.spec.teacher)
        return _Voice("teacher", directory, self._teacher, self._tokenizer)

    def _with_probe(self, own: _Voice, teacher: CachedTeacher, labels: Sequence[str]) -> Teacher:
        """Returns a teacher mixed with a probe, as far as that helps on the validation split."""
        session, what = self._session, self._session.spec.what
        directory = find_base(self._weights.base_model)
        base = _Voice("base model", directory, *open_model(directory, "intent", labels))
        top = ((1, len(backbone_layers(base.model))),)
        train, validation = (self._rows(split, base) for split in ("train", "validation"))
        learned = self._heard(base, "train", train, top)
        beside = self._heard(base, "validation", validation, top)
        own_beside = self._heard(own, "validation", self._rows("validation", own), ())
        found: Any = None
        if session.world.first:
            probe = Probe(learned.means, _labels(train), len(labels))
            said, wanted = probe(beside.means), _labels(validation)
            share = choose_share(own_beside.logits, said, wanted, self._weights.probe)
            found = probe(learned.means), share
        opinion, share = session.world.from_first(found)
        session.tell("log", line=f"{what}: a probe takes {share:.1%} of the teacher's distribution")
        return teacher.with_opinion(opinion, share)

    def _heard(self, voice: _Voice, split: str, rows: TicketRows, pairs: Pairs) -> CachedTeacher:
        """Returns a classifier's outputs on its own tokens; rows are matched by their place.

        Args:
            voice: The classifier.
            split: Whose rows it reads.
            rows: Those rows in its tokens.
            pairs: (student layer, its layer) whose states are kept.
        """
        spec, shards, augment = self._session.spec, self._session.shards, self._weights.augment
        key = cache_key(
            content_digest(voice.directory),
            content_digest(shards),
            split,
            spec.max_length,
            [layer for _, layer in pairs],
            *([augment, spec.seed] if augment else []),
        )
        collator = Collator(spec.task, voice.tokenizer.pad_token_id)
        kept = self._kept(voice, key, rows, Reading(pairs), collator)
        return cast("CachedTeacher", kept)

    def _rows(self, split: str, voice: _Voice) -> TicketRows:
        """Returns a split in a classifier's tokens, `train` with its changed texts."""
        spec, shards = self._session.spec, self._session.shards
        if split == "train":
            return read_train_rows(spec, shards, voice.tokenizer)
        rows = read_rows(shards, split, voice.tokenizer, spec.task, spec.max_length)
        return require_rows(rows, shards, split)

    def _kept_answers(self, pairs: Pairs) -> Teacher:
        """Returns a language model's outputs on the student's tokens."""
        weights, session = self._weights, self._session
        reading = Reading(pairs, weights.top_k, weights.temperature, self._vocabulary)
        tokens = [(row.ids, row.labels) for row in session.rows.rows]
        key = cache_key(
            content_digest(localise(session.spec.teacher)),
            hashlib.sha256(repr(tokens).encode()).hexdigest(),
            [layer for _, layer in pairs],
            weights.top_k,
            weights.temperature,
            None if self._vocabulary is None else self._vocabulary.tolist(),
        )
        return self._kept(self._voice(), key, session.rows, reading, session.collator)

    def _kept(
        self, voice: _Voice, key: str, rows: TicketRows, reading: Reading, collator: Collator
    ) -> Teacher:
        session = self._session
        kept = self._weights.cache
        folder = local_path(kept) if kept else session.folder / TEACHER_FOLDER
        what = f"{session.spec.what}: reading the {voice.name}"
        session.tell("start", what=what, total=len(rows))
        return read_teacher(
            voice.model,
            rows,
            reading,
            folder / f"{key}.safetensors",
            session.world,
            collator,
            lambda count: session.tell("advance", units=count),
        )


def _labels(rows: TicketRows) -> torch.Tensor:
    return torch.tensor([row.labels[0] for row in rows.rows])


def _check_pairs(pairs: Pairs, own: int, its: int) -> None:
    for student, teacher in pairs:
        if not (1 <= student <= own and 1 <= teacher <= its):
            raise InputError(
                f"layer pair ({student}, {teacher}) is outside of {own} and {its} layers"
            )
