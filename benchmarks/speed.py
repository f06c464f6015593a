"""How fast the models of the compression table are: teacher and students, as served and in torch.

Every arm takes texts and ends with logits, tokenization included; all arms of a shape run in
turns on one thread of one process, so that a busy machine is fair to all. In its turn an arm runs
once untimed and once timed: a model is served alone, and finds in the processor's caches what its
own last call left there, not what another model's did.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.model_dir import load_model, read_model_manifest
from components.scoring.served import open_served
from components.training.spec import Task
from serving.intent import IntentModel

Arm = Callable[[list[str]], object]
Shape = tuple[int, str]

TOKENS = 32
EXACT, OWN = f"{TOKENS} tokens", "own lengths"
SHAPES: tuple[Shape, ...] = ((1, EXACT), (1, OWN), (16, EXACT), (16, OWN))
MAIN = SHAPES[0]
REPEATS, QUICK_REPEATS = {1: 300, 16: 40}, {1: 5, 16: 2}
WARM_UP = 5
RESAMPLES = 500
SEED = 23
MS = 1e-6
"""Milliseconds of a nanosecond."""


def served_arm(directory: Path, task: Task) -> Arm:
    """Returns the exported model as it is served: ONNX Runtime, one thread."""
    if task == "intent":
        return IntentModel(directory).logits
    model = open_served(directory, task)
    return lambda texts: [model.infer(text) for text in texts]


def torch_arm(directory: Path) -> Arm:
    """Returns the model as transformers gives it: torch, eager, fp32."""
    import torch

    model, tokenizer = load_model(directory)
    length = int(read_model_manifest(directory)["max_length"])

    def classify(texts: list[str]) -> object:
        batch = tokenizer(
            texts, truncation=True, max_length=length, padding=True, return_tensors="pt"
        )
        with torch.inference_mode():
            return model(**batch).logits

    return classify


def shape_name(shape: Shape) -> str:
    """Returns a shape in words."""
    return f"batch {shape[0]}, {shape[1]}"


def texts_of(shape: Shape, texts: Sequence[str], tokenizers: Sequence[Any]) -> list[list[str]]:
    """Returns batches of texts, drawn from `texts`, that every tokenizer sees as the shape says.

    Args:
        shape: Rows a batch, and `EXACT` (special tokens included) or `OWN` lengths.
        texts: Tickets.
        tokenizers: Of the `tokenizers` library, without truncation and padding.
    """
    rows, kind = shape
    drawn = list(texts)
    np.random.default_rng(SEED).shuffle(drawn)
    if kind == EXACT:
        drawn = exact_texts(drawn, tokenizers, TOKENS)
    drawn = drawn * (1 + rows // len(drawn))
    return [drawn[at : at + rows] for at in range(0, len(drawn) - rows + 1, rows)]


def exact_texts(texts: Sequence[str], tokenizers: Sequence[Any], tokens: int) -> list[str]:
    """Joins words of the texts to new texts of exactly `tokens` tokens for every tokenizer.

    Only words that all tokenizers part into equally many pieces are taken.
    """
    specials = len(tokenizers[0].encode("").ids)
    pieces: dict[str, int] = {}
    found: list[str] = []
    words: list[str] = []
    count = specials
    for word in (word for text in texts for word in text.split()):
        if word not in pieces:
            sizes = {len(each.encode(word).ids) - specials for each in tokenizers}
            pieces[word] = sizes.pop() if len(sizes) == 1 else 0
        if not pieces[word] or count + pieces[word] > tokens:
            continue
        words.append(word)
        count += pieces[word]
        if count == tokens:
            found.append(" ".join(words))
            words, count = [], specials
    right = [
        text for text in found if all(len(each.encode(text).ids) == tokens for each in tokenizers)
    ]
    return right or list(texts)


def time_arms(
    arms: Mapping[str, Arm], batches: Sequence[list[str]], repeats: int
) -> dict[str, list[int]]:
    """Returns nanoseconds of processor time and of wall time by arm, `{name}` and `{name}/wall`.

    Args:
        arms: By name; each must work in the calling thread alone.
        batches: Taken one after the other, the same for all arms of a turn.
        repeats: Turns, after a warm-up.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    taken: dict[str, list[int]] = {name: [] for name in (*arms, *(f"{n}/wall" for n in arms))}
    try:
        for turn in range(-WARM_UP, repeats):
            for name, arm in arms.items():
                batch = batches[turn % len(batches)]
                arm(batch)
                wall, spent = time.perf_counter_ns(), time.thread_time_ns()
                arm(batch)
                if turn >= 0:
                    taken[name].append(time.thread_time_ns() - spent)
                    taken[f"{name}/wall"].append(time.perf_counter_ns() - wall)
    finally:
        torch.set_num_threads(threads)
    return taken


def summarise(taken: Mapping[str, list[int]], reference: str) -> dict[str, dict[str, Any]]:
    """Returns, by arm, milliseconds a batch and how many times faster than the reference it is.

    The interval is the central 95% of a bootstrap over turns, arms resampled together.
    """
    found = {}
    for name in (name for name in taken if not name.endswith("/wall")):
        found[name] = {
            "cpu_median_ms": round(statistics.median(taken[name]) * MS, 4),
            "wall_min_ms": round(min(taken[f"{name}/wall"]) * MS, 4),
            "repeats": len(taken[name]),
            "speedup": _ratio(taken[reference], taken[name]),
        }
    return found


def _ratio(reference: Sequence[int], own: Sequence[int]) -> dict[str, float]:
    first, second = np.asarray(reference, float), np.asarray(own, float)
    turns = np.random.default_rng(SEED).integers(0, len(first), (RESAMPLES, len(first)))
    draws = np.median(first[turns], axis=1) / np.median(second[turns], axis=1)
    low, high = np.percentile(draws, (2.5, 97.5))
    value = float(np.median(first) / np.median(second))
    return {"value": round(value, 3), "low": round(float(low), 3), "high": round(float(high), 3)}
