"""Attention relations: how the tokens of a row relate to each other in a model's last layer.

MiniLM (Wang et al. 2020) teaches a student its teacher's self-attention; its second version (Wang
et al. 2021, section 3.2) the relations of queries with queries, keys with keys and values with
values. These are tokens x tokens whatever the models' widths and heads, so nothing is projected.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from components.training.models import backbone_layers
from kg_schema.errors import InputError

# Queries, keys and values below a layer, by family: BERT's, then the decoders'.
PROJECTIONS = (
    ("attention.self.query", "attention.self.key", "attention.self.value"),
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
)


def last_projections(model: Any) -> tuple[nn.Module, ...]:
    """Returns the last layer's three linears that make queries, keys and values.

    Raises:
        InputError: The model is of a family that has them somewhere else.
    """
    layer = backbone_layers(model)[-1]
    modules = dict(layer.named_modules())
    for names in PROJECTIONS:
        if all(name in modules for name in names):
            return tuple(modules[name] for name in names)
    raise InputError(
        f"no queries, keys and values in {type(model).__name__}", fix="use BERT, Llama or Qwen"
    )


@contextmanager
def watched(modules: Sequence[nn.Module]) -> Iterator[list[torch.Tensor]]:
    """Yields a list that holds the modules' outputs, in their order, after a forward pass."""
    seen: list[torch.Tensor] = [torch.empty(0)] * len(modules)

    def watch(at: int) -> Any:
        def keep(module: nn.Module, given: Any, output: torch.Tensor) -> None:
            seen[at] = output

        return keep

    handles = [module.register_forward_hook(watch(at)) for at, module in enumerate(modules)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def common_heads(widths: Sequence[int], wanted: int, most: int) -> int:
    """Returns into how many equal parts all widths are cut.

    Args:
        widths: Of the two models' queries, keys and values.
        wanted: As set; 0 takes the largest number up to `most` that divides them all.
        most: The teacher's attention heads.

    Raises:
        InputError: `wanted` does not divide a width.
    """
    if not wanted:
        shared = math.gcd(*widths)
        return max(heads for heads in range(1, most + 1) if shared % heads == 0)
    odd = [width for width in widths if width % wanted]
    if odd:
        raise InputError(
            f"relation_heads {wanted} does not divide a width of {odd[0]}",
            fix=f"use a divisor of {math.gcd(*widths)}, or 0",
        )
    return wanted


def relation_loss(
    student: Sequence[torch.Tensor],
    teacher: Sequence[torch.Tensor],
    mask: torch.Tensor,
    heads: int,
) -> torch.Tensor:
    """Returns KL(teacher || student) of the relations (nats).

    The mean over queries, keys and values, over heads, and over all real tokens of the batch. A
    decoder's relations look both ways too: they are what is compared, not what it reads.

    Args:
        student: Its projections' outputs, each [rows, tokens, width of its own].
        teacher: The teacher's, of the same tokens; no gradient flows into them.
        mask: [rows, tokens], 1 for real tokens.
        heads: Parts that each width is cut into.
    """
    real = mask.bool()
    losses = [
        functional.kl_div(
            _relations(own, real, heads),
            _relations(its, real, heads),
            reduction="none",
            log_target=True,
        )
        .sum(-1)
        .mean(1)[real]
        .mean()
        for own, its in zip(student, teacher, strict=True)
    ]
    return torch.stack(losses).mean()


def _relations(states: torch.Tensor, real: torch.Tensor, heads: int) -> torch.Tensor:
    """Returns log-probabilities [rows, heads, tokens, tokens]; none falls on padding."""
    rows, tokens, width = states.shape
    parts = states.float().view(rows, tokens, heads, width // heads).transpose(1, 2)
    scores = parts @ parts.transpose(-1, -2) / math.sqrt(width // heads)
    # Not -inf: 0 times it would be no number.
    nothing = torch.finfo(scores.dtype).min / 2
    return functional.log_softmax(scores.masked_fill(~real[:, None, None], nothing), dim=-1)
