"""8-bit weights; activations are quantised as they come, or left alone (`keep_in_8_bits`).

Two ways to quantise those: one scale a tensor of activations, the fastest, for a smoothed graph;
and one scale a block of a row, which follows fp32 more closely, needs no smoothing and costs most
of the gain (a 3-layer encoder: fp32 3.1 ms, by blocks 2.8, by tensors 1.7). Embeddings are looked
up, not multiplied: quantising them saves memory alone, costs a small encoder 2% more time, and is
half of what its logits are then off by. So only large tables are, those of language models.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

MATRIX_OPS = ("MatMul", "Gemm", "Attention")
LOOKUP_OPS = ("Gather",)
MATRIX_AXES = 2
DOMAIN = "com.microsoft"  # ONNX Runtime's own operators
BITS, ZERO = 8, 128
INTEGER_PRODUCTS = 4  # ONNX Runtime's accuracy level that multiplies in int8


@dataclass(frozen=True)
class Recipe:
    """One way to quantise.

    Args:
        name: As reported.
        smooth: Of a smoothed graph, which costs a small encoder 10% more time.
        head: The last matrix product, which makes the logits, too.
        block: Inputs that share a scale, in weights and in each row of activations; 0 gives the
            whole tensor of activations one scale, and weights one an output. An `Attention` node
            stays in fp32.
    """

    name: str
    smooth: bool = True
    head: bool = True
    block: int = 0


RECIPES = (
    Recipe("int8 as it is", smooth=False),
    Recipe("int8"),
    Recipe("int8 without head", head=False),
    Recipe("int8 by blocks", smooth=False, block=64),
)
"""The fastest first."""


def quantise_graph(source: Path, target: Path, recipe: Recipe, *, lookups: bool) -> None:
    """Writes an fp32 graph with 8-bit weights.

    Args:
        source: The graph, of a smoothed model if the recipe says so.
        target: Where the new one goes.
        recipe: How.
        lookups: Embeddings too; not by blocks.
    """
    if recipe.block:
        onnx.save(by_blocks(onnx.load(str(source)), recipe.block), str(target))
        return
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # its advice to run shape inference first does not apply here
    try:
        quantize_dynamic(
            str(source),
            str(target),
            op_types_to_quantize=[*MATRIX_OPS, *(LOOKUP_OPS if lookups else ())],
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_excluded(source, recipe),
        )
    finally:
        root.setLevel(level)


def keep_in_8_bits(source: Path, target: Path) -> None:
    """Writes an fp32 graph whose matrices lie on disk in 8 bits, one scale an output or a token.

    ONNX Runtime makes them fp32 again when it loads the graph, and computes as before: a quarter
    of the file, no time gained or lost, and no row's result depends on its batch.
    """
    model = onnx.load(str(source))
    graph = model.graph
    looked_up = {node.input[0] for node in graph.node if node.op_type in LOOKUP_OPS}
    expanded: list[onnx.NodeProto] = []
    for tensor in list(graph.initializer):
        if len(tensor.dims) != MATRIX_AXES or tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        weight, name = numpy_helper.to_array(tensor), tensor.name
        scale = np.abs(weight).max(int(name in looked_up), keepdims=True) / (ZERO - 1)
        scale[scale == 0] = 1
        graph.initializer.remove(tensor)
        values = numpy_helper.from_array(np.rint(weight / scale).astype(np.int8), f"{name}.values")
        scales = numpy_helper.from_array(scale.astype(np.float32), f"{name}.scales")
        graph.initializer.extend([values, scales])
        wide = f"{name}.wide"
        expanded += [
            helper.make_node("Cast", [values.name], [wide], to=onnx.TensorProto.FLOAT),
            helper.make_node("Mul", [wide, scales.name], [name]),
        ]
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*expanded, *nodes])
    onnx.save(model, str(target))


def by_blocks(model: onnx.ModelProto, block: int) -> onnx.ModelProto:
    """Returns the model with its matrix products by constant weights in 8 bits, block by block.

    Args:
        model: An fp32 graph; changed.
        block: Inputs that share a scale, a power of 2 of at least 16.
    """
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        weight = weights.get(node.input[1]) if node.op_type == "MatMul" else None
        if weight is None or len(weight.dims) != 2:
            continue
        inputs, outputs = weight.dims
        values, scales = _packed(numpy_helper.to_array(weight), block)
        names = [f"{node.name}.{part}" for part in ("values", "scales")]
        graph.initializer.extend(
            numpy_helper.from_array(array, name)
            for array, name in zip((values, scales), names, strict=True)
        )
        node.CopyFrom(
            helper.make_node(
                "MatMulNBits",
                [node.input[0], *names],
                list(node.output),
                name=node.name,
                domain=DOMAIN,
                K=inputs,
                N=outputs,
                bits=BITS,
                block_size=block,
                accuracy_level=INTEGER_PRODUCTS,
            )
        )
    used = Counter(name for node in graph.node for name in node.input)
    kept = [tensor for tensor in graph.initializer if used[tensor.name]]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    return model


def _packed(weight: np.ndarray[Any, Any], block: int) -> tuple[Any, Any]:
    """Returns weights [inputs, outputs] as bytes [outputs, blocks, block] and their scales."""
    inputs, outputs = weight.shape
    padded = np.zeros((outputs, -(-inputs // block) * block), dtype=np.float32)
    padded[:, :inputs] = weight.T
    blocks = padded.reshape(outputs, -1, block)
    scales = np.abs(blocks).max(-1) / (ZERO - 1)
    steps = np.where(scales > 0, scales, 1.0)[..., None]
    values = np.rint(blocks / steps) + ZERO
    return values.astype(np.uint8), scales.astype(np.float32)


def _excluded(source: Path, recipe: Recipe) -> list[str]:
    """Returns the matrix products that stay in fp32.

    Those whose weights differ by attention head are too small to gain; without `head`, the last
    product with a weight of its own makes the logits and stays too.
    """
    graph = onnx.load(str(source)).graph
    axes = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    products = {
        node.name: max(axes.get(name, 0) for name in node.input)
        for node in graph.node
        if node.op_type in MATRIX_OPS
    }
    by_head = [name for name, most in products.items() if most > 2]
    return by_head if recipe.head else [*by_head, *[n for n, most in products.items() if most][-1:]]
