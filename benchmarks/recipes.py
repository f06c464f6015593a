"""How each row of the compression table is made, for any number of rows to learn from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

from components.distill.distilling import DistillSettings
from components.export.settings import ExportSettings
from components.finetune.finetuning import FinetuneSettings
from components.prune.settings import PruneSettings
from components.training.spec import Task

# What BANKING77's train split gives in one pass; smaller sets are passed over more often.
REFERENCE_ROWS = 9_000
MOST_PASSES = 8

Settings = TypeVar("Settings", FinetuneSettings, PruneSettings, DistillSettings)


@dataclass(frozen=True)
class Recipe:
    """Settings of every stage, by row of the table.

    Args:
        teacher: Of fine-tuning the base model.
        pruned: Of pruning, with its recovery.
        distilled: Of the small student cut from the teacher.
        start: Of the pruning that the winner starts from, without a recovery.
        winner: Of the distillation into that.
        narrowed: Of prunings in width alone with a short recovery, by which scores are compared.
        export: Of all of them.
    """

    teacher: FinetuneSettings
    pruned: PruneSettings
    distilled: DistillSettings
    start: PruneSettings
    winner: DistillSettings
    narrowed: PruneSettings
    export: ExportSettings

    @property
    def scratch(self) -> FinetuneSettings:
        """How the distilled student's twin learns: as many steps, from labels alone."""
        own = self.distilled
        return FinetuneSettings(
            task=own.task,
            epochs=own.epochs * (1 + own.copies),
            batch_size=own.batch_size,
            learning_rate=own.learning_rate,
            head_learning_rate=own.learning_rate,
            max_length=own.max_length or self.teacher.max_length,
            seed=own.seed,
            ranks=own.ranks,
            precision=own.precision,
            freeze_embeddings=own.freeze_embeddings,
            lora_rank=0,
        )


def make_recipe(
    task: Task,
    rows: int,
    seed: int,
    *,
    fresh: bool = False,
    positions: int = 0,
    quick: bool = False,
) -> Recipe:
    """Returns the recipe of one seed.

    Shapes and rates were chosen on validation rows of BANKING77, for a 6-layer encoder 384 wide.

    Args:
        task: What the models do.
        rows: Of the train split.
        seed: Of every training.
        fresh: The base model's weights are random: its embeddings learn too, and faster.
        positions: That the small models keep, where positions are learned; 0 keeps all.
        quick: One short pass of everything, to see that it works.
    """
    passes = min(MOST_PASSES, max(1, round(REFERENCE_ROWS / max(rows, 1))))
    teacher = FinetuneSettings(task=task, seed=seed, epochs=3 * passes, lora_rank=0)
    if fresh:
        teacher = replace(teacher, learning_rate=1e-3, freeze_embeddings=False)
    pruned = PruneSettings(task=task, seed=seed, recovery_epochs=6 * passes, dropout=0.0)
    distilled = DistillSettings(
        task=task,
        seed=seed,
        layers=1 / 3,
        hidden=0.5,
        vocabulary=6000,
        positions=positions,
        augment=3,
        probe=0.0 if fresh else 0.5,  # random weights have no opinion
        epochs=4 * passes,
        batch_size=64,
        learning_rate=1.5e-3,
        dropout=0.0,
        freeze_embeddings=False,
        ranks=1,
    )
    start = replace(
        pruned,
        layers=distilled.layers,
        hidden=distilled.hidden,
        vocabulary=distilled.vocabulary,
        positions=positions,
        recovery_epochs=0,
    )
    narrowed = replace(pruned, layers=1.0, hidden=0.5, recovery_epochs=passes)
    found = Recipe(
        teacher=teacher,
        pruned=pruned,
        distilled=distilled,
        start=start,
        winner=replace(distilled, epochs=12 * passes, activation="relu"),
        narrowed=narrowed,
        export=ExportSettings(task=task),
    )
    return _shortened(found) if quick else found


def _shortened(recipe: Recipe) -> Recipe:
    def short(settings: Settings) -> Settings:
        return replace(settings, ranks=1, precision="fp32")

    return Recipe(
        teacher=replace(short(recipe.teacher), epochs=1),
        pruned=replace(short(recipe.pruned), recovery_epochs=1, calibration_rows=32),
        distilled=replace(short(recipe.distilled), epochs=1),
        start=replace(short(recipe.start), calibration_rows=32),
        winner=replace(short(recipe.winner), epochs=1),
        narrowed=replace(short(recipe.narrowed), recovery_epochs=1, calibration_rows=32),
        export=replace(recipe.export, precision="fp32", calibration_rows=16, gate_rows=50),
    )
