"""What each part of a model is worth, by the gradients of its loss on labelled rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from components.slicing.families import Axis, Family, family_of
from components.slicing.scores import UNMEASURED, Batch, Scores, linear_layers
from components.slicing.slicer import Shape
from kg_schema.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Part = tuple[Axis, int | None]
"""What is cut, and in which layer; hidden dimensions are in none."""


def score_gradients(model: PreTrainedModel, batches: Iterable[Batch]) -> Scores:
    """Scores a model's parts by what the labelled loss would lose with them, to first order.

    Each part is given a gate of 1 on what the linear layers read of it. A row's loss changes with
    the gate by the sum over its tokens of activation x gradient; the score is the square of that,
    summed over the rows (Molchanov et al. 2019). A hidden dimension has one gate for all the
    layers that read it.

    Args:
        model: In evaluation mode, of a supported family.
        batches: As for `score_parts`, with labels.

    Raises:
        InputError: The family is not supported, or there is no label.
    """
    family, shape = family_of(model.config.model_type), Shape.of(model.config)
    read: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    hooks = [
        module.register_forward_hook(_keep(name, read))
        for name, module, _, _ in linear_layers(model, family)
    ]
    sums: dict[Part, torch.Tensor] = {}
    labelled = 0
    try:
        for batch in batches:
            loss, count = _labelled_loss(model, batch)
            labelled += count
            for part, gates in _gates(model, family, shape, loss, read).items():
                sums[part] = sums.get(part, 0.0) + gates.square().sum(0)
    finally:
        for hook in hooks:
            hook.remove()
    if not labelled:
        raise InputError(
            "no calibration row has a label, and score taylor needs them",
            fix="use score activation, or raise calibration_rows",
        )
    layers = range(shape.layers)
    return Scores(
        channels=torch.stack([sums["channels", layer] for layer in layers]),
        groups=torch.stack([sums["heads", layer] for layer in layers]),
        hidden=sums["hidden", None],
        influence=UNMEASURED,
    )


def _labelled_loss(model: PreTrainedModel, batch: Batch) -> tuple[torch.Tensor, int]:
    """Returns the summed cross-entropy, of classes or of next tokens, and how many are known."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    labels = batch["labels"]
    if labels.dim() == 2:
        logits, labels = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    return nn.functional.cross_entropy(logits, labels, reduction="sum"), int((labels >= 0).sum())


def _gates(
    model: PreTrainedModel,
    family: Family,
    shape: Shape,
    loss: torch.Tensor,
    read: Mapping[str, tuple[torch.Tensor, torch.Tensor]],
) -> dict[Part, torch.Tensor]:
    """Returns the slope of each row's loss by each part's gate, [rows, parts]."""
    slopes = torch.autograd.grad(loss, [made for _, made in read.values()], allow_unused=True)
    by_name = dict(zip(read, slopes, strict=True))
    gates: dict[Part, torch.Tensor] = {}
    for name, module, axes, layer in linear_layers(model, family):
        inputs, slope = read[name][0], by_name[name]
        axis = axes[1]
        if slope is None or axis is None:
            continue
        gate = (inputs * (slope @ module.weight.detach())).double()
        gate = gate.sum(1) if gate.dim() == 3 else gate
        if axis == "heads":
            gate = gate.view(len(gate), shape.groups, -1).sum(-1)
        part = (axis, None if axis == "hidden" else layer)
        gates[part] = gates.get(part, 0.0) + gate
    return gates


def _keep(name: str, read: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> Any:
    def keep(_module: nn.Module, inputs: tuple[torch.Tensor, ...], made: torch.Tensor) -> None:
        read[name] = (inputs[0].detach(), made)

    return keep
