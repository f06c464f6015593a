"""What one pruning works on, and how it reads that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from components.prune.settings import PruneSettings
from components.slicing.cutting import trim_to_domain
from components.slicing.scores import Batch
from components.slicing.vocabulary import Trimmed
from components.training.data import Collator, read_rows, require_rows
from components.training.measure import measure
from components.training.world import World
from kg_schema.progress import Progress

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Work:
    """One pruning: what it works on, how, and where its rounds are kept.

    Args:
        teacher: The teacher's directory.
        shards: The shards' directory.
        settings: The pruning's.
        lineage: Keys of every manifest; `parent` is the teacher's digest.
        folder: Private to these settings, this teacher and these shards.
    """

    teacher: Path
    shards: Path
    settings: PruneSettings
    lineage: Mapping[str, Any]
    folder: Path

    def model_after(self, number: int) -> Path:
        """Returns where a round leaves its model; before the first one that is the teacher."""
        return self.folder / f"round-{number}" if number else self.teacher

    def trim(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Trimmed:
        """Returns the teacher's vocabulary as far as it is kept.

        Raises:
            InputError: The tokenizer cannot be trimmed.
        """
        rows, settings = int(model.config.vocab_size), self.settings
        return trim_to_domain(tokenizer, self.shards, settings.task, rows, settings.vocabulary)

    def validate(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
    ) -> dict[str, float]:
        """Returns `accuracy` and `loss` on the validation split; empty where nothing is labelled.

        The same that a training measures at its end.
        """
        task = self.settings.task
        rows = read_rows(self.shards, "validation", tokenizer, task, self.settings.max_length)
        collate = Collator(task, tokenizer.pad_token_id or 0)
        return measure(model, rows, task, collate, World(0, 1, torch.device("cpu")))


@dataclass(frozen=True)
class Calibration:
    """Batches to score on, which may be read several times.

    Args:
        batches: As a `Collator` makes them.
    """

    batches: tuple[Batch, ...]

    @classmethod
    def of(cls, work: Work, tokenizer: PreTrainedTokenizerBase) -> Calibration:
        """Draws rows of the train split, the same in every round, alike in length in a batch.

        Raises:
            InputError: There are none.
        """
        settings = work.settings
        rows = read_rows(work.shards, "train", tokenizer, settings.task, settings.max_length)
        require_rows(rows, work.shards, "train")
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(settings.seed))
        chosen = order[: settings.calibration_rows].tolist()
        chosen.sort(key=lambda at: rows.lengths[at])
        collate = Collator(settings.task, tokenizer.pad_token_id or 0)
        step = settings.batch_size
        parts = (chosen[start : start + step] for start in range(0, len(chosen), step))
        return cls(tuple(collate([rows[at] for at in part]) for part in parts))

    def __iter__(self) -> Iterator[Batch]:
        with Progress(sum(len(each["rows"]) for each in self.batches), "calibrate") as progress:
            for batch in self.batches:
                yield batch
                progress.advance(len(batch["rows"]))
