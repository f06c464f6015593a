"""The training loop: transformers' Trainer, taught our batches, losses and checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from components.storage import FULL_ERRNOS, FULL_MARKS, DiskFullError
from components.training.checkpoint import mark_whole
from components.training.data import Batch, Collator, EpochLoader, GroupedBatches, TicketRows
from components.training.losses import Objective
from components.training.mirror import Mirror
from components.training.models import optimizer_groups
from components.training.precision import Format
from components.training.spec import TrainSpec
from components.training.world import World

TRAINABLE_NAME = "trainable.safetensors"
KEPT_CHECKPOINTS = 2


class TicketTrainer(Trainer):
    """A Trainer that learns an `Objective` from rows grouped by length.

    Its checkpoints hold the trained parameters alone (the frozen ones are the model's own), the
    optimizer, the schedule and the random states; each is marked when it is whole.

    Args:
        spec: The training.
        model: What is trained, on the CPU.
        rows: The train split.
        objective: The loss.
        collator: Pads batches.
        world: The ranks.
        precision: The format of the matrix products.
        folder: Where checkpoints go.
        mirror: Where they are kept besides, if anywhere.
    """

    def __init__(
        self,
        spec: TrainSpec,
        model: Any,
        rows: TicketRows,
        *,
        objective: Objective,
        collator: Collator,
        world: World,
        precision: Format,
        folder: Path,
        mirror: Mirror | None = None,
    ) -> None:
        self._spec = spec
        self._folder = folder
        self._mirror = mirror
        self._objective = objective
        self._network = model
        self._rows = rows
        self._world = world
        super().__init__(
            model=model,
            args=_arguments(spec, world, precision, folder),
            data_collator=collator,
            train_dataset=rows,
        )
        self.remove_callback(PrinterCallback)
        self.add_callback(_StepSeed(spec.seed, world))
        self.model_accepts_loss_kwargs = False
        self.loss_is_scaled_for_ga = False

    def get_train_dataloader(self) -> EpochLoader:
        """Returns this rank's share of each epoch."""
        batches = GroupedBatches(
            self._rows.lengths,
            self._spec.batch_size,
            rank=self._world.rank,
            ranks=self._world.size,
            seed=self._spec.seed,
        )
        return EpochLoader(self._rows, batch_sampler=batches, collate_fn=self.data_collator)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Returns fused AdamW, with a rate of its own for what starts from nothing."""
        if self.optimizer is None:
            spec = self._spec
            head_rate = spec.head_learning_rate or spec.learning_rate
            groups = optimizer_groups(
                self._network, spec.learning_rate, head_rate, spec.weight_decay
            )
            self.optimizer = torch.optim.AdamW(groups, fused=True)
        return self.optimizer

    def compute_loss(
        self,
        model: Any,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> torch.Tensor:
        """Returns the objective of one batch."""
        return self._objective(model, inputs)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if not self.args.should_save:
            return
        folder = Path(output_dir or self._folder)
        folder.mkdir(parents=True, exist_ok=True)
        trained = {
            name: parameter.detach().contiguous()
            for name, parameter in self._network.named_parameters()
            if parameter.requires_grad
        }
        save_file(trained, folder / TRAINABLE_NAME)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        saved = load_file(Path(resume_from_checkpoint) / TRAINABLE_NAME)
        with torch.no_grad():
            for name, parameter in self._network.named_parameters():
                if parameter.requires_grad:
                    parameter.copy_(saved[name])

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        try:
            super()._save_checkpoint(model, trial)
        except (OSError, RuntimeError, SafetensorError) as error:
            marked = any(mark in str(error) for mark in FULL_MARKS)
            if marked or getattr(error, "errno", None) in FULL_ERRNOS:
                raise DiskFullError(
                    "the disk is full", where=str(self._folder), fix="free some room"
                ) from error
            raise
        self._world.wait()  # every rank has written its random state
        if self._world.first:
            checkpoint = self._folder / f"checkpoint-{self.state.global_step}"
            mark_whole(checkpoint)
            if self._mirror is not None:
                self._mirror.keep(checkpoint)


class ProgressReport(TrainerCallback):
    """Tells how training comes along.

    Args:
        rows: Rows of a global batch.
        on_rows: Told the rows of each finished step.
        on_epoch: Told the epoch's number and mean loss.
    """

    def __init__(
        self, rows: int, on_rows: Callable[[int], None], on_epoch: Callable[[int, float], None]
    ) -> None:
        self._rows = rows
        self._on_rows = on_rows
        self._on_epoch = on_epoch
        self.train_loss = 0.0
        self.seconds = 0.0
        self._start = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Starts the clock."""
        self._start = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Counts the step's rows."""
        self._on_rows(self._rows)

    def on_log(
        self,
        args: Any,
        state: Any,
        control: Any,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Takes the epoch's mean loss."""
        if logs and "loss" in logs:
            self.train_loss = float(logs["loss"])
            self._on_epoch(round(state.epoch), self.train_loss)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stops the clock."""
        self.seconds = time.perf_counter() - self._start


class _StepSeed(TrainerCallback):
    """Seeds dropout by step and rank.

    So a resumed training draws what an undisturbed one would have drawn, wherever it was stopped.
    """

    def __init__(self, seed: int, world: World) -> None:
        self._seed = seed
        self._world = world

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        step = state.global_step * self._world.size + self._world.rank
        torch.manual_seed(self._seed * 1_000_003 + step)


def _arguments(spec: TrainSpec, world: World, precision: Format, folder: Path) -> TrainingArguments:
    cuda = world.device.type == "cuda"
    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=spec.batch_size // world.size,
        num_train_epochs=spec.epochs,
        learning_rate=spec.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=spec.warmup,
        max_grad_norm=spec.max_grad_norm,
        seed=spec.seed,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        use_cpu=not cuda,
        ddp_backend=("nccl" if cuda else "gloo") if world.size > 1 else None,
        ddp_find_unused_parameters=False,
        save_strategy="epoch",
        save_total_limit=KEPT_CHECKPOINTS,
        logging_strategy="epoch",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=cuda,
    )
