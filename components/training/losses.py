"""What a model is trained to lessen: labels, a teacher's logits, a teacher's hidden states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn import functional

from components.training.data import IGNORED, Batch
from components.training.divergences import soft_loss
from components.training.spec import Distillation, Task


@dataclass(frozen=True)
class TeacherOutputs:
    """What the teacher said of one batch.

    Args:
        logits: [rows, classes], or [rows, tokens, vocabulary] for task `answer`.
        hidden: [rows, pairs, 2, width]: of each compared layer the leading token and the mean;
            None where hidden states are not compared.
    """

    logits: torch.Tensor
    hidden: torch.Tensor | None


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


class Objective:
    """The loss of one batch.

    Args:
        task: What the logits are of.
        smoothing: Label smoothing of the hard term.
        distillation: Weights of the terms; None learns from labels alone.
        teacher: Wanted with `distillation`.
        projection: Wanted where hidden states are compared.
    """

    def __init__(
        self,
        task: Task,
        smoothing: float,
        distillation: Distillation | None = None,
        teacher: Teacher | None = None,
        projection: HiddenProjection | None = None,
    ) -> None:
        self._task = task
        self._smoothing = smoothing
        self._distillation = distillation
        self._teacher = teacher
        self._projection = projection

    def __call__(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Runs the model forward over a batch and returns its loss, a scalar."""
        outputs = model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            output_hidden_states=self._projection is not None,
        )
        logits, labels = self._positions(outputs.logits, batch)
        if self._distillation is None or self._teacher is None:
            return hard_loss(logits, labels, self._smoothing)
        return self._distilled(outputs, logits, labels, batch, self._distillation, self._teacher)

    def _distilled(
        self,
        outputs: Any,
        logits: torch.Tensor,
        labels: torch.Tensor,
        batch: Batch,
        weights: Distillation,
        teacher: Teacher,
    ) -> torch.Tensor:
        said = teacher(batch)
        wanted, _ = self._positions(said.logits, batch)
        soft = soft_loss(logits, wanted, weights.temperature, weights.divergence)
        loss = weights.soft_weight * soft
        if weights.hard_weight:
            loss = loss + weights.hard_weight * hard_loss(logits, labels, self._smoothing)
        if self._projection is not None and said.hidden is not None:
            own = self._projection(outputs.hidden_states, batch["attention_mask"], self._task)
            loss = loss + weights.hidden_weight * hidden_loss(own, said.hidden)
        return loss

    def _positions(self, logits: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns [positions, classes] and [positions]: rows, or the tokens of the targets."""
        if self._task == "intent":
            return logits, batch["labels"]
        labels = batch["labels"][:, 1:]
        kept = labels != IGNORED
        return logits[:, :-1][kept], labels[kept]
