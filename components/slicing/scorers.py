"""The ways to score a model's parts, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import torch

from components.slicing.gradients import score_gradients
from components.slicing.scores import UNMEASURED, Batch, Scores, score_model, weigh_model
from components.slicing.slicer import Shape

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ScoreKind = Literal["activation", "taylor", "magnitude", "random"]


def score_parts(
    model: PreTrainedModel, batches: Iterable[Batch], kind: ScoreKind, seed: int = 0
) -> Scores:
    """Scores a model's parts in one of four ways; layers by their influence in all of them.

    Args:
        model: In evaluation mode, of a supported family.
        batches: `input_ids` and `attention_mask` [rows, tokens], and for `taylor` `labels`, [rows]
            of a classifier and [rows, tokens] of a language model. Read more than once.
        kind: One of `SCORERS`.
        seed: Of `random`.

    Raises:
        InputError: The family is not supported, or `taylor` finds no label.
    """
    measured = score_model(model, batches)
    return replace(SCORERS[kind](model, batches, measured, seed), influence=measured.influence)


def draw_scores(model: PreTrainedModel, seed: int) -> Scores:
    """Draws scores from a seed: what any other way of scoring must beat."""
    shape, generator = Shape.of(model.config), torch.Generator().manual_seed(seed)

    def draw(*size: int) -> torch.Tensor:
        return torch.rand(size, generator=generator, dtype=torch.float64)

    return Scores(
        channels=draw(shape.layers, shape.channels),
        groups=draw(shape.layers, shape.groups),
        hidden=draw(shape.hidden),
        influence=UNMEASURED,
    )


SCORERS: Mapping[ScoreKind, Callable[[Any, Iterable[Batch], Scores, int], Scores]] = {
    "activation": lambda _model, _batches, measured, _seed: measured,
    "taylor": lambda model, batches, _measured, _seed: score_gradients(model, batches),
    "magnitude": lambda model, _batches, _measured, _seed: weigh_model(model),
    "random": lambda model, _batches, _measured, seed: draw_scores(model, seed),
}
"""Ways to score, given a model, batches, what activations say of it, and a seed."""
