"""Batches of a domain's texts, on which a model's parts are scored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from components.slicing.scores import Batch
from components.training.data import Collator, read_rows, require_rows
from components.training.spec import Task
from kg_schema.progress import Progress

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ROWS = 512
BATCH = 32


@dataclass(frozen=True)
class Calibration:
    """Batches to score on, which may be read several times.

    Args:
        batches: As a `Collator` makes them.
    """

    batches: tuple[Batch, ...]

    @classmethod
    def of(
        cls,
        shards: Path,
        tokenizer: PreTrainedTokenizerBase,
        task: Task,
        *,
        max_length: int,
        seed: int,
        rows: int = ROWS,
        batch_size: int = BATCH,
    ) -> Calibration:
        """Draws rows of the train split, alike in length in a batch.

        Args:
            shards: A shards directory.
            tokenizer: The model's.
            task: What the rows are read for.
            max_length: Tokens a row is cut to.
            seed: The same rows for the same seed.
            rows: How many.
            batch_size: Rows a batch.

        Raises:
            InputError: There are none.
        """
        every = read_rows(shards, "train", tokenizer, task, max_length)
        require_rows(every, shards, "train")
        order = torch.randperm(len(every), generator=torch.Generator().manual_seed(seed))
        chosen = order[:rows].tolist()
        chosen.sort(key=lambda at: every.lengths[at])
        collate = Collator(task, tokenizer.pad_token_id or 0)
        parts = (chosen[start : start + batch_size] for start in range(0, len(chosen), batch_size))
        return cls(tuple(collate([every[at] for at in part]) for part in parts))

    def __iter__(self) -> Iterator[Batch]:
        with Progress(sum(len(each["rows"]) for each in self.batches), "calibrate") as progress:
            for batch in self.batches:
                yield batch
                progress.advance(len(batch["rows"]))
