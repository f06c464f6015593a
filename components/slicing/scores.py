"""What each part of a model is worth, by what activations and weights tell.

A dimension that a linear layer reads is worth the energy it brings, times the energy of the
weights that read it: E[x_j^2] * sum_i W_ij^2 (the score of Wanda, Sun et al. 2023, summed over a
column). Channels, heads and hidden dimensions are all scored by this one rule, because a family's
table says which of them each linear layer reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from components.slicing.families import Axes, Family, family_of
from components.slicing.slicer import Shape

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Batch = Mapping[str, torch.Tensor]
UNMEASURED = torch.empty(0, dtype=torch.float64)
"""The influence of layers that nobody looked at."""


@dataclass(frozen=True)
class Scores:
    """Worth of every part; the higher, the rather it is kept. All on the CPU, fp64.

    Args:
        channels: [layers, channels].
        groups: [layers, key-value groups].
        hidden: [hidden width]; each linear layer's shares, summed over those that read it.
        influence: [layers]; 1 - cosine between a layer's input and output, mean over tokens. Empty
            where it was not measured.
    """

    channels: torch.Tensor
    groups: torch.Tensor
    hidden: torch.Tensor
    influence: torch.Tensor


@dataclass
class _Meter:
    """Sums over the tokens of all batches: squared inputs of linear layers, turns of layers."""

    squares: dict[str, torch.Tensor] = field(default_factory=dict)
    turns: dict[int, float] = field(default_factory=dict)
    tokens: int = 0
    mask: torch.Tensor = field(default_factory=lambda: torch.empty(0))

    def read_linear(self, name: str, inputs: torch.Tensor) -> None:
        """Adds the squares of a linear layer's input, padding left out."""
        square = inputs.detach().double().square()
        if square.dim() == 3:
            square = square * self.mask[..., None]
        total = square.flatten(0, -2).sum(0)
        self.squares[name] = self.squares.get(name, 0.0) + total

    def read_layer(self, layer: int, inputs: torch.Tensor, outputs: torch.Tensor) -> None:
        """Adds how far a layer turned each token."""
        turn = 1 - nn.functional.cosine_similarity(inputs.double(), outputs.double(), dim=-1)
        self.turns[layer] = self.turns.get(layer, 0.0) + float((turn * self.mask).sum())

    @property
    def influence(self) -> torch.Tensor:
        """How far each layer turns a token, [layers]."""
        turns = [self.turns[layer] / max(self.tokens, 1) for layer in sorted(self.turns)]
        return torch.tensor(turns, dtype=torch.float64)


def score_model(model: PreTrainedModel, batches: Iterable[Batch]) -> Scores:
    """Runs the batches through the model and scores its parts by activation and weight.

    Args:
        model: In evaluation mode, of a supported family.
        batches: `input_ids` and `attention_mask`, [rows, tokens].

    Raises:
        InputError: The family is not supported.
    """
    family = family_of(model.config.model_type)
    shape = Shape.of(model.config)
    meter = _Meter()
    hooks = _attach(model, meter, shape.layers)
    try:
        with torch.no_grad():
            for batch in batches:
                meter.mask = batch["attention_mask"].double()
                meter.tokens += int(batch["attention_mask"].sum())
                model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    finally:
        for hook in hooks:
            hook.remove()
    return replace(_combine(model, family, shape, meter.squares), influence=meter.influence)


def weigh_model(model: PreTrainedModel) -> Scores:
    """Scores a model's parts by their weights alone, as if all hidden dimensions were alike.

    A channel's input is taken for as large as the weights that make it. How far the layers turn
    their input no weight tells: their influence is left empty.

    Raises:
        InputError: The family is not supported.
    """
    family, shape = family_of(model.config.model_type), Shape.of(model.config)
    made = torch.ones(shape.layers, shape.channels, dtype=torch.float64)
    for _, module, axes, layer in linear_layers(model, family):
        if axes[0] == "channels" and layer is not None:
            made[layer] *= module.weight.detach().double().square().sum(1)
    squares = {}
    for name, module, axes, layer in linear_layers(model, family):
        alike = torch.ones(module.in_features, dtype=torch.float64)
        squares[name] = made[layer] if axes[1] == "channels" and layer is not None else alike
    return _combine(model, family, shape, squares)


def linear_layers(
    model: PreTrainedModel, family: Family
) -> Iterator[tuple[str, nn.Linear, Axes, int | None]]:
    """Yields every linear layer's name, module, axes of its weight, and layer."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            _, axes, layer = family.locate(f"{name}.weight", model.base_model_prefix)
            yield name, module, axes, layer


def _attach(model: PreTrainedModel, meter: _Meter, layers: int) -> list[Any]:
    hooks: list[Any] = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            hooks.append(module.register_forward_pre_hook(_linear_hook(name, meter)))
    stack = next(
        module
        for module in model.base_model.modules()
        if isinstance(module, nn.ModuleList) and len(module) == layers
    )
    for index, layer in enumerate(stack):
        hooks.append(layer.register_forward_hook(_layer_hook(index, meter), with_kwargs=True))
    return hooks


def _linear_hook(name: str, meter: _Meter) -> Any:
    def read(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        meter.read_linear(name, inputs[0])

    return read


def _layer_hook(index: int, meter: _Meter) -> Any:
    def read(_module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], out: Any) -> None:
        before = inputs[0] if inputs else named["hidden_states"]
        meter.read_layer(index, before, out if isinstance(out, torch.Tensor) else out[0])

    return read


def _combine(
    model: PreTrainedModel, family: Family, shape: Shape, squares: Mapping[str, torch.Tensor]
) -> Scores:
    channels = torch.zeros(shape.layers, shape.channels, dtype=torch.float64)
    groups = torch.zeros(shape.layers, shape.groups, dtype=torch.float64)
    hidden = torch.zeros(shape.hidden, dtype=torch.float64)
    for name, module, axes, layer in linear_layers(model, family):
        worth = squares[name] * module.weight.detach().double().square().sum(0)
        if axes[1] == "hidden":
            hidden += worth / worth.sum().clamp_min(torch.finfo(torch.float64).tiny)
        elif axes[1] == "channels" and layer is not None:
            channels[layer] = worth
        elif axes[1] == "heads" and layer is not None:
            groups[layer] = worth.view(shape.groups, -1).sum(1)
    return Scores(channels, groups, hidden, UNMEASURED)
