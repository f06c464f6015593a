"""Moves the peaks of activations into the weights before both are quantised.

An int8 product has one scale for all of a layer's inputs, and a few hidden dimensions with large
values take all of its steps. Dividing each input dimension by s_j and multiplying the weights that
read it by s_j says the same in fp32, and leaves inputs that 8 bits can tell apart: SmoothQuant
(Xiao et al. 2023), s_j = max|x_j|^a / max|w_j|^(1 - a). With weights in one scale a channel the
inputs are what is hard, hence a large a; measured on a fine-tuned 6-layer encoder with 77 classes,
agreement with torch was 99.1% without it, 98.9% at a = 0.5, 99.8% at 0.75 and 99.7% at 0.85,
for 2% more time.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from components.onnx_graph.graph import INPUTS
from components.onnx_graph.lean import Joined

STRENGTH = 0.8
LEAST = 1e-5  # peaks and weights below count as this; dead dimensions stay finite

Batch = Mapping[str, torch.Tensor]


class SmoothedLinear(nn.Module):
    """A linear layer that divides its inputs, and whose weights make up for it.

    Args:
        linear: The layer as it was; left alone.
        scale: [inputs], above 0.
        inverse: 1 / scale; one tensor for all layers that read the same input, so that the
            graph divides once.
    """

    def __init__(self, linear: nn.Linear, scale: torch.Tensor, inverse: nn.Parameter) -> None:
        super().__init__()
        self.weight = nn.Parameter(linear.weight.detach() * scale)
        self.bias = linear.bias
        self.inverse = inverse

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Returns what the layer it stands for returns."""
        return functional.linear(inputs * self.inverse, self.weight, self.bias)


@dataclass
class _Peaks:
    """Largest absolute inputs of every linear layer, and which layers read the same tensor."""

    largest: dict[str, torch.Tensor] = field(default_factory=dict)
    readers: list[tuple[torch.Tensor, list[str]]] = field(default_factory=list)
    mask: torch.Tensor = field(default_factory=lambda: torch.empty(0))

    def read(self, name: str, inputs: torch.Tensor) -> None:
        """Takes the input of one layer in, padding left out."""
        size = inputs.detach().abs()
        if size.dim() == 3:
            size = size * self.mask[..., None]
        peak = size.flatten(0, -2).amax(0)
        if name in self.largest:
            self.largest[name] = torch.maximum(self.largest[name], peak)
            return
        self.largest[name] = peak
        for tensor, names in self.readers:
            if tensor is inputs:
                names.append(name)
                return
        self.readers.append((inputs, [name]))


def smooth_model(model: Any, batches: Iterable[Batch]) -> Any:
    """Returns a copy of the model that says the same and is easier to quantise.

    Args:
        model: In evaluation mode on the CPU. Its language-model head, if any, stays as it is: it
            may share its weights with the embeddings.
        batches: `input_ids` and `attention_mask`, [rows, tokens], to measure the peaks on.
    """
    smooth = copy.deepcopy(model)
    head = smooth.get_output_embeddings()
    layers = {
        name: module
        for name, module in smooth.named_modules()
        if isinstance(module, nn.Linear) and module is not head
    }
    peaks = _measure(smooth, layers, batches)
    for _, names in peaks.readers:
        weights = torch.stack([layers[name].weight.detach().abs().amax(0) for name in names])
        scale = _scale(peaks.largest[names[0]], weights.amax(0))
        inverse = nn.Parameter(1 / scale)
        for name in names:
            layer = layers[name]
            made = (
                layer.smoothed(scale, inverse)
                if isinstance(layer, Joined)
                else SmoothedLinear(layer, scale, inverse)
            )
            smooth.set_submodule(name, made)
    return smooth.eval()


def _scale(peak: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return peak.clamp_min(LEAST) ** STRENGTH / weight.clamp_min(LEAST) ** (1 - STRENGTH)


def _measure(model: Any, layers: Mapping[str, nn.Linear], batches: Iterable[Batch]) -> _Peaks:
    peaks = _Peaks()

    def hook(name: str) -> Any:
        return lambda _module, inputs: peaks.read(name, inputs[0])

    hooks = [module.register_forward_pre_hook(hook(name)) for name, module in layers.items()]
    try:
        with torch.no_grad():
            for batch in batches:
                peaks.mask = batch["attention_mask"].to(model.dtype)
                model(**{name: batch[name] for name in INPUTS})
    finally:
        for each in hooks:
            each.remove()
    return peaks
