"""What a model is trained to lessen: labels, a teacher's logits, a teacher's hidden states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn import functional

from components.training.data import IGNORED, Batch
from components.training.divergences import TopLogits, soft_loss, top_loss
from components.training.relations import relation_loss, watched
from components.training.spec import Distillation, Task


@dataclass(frozen=True)
class TeacherOutputs:
    """What the teacher said of one batch.

    Args:
        logits: [rows, classes], or [rows, tokens, vocabulary] for task `answer`, or what was kept
            of those at the target's tokens.
        hidden: [rows, pairs, 2, width]: of each compared layer the leading token and the mean;
            None where hidden states are not compared.
        projections: Queries, keys and values of the last layer, each [rows, tokens, width]; empty
            where attention relations are not compared.
    """

    logits: torch.Tensor | TopLogits
    hidden: torch.Tensor | None
    projections: Sequence[torch.Tensor] = ()


class Teacher(Protocol):
    """A teacher behind one face, whether it was read beforehand or runs along."""

    def __call__(self, batch: Batch) -> TeacherOutputs:
        """Returns its outputs for a batch."""
        ...


def hard_loss(logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Returns the mean cross-entropy over the positions that have a label; 0 where none has."""
    total = functional.cross_entropy(
        logits.float(), labels, ignore_index=IGNORED, label_smoothing=smoothing, reduction="sum"
    )
    return total / (labels != IGNORED).sum().clamp(min=1)


def hidden_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Returns the mean cosine distance, which no scale of either side moves.

    Args:
        student: [rows, pairs, 2, width], projected to the teacher's width.
        teacher: The same shape.
    """
    return (1 - functional.cosine_similarity(student.float(), teacher.float(), dim=-1)).mean()


def pool_hidden(hidden: torch.Tensor, mask: torch.Tensor, task: Task) -> torch.Tensor:
    """Returns the leading token's state and the mean over tokens, [rows, 2, width].

    The leading token is the first (an encoder's [CLS]) for task `intent`, and the last real one
    for `answer`, the only one that has seen the whole row.

    Args:
        hidden: [rows, tokens, width].
        mask: [rows, tokens], 1 for real tokens; padding is on the right.
        task: Which token leads.
    """
    weight = mask.unsqueeze(-1).to(hidden.dtype)
    mean = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)
    if task == "intent":
        leading = hidden[:, 0]
    else:
        last = mask.sum(1).clamp(min=1) - 1
        leading = hidden[torch.arange(len(hidden), device=hidden.device), last]
    return torch.stack([leading, mean], dim=1)


def scored_positions(
    logits: torch.Tensor, labels: torch.Tensor, task: Task
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns [positions, classes] and [positions]: rows, or the tokens of the targets."""
    if task == "intent":
        return logits, labels
    kept = labels[:, 1:] != IGNORED
    return logits[:, :-1][kept], labels[:, 1:][kept]


def spread_layers(student: int, teacher: int) -> tuple[tuple[int, int], ...]:
    """Returns pairs (student layer, teacher layer), 1-based, evenly spread and last on last."""
    return tuple((at, max(1, round(at * teacher / student))) for at in range(1, student + 1))


class HiddenProjection(nn.Module):
    """Carries the student's hidden states to the teacher's width; left behind after training.

    Args:
        pairs: (student layer, teacher layer), 1-based.
        width: The student's.
        teacher_width: The teacher's; equal widths are compared as they are.
    """

    def __init__(self, pairs: tuple[tuple[int, int], ...], width: int, teacher_width: int) -> None:
        super().__init__()
        self.pairs = pairs
        self.maps = nn.ModuleList(
            nn.Identity() if width == teacher_width else nn.Linear(width, teacher_width, bias=False)
            for _ in pairs
        )

    def forward(
        self, states: tuple[torch.Tensor, ...], mask: torch.Tensor, task: Task
    ) -> torch.Tensor:
        """Returns [rows, pairs, 2, teacher width] of hidden states as transformers gives them."""
        pooled = [
            change(pool_hidden(states[own], mask, task))
            for change, (own, _) in zip(self.maps, self.pairs, strict=True)
        ]
        return torch.stack(pooled, dim=1)


@dataclass(frozen=True)
class RelationTerm:
    """Where a student's attention relations come from.

    Args:
        modules: Its last layer's linears of queries, keys and values.
        heads: Parts that each width is cut into.
    """

    modules: Sequence[nn.Module]
    heads: int


class Objective:
    """The loss of one batch.

    Args:
        task: What the logits are of.
        smoothing: Label smoothing of the hard term.
        distillation: Weights of the terms; None learns from labels alone.
        teacher: Wanted with `distillation`.
        projection: Wanted where hidden states are compared.
        relations: Wanted where attention relations are compared.
    """

    def __init__(
        self,
        task: Task,
        smoothing: float,
        distillation: Distillation | None = None,
        teacher: Teacher | None = None,
        projection: HiddenProjection | None = None,
        relations: RelationTerm | None = None,
    ) -> None:
        self._task = task
        self._smoothing = smoothing
        self._distillation = distillation
        self._teacher = teacher
        self._projection = projection
        self._relations = relations

    def __call__(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Runs the model forward over a batch and returns its loss, a scalar."""
        with watched(self._relations.modules if self._relations else ()) as projections:
            outputs = model(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                output_hidden_states=self._projection is not None,
            )
        if self._distillation is None or self._teacher is None:
            logits, labels = scored_positions(outputs.logits, batch["labels"], self._task)
            return hard_loss(logits, labels, self._smoothing)
        said = self._teacher(batch)
        loss = self._spoken(outputs.logits, said, batch, self._distillation)
        hidden = self._hidden(outputs, projections, said, batch["attention_mask"])
        return loss if hidden is None else loss + self._distillation.hidden_weight * hidden

    def _spoken(
        self, every: torch.Tensor, said: TeacherOutputs, batch: Batch, weights: Distillation
    ) -> torch.Tensor:
        """Returns the terms of the logits."""
        logits, labels = scored_positions(every, batch["labels"], self._task)
        if isinstance(said.logits, TopLogits):
            soft = top_loss(logits, said.logits, weights.temperature, weights.divergence)
        else:
            wanted, _ = scored_positions(said.logits, batch["labels"], self._task)
            soft = soft_loss(logits, wanted, weights.temperature, weights.divergence)
        loss = weights.soft_weight * soft
        if weights.hard_weight:
            loss = loss + weights.hard_weight * hard_loss(logits, labels, self._smoothing)
        return loss

    def _hidden(
        self,
        outputs: Any,
        projections: Sequence[torch.Tensor],
        said: TeacherOutputs,
        mask: torch.Tensor,
    ) -> torch.Tensor | None:
        """Returns the term of what lies behind the logits; None where nothing is compared."""
        if self._relations is not None:
            return relation_loss(projections, said.projections, mask, self._relations.heads)
        if self._projection is None or said.hidden is None:
            return None
        own = self._projection(outputs.hidden_states, mask, self._task)
        return hidden_loss(own, said.hidden)
