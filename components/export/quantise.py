"""Dynamic int8: weights stored as int8, activations quantised as they come.

Recipes go from the smallest and fastest to the most careful. Embeddings are looked up, not
multiplied: quantising them saves memory and no time.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

MATRIX_OPS = ("MatMul", "Gemm")
LOOKUP_OPS = ("Gather",)


@dataclass(frozen=True)
class Recipe:
    """One way to quantise.

    Args:
        name: As reported.
        lookups: Embeddings too.
        head: The last matrix product, which makes the logits, too.
        reduce_range: Weights to 7 bits, for processors whose 8-bit products saturate (AVX2 and
            AVX-512 without VNNI).
    """

    name: str
    lookups: bool = True
    head: bool = True
    reduce_range: bool = False


RECIPES = (
    Recipe("int8"),
    Recipe("int8 without head", head=False),
    Recipe("int8 without head and embeddings", head=False, lookups=False),
    Recipe("7 bit without head and embeddings", head=False, lookups=False, reduce_range=True),
)


def quantise_graph(source: Path, target: Path, recipe: Recipe) -> None:
    """Writes an fp32 graph with int8 weights, one scale a channel."""
    left_out = [] if recipe.head else [_head(source)]
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # its advice to run shape inference first does not apply here
    try:
        quantize_dynamic(
            str(source),
            str(target),
            op_types_to_quantize=[*MATRIX_OPS, *(LOOKUP_OPS if recipe.lookups else ())],
            per_channel=True,
            reduce_range=recipe.reduce_range,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[name for name in left_out if name],
        )
    finally:
        root.setLevel(level)


def _head(source: Path) -> str:
    """Returns the name of the last matrix product with a weight of its own; empty for none."""
    graph = onnx.load(str(source)).graph
    weights = {tensor.name for tensor in graph.initializer}
    products = [
        node.name
        for node in graph.node
        if node.op_type in MATRIX_OPS and any(name in weights for name in node.input)
    ]
    return products[-1] if products else ""
