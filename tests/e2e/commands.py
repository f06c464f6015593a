"""The command a person types, in a process of its own, with the smallest profile there is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TIMEOUT_S = 280
SMALL = {"ranks": 1, "batch_size": 8}
PROFILE = {
    "description": "As small as it gets.",
    "settings": {
        "finetune": {**SMALL, "epochs": 12, "learning_rate": 0.01, "freeze_embeddings": False},
        "prune": {**SMALL, "recovery_epochs": 2, "vocabulary": 0, "multiple": 8},
        "prune_small": {**SMALL, "recovery_epochs": 0, "vocabulary": 0, "multiple": 8},
        "distill": {**SMALL, "epochs": 2, "layers": 0.5, "multiple": 8, "augment": 1},
        "distill_pruned": {**SMALL, "epochs": 2},
        "evaluate": {"latency_repeats": 5, "resamples": 200},
        "select": {"resamples": 200},
    },
}


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "pipelines.cli", *map(str, arguments)]


def deskgraph(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def run_arguments(site: Path, out: str) -> list[str | Path]:
    return [
        "run", "--profile", site / "tiny.yaml", "--base-model", site / "encoder",
        "--tickets", site / "tickets.jsonl", "--unlabelled", site / "more.csv",
        "--graph", "samples:graph", "--out", site / out,
    ]  # fmt: skip
