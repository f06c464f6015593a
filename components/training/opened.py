"""What one rank of a training holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from components.training.data import Collator, TicketRows, read_rows
from components.training.mirror import Mirror
from components.training.spec import TrainSpec
from components.training.world import World


class Tell(Protocol):
    """Where a rank reports to."""

    def __call__(self, kind: str, **values: Any) -> None:
        """Reports an event: `start` (what, total), `advance` (units) or `log` (line)."""
        ...


@dataclass
class Session:
    """What one rank holds while it trains."""

    spec: TrainSpec
    world: World
    shards: Path
    manifest: dict[str, Any]
    folder: Path
    model: Any
    tokenizer: Any
    rows: TicketRows
    collator: Collator
    tell: Tell
    mirror: Mirror | None = None


def read_train_rows(spec: TrainSpec, shards: Path, tokenizer: Any) -> TicketRows:
    """Returns the train split, changed texts after it, in one model's tokens."""
    return read_rows(
        shards,
        "train",
        tokenizer,
        spec.task,
        spec.max_length,
        augment=spec.distillation.augment if spec.distillation else 0,
        seed=spec.seed,
    )
