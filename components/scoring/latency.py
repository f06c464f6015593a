"""What one request costs, for several models in turns, so that a busy machine is fair to all."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

WARM_UP = 3
NANOSECONDS = 1e-6
"""Milliseconds of a nanosecond."""
LIBRARIES = ("onnxruntime", "tokenizers", "numpy")
CPU_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16")


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one request at batch 1.

    Attributes:
        cpu_median_ms: Median processor time of the calling thread: what the request costs.
        wall_min_ms: Least time that passed: the request on an idle machine.
        p50_ms: Median of the time that passed.
        p95_ms: 95th percentile of it.
        repeats: Requests measured.
    """

    cpu_median_ms: float
    wall_min_ms: float
    p50_ms: float
    p95_ms: float
    repeats: int


def interleaved_latency(
    calls: Mapping[str, Callable[[str], object]], texts: Sequence[str], repeats: int
) -> dict[str, Latency]:
    """Times the calls in turns, A B C D A B C D …, each on the same texts.

    Args:
        calls: By name; each must work in the calling thread alone.
        texts: Taken one after the other, again from the start when there are too few.
        repeats: Requests a call, after a short warm-up.
    """
    for call in calls.values():
        for at in range(WARM_UP):
            call(texts[at % len(texts)])
    cpu: dict[str, list[int]] = {name: [] for name in calls}
    wall: dict[str, list[int]] = {name: [] for name in calls}
    for at in range(repeats):
        text = texts[at % len(texts)]
        for name, call in calls.items():
            start, spent = time.perf_counter_ns(), time.thread_time_ns()
            call(text)
            cpu[name].append(time.thread_time_ns() - spent)
            wall[name].append(time.perf_counter_ns() - start)
    return {name: _latency(cpu[name], wall[name]) for name in calls}


def percentile(values: Sequence[float], share: float) -> float:
    """Returns the value that `share` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered)) - 1))]


def machine(libraries: Sequence[str] = ()) -> dict[str, Any]:
    """Returns what a measured time depends on: processor, threads, versions, load.

    Args:
        libraries: Further ones whose versions count.
    """
    model, flags = platform.processor(), ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines: dict[str, str] = {}
        for line in info.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            lines[name.strip()] = value.strip()
        model, flags = lines.get("model name", model), lines.get("flags", "")
    return {
        "cpu": model,
        "cpu_flags": [flag for flag in CPU_FLAGS if flag in flags.split()],
        "cores": os.cpu_count(),
        "threads": 1,
        "load_average": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in (*LIBRARIES, *libraries)},
    }


def _latency(cpu: Sequence[int], wall: Sequence[int]) -> Latency:
    return Latency(
        cpu_median_ms=round(statistics.median(cpu) * NANOSECONDS, 4),
        wall_min_ms=round(min(wall) * NANOSECONDS, 4),
        p50_ms=round(percentile(wall, 0.50) * NANOSECONDS, 4),
        p95_ms=round(percentile(wall, 0.95) * NANOSECONDS, 4),
        repeats=len(wall),
    )
