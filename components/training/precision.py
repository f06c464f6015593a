"""Which number format a training runs in: what was asked for, or the faster of two by trial."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal

import torch

from components.training.spec import Precision
from kg_schema.errors import InputError

Format = Literal["fp32", "bf16", "fp16"]
TRIALS = 2
DTYPES: dict[Format, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


def in_precision(kind: Format, device: torch.device) -> AbstractContextManager[object]:
    """Returns the autocast context of a format; weights stay fp32 throughout."""
    if kind == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, DTYPES[kind])


def check_precision(wanted: Precision, device: torch.device) -> None:
    """Refuses a format that the device cannot train in.

    Raises:
        InputError: fp16 without CUDA: its gradient scaling is for CUDA, and on a CPU it is
            slower than fp32.
    """
    if wanted == "fp16" and device.type != "cuda":
        raise InputError("fp16 training needs CUDA", fix="use auto, fp32 or bf16")


def probe_precision(step: Callable[[Format], None], device: torch.device) -> dict[str, float]:
    """Times training steps in fp32 and in the device's half precision, turn about.

    Args:
        step: Runs one forward and backward pass in a format.
        device: Where it runs; fp16 is tried where CUDA has no bf16.

    Returns:
        The least milliseconds a step took, by format.
    """
    half: Format = "bf16"
    if device.type == "cuda" and not torch.cuda.is_bf16_supported():
        half = "fp16"
    kinds: tuple[Format, Format] = ("fp32", half)
    for kind in kinds:
        step(kind)
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(TRIALS):
        for kind in kinds:
            start = _now(device)
            step(kind)
            times[kind].append(_now(device) - start)
    return {kind: round(1000 * min(each), 2) for kind, each in times.items()}


def fastest(times: dict[str, float]) -> Format:
    """Returns the format of the least time; fp32 where nothing is faster."""
    best: Format = "fp32"
    for kind in DTYPES:
        if kind in times and times[kind] < times[best]:
            best = kind
    return best


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.thread_time()  # a busy machine's other processes do not count
