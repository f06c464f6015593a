"""What a pruning is asked for and what it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from components.slicing.planning import LayerChoice, Size
from components.slicing.scorers import SCORERS, ScoreKind
from components.training import Distillation
from kg_schema.errors import DeskGraphError, InputError

Task = Literal["intent", "answer"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


class PruneError(DeskGraphError):
    """No round stays within the budget of accuracy."""


@dataclass(frozen=True)
class PruneSettings:
    """How much of the teacher is kept; shares are of the teacher's own counts, 1.0 keeps all.

    The defaults cut a 6-layer MiniLM of 30,522 pieces by more than 60%, in all and in the encoder.

    Args:
        task: What the teacher does.
        score: What parts are chosen by: `activation` (activations x weights), `taylor` (slope of
            the labelled loss), `magnitude` (weights alone) or `random` (drawn by `seed`).
        layers: Share of the layers.
        layer_choice: `even` spreads the kept layers over the depth, the last one among them;
            `influence` keeps those that turn their input most (ShortGPT, Men et al. 2024).
        channels: Share of each layer's feed-forward channels.
        heads: Share of each layer's key-value groups, each with all its query heads. In the BERT
            family heads follow `hidden` and this stays 1.0.
        hidden: Share of the hidden width. In the BERT family whole heads go.
        multiple: Channels and hidden width are rounded to a multiple of this.
        vocabulary: Tokens kept; 0 keeps all. Special tokens, single characters and bytes always
            stay, then what occurs in the train split, most frequent first, then the tokenizer's
            own order.
        positions: Positions kept where they are learned; 0 keeps all.
        rounds: Equal steps from the whole model to the size asked for. Each cuts the model of the
            round before, scored anew, and learns from the teacher again.
        round_epochs: Passes of training after each round but the last; 0 for none.
        max_loss_points: Points of validation accuracy that a round may be behind the teacher after
            its `round_epochs`, which the last round then has too. The result is the last round
            before the first that loses more. 0 for no such budget.
        target_cut: Share of all parameters that is to go. The shares above are then the least that
            may be left: the largest size on the straight way to them that reaches the target is
            taken. 0 takes the shares as they are.
        target_speedup: The same by latency: how many times as fast as the teacher's graph, measured
            on this machine at batch 1 on one thread. 0 takes the shares as they are.
        latency_tokens: Length of the row that sizes are timed on.
        calibration_rows: Rows of the train split that the parts are scored on.
        recovery_epochs: Passes of training from the teacher's outputs at the end; 0 for none.
        learning_rate: Peak rate of the recovery.
        batch_size: Rows a step, over all ranks, and rows a calibration batch.
        temperature: Softens both distributions in the recovery.
        soft_weight: Weight of the teacher's logits in the recovery.
        hard_weight: Weight of the labels in the recovery.
        hidden_weight: Weight of the teacher's hidden states in the recovery.
        augment: Copies of each row in other words that the recovery learns the teacher's logits on.
        teacher_cache: Folder of the teacher's kept outputs, where several trainings share them;
            empty keeps them with the checkpoints.
        max_length: Tokens a row is cut to in calibration and recovery.
        dropout: Of the pruned model while it recovers; negative keeps the model's own.
        seed: Of the recovery and of the choice of calibration rows.
        ranks: Processes of the recovery.
        threads: Threads a rank; 0 shares the cores out.
        precision: Of the recovery; `auto` probes.
    """

    task: Task = "intent"
    score: ScoreKind = "activation"
    layers: float = 0.5
    layer_choice: LayerChoice = "even"
    channels: float = 0.5
    heads: float = 1.0
    hidden: float = 1.0
    multiple: int = 32
    vocabulary: int = 8000
    positions: int = 0
    rounds: int = 1
    round_epochs: int = 1
    max_loss_points: float = 0.0
    target_cut: float = 0.0
    target_speedup: float = 0.0
    latency_tokens: int = 32
    calibration_rows: int = 512
    recovery_epochs: int = 4
    learning_rate: float = 4e-4
    batch_size: int = 32
    temperature: float = 2.0
    soft_weight: float = 1.0
    hard_weight: float = 0.5
    hidden_weight: float = 1.0
    augment: int = 0
    teacher_cache: str = ""
    max_length: int = 64
    dropout: float = -1.0
    seed: int = 7
    ranks: int = 2
    threads: int = 0
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        """Refuses settings that no pruning can run with.

        Raises:
            InputError: A setting is out of its range, or two contradict each other.
        """
        _ = self.size
        if self.score not in SCORERS:
            raise InputError(f"score is {self.score!r}", fix=f"use one of {', '.join(SCORERS)}")
        for name in ("calibration_rows", "batch_size", "ranks", "rounds", "latency_tokens"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}", fix="use 1 or more")
        for name in ("vocabulary", "recovery_epochs", "round_epochs", "max_loss_points"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}", fix="use 0 or more")
        self._check_targets()

    def _check_targets(self) -> None:
        if not 0.0 <= self.target_cut < 1.0:
            raise InputError(f"target_cut is {self.target_cut}", fix="use a share below 1")
        if self.target_speedup and self.target_speedup <= 1.0:
            raise InputError(f"target_speedup is {self.target_speedup}", fix="use more than 1")
        if self.target_cut and self.target_speedup:
            raise InputError("both target_cut and target_speedup are given", fix="use one of them")

    @property
    def size(self) -> Size:
        """How much is kept of everything but the vocabulary."""
        return Size(
            layers=self.layers,
            layer_choice=self.layer_choice,
            channels=self.channels,
            heads=self.heads,
            hidden=self.hidden,
            multiple=self.multiple,
            positions=self.positions,
            max_length=self.max_length,
        )

    @property
    def staged(self) -> bool:
        """Whether rounds are measured: there are several, or a budget."""
        return self.rounds > 1 or self.max_loss_points > 0

    @property
    def has_target(self) -> bool:
        """Whether the shares are only the least that may be left."""
        return bool(self.target_cut or self.target_speedup)

    def epochs_after(self, number: int) -> int:
        """Returns the passes of training that follow the cut of a round, counted from 1."""
        last = number == self.rounds and not self.max_loss_points
        return self.recovery_epochs if last else self.round_epochs

    def distillation(self, kept: Sequence[int], layers: int) -> Distillation:
        """Returns how the recovery weighs teacher and labels.

        Each kept layer learns to give the next kept one what that one used to read, and the last
        what the teacher ends with.

        Args:
            kept: The teacher's layers that are left, from 0.
            layers: How many the teacher has.
        """
        reads = [*kept[1:], layers]
        return Distillation(
            temperature=self.temperature,
            soft_weight=self.soft_weight,
            hard_weight=self.hard_weight,
            hidden_weight=self.hidden_weight,
            layer_map=tuple((own, its) for own, its in enumerate(reads, start=1)),
            augment=self.augment,
            cache=self.teacher_cache,
        )


@dataclass(frozen=True)
class PruneResult:
    """What a pruning did; the model itself is the directory at `out`.

    Args:
        out: Location of the pruned model's directory.
        before: `{"total", "encoder"}` parameters of the teacher.
        after: The same of the pruned model.
        kept_layers: Indices of the teacher's layers that are left.
        kept: How many heads, channels, hidden dimensions and tokens are left.
        validation: `accuracy` and `loss` after recovery; empty without one.
    """

    out: str
    before: Mapping[str, int]
    after: Mapping[str, int]
    kept_layers: tuple[int, ...]
    kept: Mapping[str, int]
    validation: Mapping[str, float]

    @property
    def cut(self) -> dict[str, float]:
        """Share of the parameters that is gone, in total and in the encoder."""
        return {name: 1 - self.after[name] / self.before[name] for name in ("total", "encoder")}
