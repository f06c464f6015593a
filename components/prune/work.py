"""What one pruning works on, and how it reads that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from components.prune.settings import PruneSettings
from components.slicing.calibration import Calibration
from components.slicing.cutting import trim_to_domain
from components.slicing.vocabulary import Trimmed
from components.training.data import Collator, read_rows
from components.training.measure import measure
from components.training.world import World

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

    def calibration(self, tokenizer: PreTrainedTokenizerBase) -> Calibration:
        """Returns what the parts are scored on, the same rows in every round.

        Raises:
            InputError: The train split is empty.
        """
        settings = self.settings
        return Calibration.of(
            self.shards,
            tokenizer,
            settings.task,
            max_length=settings.max_length,
            seed=settings.seed,
            rows=settings.calibration_rows,
            batch_size=settings.batch_size,
        )
