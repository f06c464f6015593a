"""Cutting a smaller student from its teacher: fewer layers, narrower feed-forward blocks.

Every layer keeps equally many channels (only uniform widths load again without code of ours) and
chooses its own: those whose weights in and out are largest.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from components.training.losses import spread_layers
from components.training.models import backbone_layers
from kg_schema.errors import InputError


@dataclass(frozen=True)
class FeedForward:
    """Where a family's feed-forward block is, below one layer.

    Args:
        inward: Linears from the hidden width to the channels.
        outward: The linear back.
    """

    inward: tuple[str, ...]
    outward: str


_GATED = FeedForward(("mlp.gate_proj", "mlp.up_proj"), "mlp.down_proj")
FAMILIES: Mapping[str, FeedForward] = {
    "bert": FeedForward(("intermediate.dense",), "output.dense"),
    "llama": _GATED,
    "qwen2": _GATED,
    "qwen3": _GATED,
}


@dataclass(frozen=True)
class Cut:
    """What a student has of its teacher.

    Args:
        layers: Kept layers, 0-based.
        channels: Kept channels of each kept layer.
    """

    layers: tuple[int, ...]
    channels: tuple[tuple[int, ...], ...]


def cut_student(teacher: Any, *, layers: int, channels: int) -> tuple[Any, Cut]:
    """Returns a copy of the teacher with fewer layers and channels, and what was kept.

    Args:
        teacher: A model of a family in `FAMILIES`.
        layers: Layers to keep, spread evenly over the teacher's, its last one among them.
        channels: Feed-forward channels to keep in each.

    Raises:
        InputError: The family is unknown, or more is to be kept than there is.
    """
    family = FAMILIES.get(teacher.config.model_type)
    if family is None:
        raise InputError(
            f"cannot cut a model of type {teacher.config.model_type!r}",
            fix=f"use one of {', '.join(FAMILIES)}, or give a student",
        )
    own, width = teacher.config.num_hidden_layers, teacher.config.intermediate_size
    if not (1 <= layers <= own and 1 <= channels <= width):
        raise InputError(f"a student of {layers} layers and {channels} channels of {own}, {width}")
    student = copy.deepcopy(teacher)
    kept = tuple(last - 1 for _, last in spread_layers(layers, own))
    _keep_layers(student, kept)
    chosen = tuple(_narrow(layer, family, channels) for layer in backbone_layers(student))
    student.config.intermediate_size = channels
    return student, Cut(kept, chosen)


def _keep_layers(student: Any, kept: tuple[int, ...]) -> None:
    every = backbone_layers(student)
    stay: list[Any] = [every[at] for at in kept]
    del every[len(stay) :]
    for at, layer in enumerate(stay):
        every[at] = layer
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = at
    student.config.num_hidden_layers = len(kept)
    if getattr(student.config, "layer_types", None):
        student.config.layer_types = [student.config.layer_types[at] for at in kept]


def _narrow(layer: Any, family: FeedForward, channels: int) -> tuple[int, ...]:
    inward: list[nn.Linear] = [layer.get_submodule(name) for name in family.inward]
    outward: nn.Linear = layer.get_submodule(family.outward)
    score = outward.weight.detach().norm(dim=0)
    for linear in inward:
        score = score * linear.weight.detach().norm(dim=1)
    chosen = score.topk(channels).indices.sort().values
    for linear in inward:
        _take(linear, chosen, dim=0)
        linear.out_features = channels
    _take(outward, chosen, dim=1)
    outward.in_features = channels
    return tuple(chosen.tolist())


def _take(linear: nn.Linear, chosen: torch.Tensor, dim: int) -> None:
    linear.weight = nn.Parameter(linear.weight.detach().index_select(dim, chosen))
    if dim == 0 and linear.bias is not None:
        linear.bias = nn.Parameter(linear.bias.detach()[chosen])
