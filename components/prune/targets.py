"""How far to cut, where a target is given in place of a size.

The shares of the settings are the least that may be left. Between them and the whole model all
shares shrink together, in a straight line; the first size on that line that reaches the target is
taken.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.prune.latency import PRECISION, time_sizes
from components.prune.settings import PruneSettings
from components.scoring.latency import machine
from components.slicing.planning import Counts, count_left, count_parts
from components.slicing.slicer import Shape
from kg_schema.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CUT_STEPS = 100
TIMED_STEPS = 8

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Aim:
    """How far to cut.

    Args:
        depth: 0 is the whole model, 1 the shares of the settings.
        told: What compression.json says of it; empty without a target.
    """

    depth: float
    told: dict[str, Any]


def take_aim(model: PreTrainedModel, vocabulary: Sequence[int], settings: PruneSettings) -> Aim:
    """Finds the largest size that reaches the target of the settings, if they have one.

    Args:
        model: The teacher.
        vocabulary: Tokens that are kept.
        settings: The pruning's.

    Raises:
        InputError: Not even the settings' own shares reach the target.
    """
    if settings.target_cut:
        return _aim_at_cut(model, vocabulary, settings)
    if settings.target_speedup:
        return _aim_at_speedup(model, vocabulary, settings)
    return Aim(1.0, {})


def _aim_at_cut(model: PreTrainedModel, vocabulary: Sequence[int], settings: PruneSettings) -> Aim:
    total = sum(each.numel() for each in model.parameters())
    gone = 0.0
    for counts, depth in _sizes(model, settings, CUT_STEPS).items():
        gone = 1 - count_left(model, counts, len(vocabulary)) / total
        if gone >= settings.target_cut:
            logger.info("size: %s, %.1f%% of the parameters go", counts, 100 * gone)
            return Aim(depth, {"target": {"cut": settings.target_cut, "depth": depth}})
    raise InputError(
        f"the smallest size is without {gone:.1%} of the parameters",
        where=f"target_cut {settings.target_cut}",
        fix="lower the target, or the shares that may be left",
    )


def _aim_at_speedup(
    model: PreTrainedModel, vocabulary: Sequence[int], settings: PruneSettings
) -> Aim:
    sizes = _sizes(model, settings, TIMED_STEPS)
    tokens, positions = settings.latency_tokens, min(each.positions for each in sizes)
    if positions and tokens > positions:
        raise InputError(
            f"latency_tokens is {tokens}, and {positions} positions are kept",
            fix="time a shorter row",
        )
    table = time_sizes(model, list(sizes), vocabulary, tokens, per_token=settings.task == "answer")
    for (counts, depth), row in zip(sizes.items(), table, strict=True):
        if row["speedup"] >= settings.target_speedup:
            logger.info("size: %s, %.2f times as fast", counts, row["speedup"])
            target = {"speedup": settings.target_speedup, "depth": depth}
            conditions = {"tokens": tokens, "precision": PRECISION, **machine()}
            return Aim(
                depth,
                {"target": target, "latency_table": table, "latency_conditions": conditions},
            )
    raise InputError(
        f"the smallest size is {table[-1]['speedup']:.2f} times as fast as the whole model",
        where=f"target_speedup {settings.target_speedup}",
        fix="lower the target, or the shares that may be left",
    )


def _sizes(model: PreTrainedModel, settings: PruneSettings, steps: int) -> dict[Counts, float]:
    """Returns the sizes from the whole model to the least, each with its depth; none twice."""
    kind, shape = model.config.model_type, Shape.of(model.config)
    sizes: dict[Counts, float] = {}
    for step in range(steps + 1):
        counts = count_parts(kind, shape, settings.size.part_way(step / steps))
        sizes.setdefault(counts, step / steps)
    return sizes
