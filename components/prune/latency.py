"""How fast models of several sizes are on this machine, as they would be served."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from components.model_dir import count_parameters
from components.onnx_graph.graph import INPUTS, OUTPUT, write_graph
from components.onnx_graph.lean import lean_classifier
from components.onnx_graph.quantise import RECIPES, quantise_graph
from components.scoring.latency import interleaved_latency
from components.slicing.families import family_of
from components.slicing.planning import Counts, keep_first
from components.slicing.slicer import Plan, Shape, sliced_config
from kg_schema.progress import Progress
from serving.runtime import open_session

if TYPE_CHECKING:
    from transformers import PreTrainedModel

REPEATS = 40
PRECISION = "int8"


def time_sizes(
    model: PreTrainedModel,
    sizes: Sequence[Counts],
    vocabulary: Sequence[int],
    tokens: int,
    *,
    per_token: bool,
) -> list[dict[str, Any]]:
    """Times models of several sizes, each in turns with the whole one.

    They are made with random weights, which cost the same time as trained ones, and written as
    graphs in 8 bits by the first of export's recipes, as what passes export's gate is served. fp32
    would promise too much: half the layers, channels and width of a 6-layer encoder ran 6.6 times
    as fast in fp32 and 5.1 times in int8, half the width alone 2.2 and 1.8 times.

    Args:
        model: The whole one; it is left as it is.
        sizes: What the others have left.
        vocabulary: Tokens that they have left.
        tokens: Length of the row they read.
        per_token: Their logits are one row a token.

    Returns:
        A row a size: its counts, `parameters`, median processor milliseconds `ms`, those of the
        whole model taken in turns with it `whole_ms`, and `speedup`.

    Raises:
        InputError: A model cannot be written as a graph.
    """
    ids = torch.zeros((1, tokens), dtype=torch.long)
    feed = dict(zip(INPUTS, (ids.numpy(), torch.ones_like(ids).numpy()), strict=True))
    rows = []
    with tempfile.TemporaryDirectory(prefix="deskgraph-sizes-") as folder:
        whole = _caller(_made(model, Plan.whole(Shape.of(model.config))), folder, per_token, feed)
        for counts in _watched(sizes):
            smaller = _made(model, keep_first(counts, vocabulary))
            calls = {"whole": whole, "cut": _caller(smaller, folder, per_token, feed)}
            timed = interleaved_latency(calls, [""], REPEATS)
            ms = {name: each.cpu_median_ms for name, each in timed.items()}
            rows.append(
                {
                    **asdict(counts),
                    "parameters": count_parameters(smaller)["total"],
                    "ms": ms["cut"],
                    "whole_ms": ms["whole"],
                    "speedup": round(ms["whole"] / ms["cut"], 3),
                }
            )
    return rows


def _watched(sizes: Sequence[Counts]) -> Iterator[Counts]:
    with Progress(len(sizes), "time sizes", "sizes") as progress:
        for counts in sizes:
            yield counts
            progress.advance()


def _made(model: PreTrainedModel, plan: Plan) -> Any:
    """Returns a model of the size that a plan leaves, with random weights."""
    config = sliced_config(model.config, plan, family_of(model.config.model_type))
    made: Any = type(model)
    return made(config).eval()


def _caller(
    model: Any, folder: str, per_token: bool, feed: dict[str, Any]
) -> Callable[[str], object]:
    """Returns what runs the model's graph once; the next graph takes its files' places."""
    plain, small = Path(folder) / "fp32.onnx", Path(folder) / f"{PRECISION}.onnx"
    write_graph(lean_classifier(model), plain, per_token=per_token)
    quantise_graph(plain, small, RECIPES[0], lookups=per_token)
    session = open_session(small)
    return lambda _text: session.run([OUTPUT], feed)
