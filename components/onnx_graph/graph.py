"""A model as an ONNX graph: token ids and mask in, logits out, any batch, any length."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kg_schema.errors import InputError

OPSET = 17
INPUTS = ("input_ids", "attention_mask")
OUTPUT = "logits"
LARGEST_BYTES = 2**31 - 2**20  # an ONNX file is one protocol buffer


class Logits(nn.Module):
    """A model that answers with its logits alone.

    Args:
        model: For sequence classification or causal language modelling.
        options: Keywords of its forward pass.
    """

    def __init__(self, model: nn.Module, options: dict[str, Any]) -> None:
        super().__init__()
        self.model = model
        self.options = options

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Returns [rows, classes], or [rows, tokens, vocabulary] of a language model."""
        outputs = self.model(input_ids=input_ids, attention_mask=attention_mask, **self.options)
        logits: torch.Tensor = outputs.logits
        return logits


def write_graph(model: Any, path: Path, *, per_token: bool) -> None:
    """Writes the model as an ONNX graph in fp32.

    Traced by the older exporter, whose graphs ONNX Runtime fuses and runs faster than those of
    the newer one. The sample has padding and two rows, so that neither is taken for a constant.

    Args:
        model: In evaluation mode on the CPU; its attention is switched to the plain one.
        path: Where the graph goes.
        per_token: The logits are one row a token.

    Raises:
        InputError: The model has an operation that ONNX lacks, or is too large for one file.
    """
    size = sum(each.numel() * each.element_size() for each in model.parameters())
    if size > LARGEST_BYTES:
        raise InputError(
            f"{size / 2**30:.1f} GB of weights, and an ONNX file holds 2",
            where=type(model).__name__,
            fix="prune it further, or serve its directory with vLLM",
        )
    if hasattr(model, "set_attn_implementation"):
        model.set_attn_implementation("eager")
    options = {"use_cache": False} if hasattr(model.config, "use_cache") else {}
    logits = Logits(model, options).eval()
    batch = {0: "batch", 1: "sequence"}
    dynamic = {name: batch for name in INPUTS}
    dynamic[OUTPUT] = batch if per_token else {0: "batch"}
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                logits,
                _sample(model.config),
                str(path),
                input_names=list(INPUTS),
                output_names=[OUTPUT],
                dynamic_axes=dynamic,
                opset_version=OPSET,
                dynamo=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise InputError(
            f"cannot be written as ONNX: {error}", where=type(model).__name__
        ) from error


def _sample(config: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns ids and mask, [2, 8], the second row padded from its sixth token on."""
    pad = config.pad_token_id or 0
    other = 1 if pad == 0 else 0
    ids = torch.full((2, 8), other, dtype=torch.long)
    mask = torch.ones_like(ids)
    ids[1, 5:] = pad
    mask[1, 5:] = 0
    return ids, mask
