"""The teacher's outputs: read once before training and kept, or computed as training goes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from components.training.data import Batch, Collator, TicketRows, by_length
from components.training.losses import TeacherOutputs, pool_hidden
from components.training.spec import Task
from components.training.world import World

READ_BATCH = 64  # rows a forward pass without gradients

Pairs = tuple[tuple[int, int], ...]


class CachedTeacher:
    """A classifier's outputs over the train split, by row.

    Args:
        tensors: `logits` [rows, classes] and, where compared, `hidden` [rows, pairs, 2, width].
        device: Where batches live.
    """

    def __init__(self, tensors: dict[str, torch.Tensor], device: torch.device) -> None:
        self._tensors = tensors
        self._device = device

    def __call__(self, batch: Batch) -> TeacherOutputs:
        """Looks the rows of a batch up."""
        rows = batch["rows"].cpu()
        hidden = self._tensors.get("hidden")
        return TeacherOutputs(
            self._tensors["logits"][rows].to(self._device),
            None if hidden is None else hidden[rows].to(self._device),
        )


class LiveTeacher:
    """A language model that runs along: its logits (tokens x vocabulary) are too many to keep.

    Args:
        model: The teacher.
        pairs: (student layer, teacher layer) whose states are compared; empty for none.
        device: Where it runs.
        vocabulary: The teacher's id of each of the student's tokens, where the student has
            fewer; None where they are the same.
    """

    def __init__(
        self,
        model: nn.Module,
        pairs: Pairs,
        device: torch.device,
        vocabulary: torch.Tensor | None = None,
    ) -> None:
        self._model = model.to(device).eval()
        self._pairs = pairs
        self._vocabulary = None if vocabulary is None else vocabulary.to(device)

    def __call__(self, batch: Batch) -> TeacherOutputs:
        """Runs the teacher over a batch, without gradients; its logits are the student's tokens."""
        if self._vocabulary is None:
            return forward_teacher(self._model, batch, "answer", self._pairs)
        its = {**batch, "input_ids": self._vocabulary[batch["input_ids"]]}
        said = forward_teacher(self._model, its, "answer", self._pairs)
        return TeacherOutputs(said.logits[..., self._vocabulary], said.hidden)


@torch.no_grad()
def forward_teacher(model: nn.Module, batch: Batch, task: Task, pairs: Pairs) -> TeacherOutputs:
    """Returns a model's logits and the pooled states of its compared layers."""
    outputs: Any = model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        output_hidden_states=bool(pairs),
    )
    if not pairs:
        return TeacherOutputs(outputs.logits, None)
    states = [
        pool_hidden(outputs.hidden_states[layer], batch["attention_mask"], task)
        for _, layer in pairs
    ]
    return TeacherOutputs(outputs.logits, torch.stack(states, dim=1))


def cache_key(*parts: object) -> str:
    """Returns the name under which outputs are kept: teacher, data, length and layers decide."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def read_teacher(
    model: nn.Module,
    rows: TicketRows,
    pairs: Pairs,
    path: Path,
    world: World,
    collator: Collator,
    on_rows: Callable[[int], None],
) -> CachedTeacher:
    """Returns the teacher's outputs over all rows, from `path` if they are there.

    Each rank reads its share; rank 0 writes `path` whole or not at all (fp16 safetensors).

    Args:
        model: The teacher, a classifier.
        rows: The train split in the teacher's tokens.
        pairs: (student layer, teacher layer) whose states are kept; empty for none.
        path: File of the kept outputs.
        world: The ranks.
        collator: Pads with the teacher's padding token.
        on_rows: Told how many rows all ranks together have done.
    """
    kept = world.from_first(_load(path) if world.first else None)
    if kept is None:
        share = _read_share(model, rows, pairs, world, collator, on_rows)
        kept = _assemble(world.gather(share), len(rows))
        if world.first:
            _store(kept, path)
    return CachedTeacher(kept, world.device)


def _read_share(
    model: nn.Module,
    rows: TicketRows,
    pairs: Pairs,
    world: World,
    collator: Collator,
    on_rows: Callable[[int], None],
) -> dict[str, torch.Tensor]:
    model = model.to(world.device).eval()
    parts: dict[str, list[torch.Tensor]] = {"rows": [], "logits": [], "hidden": []}
    for share in by_length(rows, READ_BATCH, world.rank, world.size):
        batch = {name: value.to(world.device) for name, value in collator(share).items()}
        said = forward_teacher(model, batch, "intent", pairs)
        parts["rows"].append(batch["rows"].cpu())
        parts["logits"].append(said.logits.half().cpu())
        if said.hidden is not None:
            parts["hidden"].append(said.hidden.half().cpu())
        on_rows(len(share) * world.size)
    return {name: torch.cat(each) for name, each in parts.items() if each}


def _assemble(shares: list[dict[str, torch.Tensor]], rows: int) -> dict[str, torch.Tensor]:
    shares = [share for share in shares if share]
    order = torch.cat([share["rows"] for share in shares])
    whole = {}
    for name in shares[0].keys() - {"rows"}:
        values = torch.cat([share[name] for share in shares])
        whole[name] = torch.zeros((rows, *values.shape[1:]), dtype=values.dtype)
        whole[name][order] = values
    return whole


def _load(path: Path) -> dict[str, torch.Tensor] | None:
    try:
        return load_file(path)
    except (OSError, SafetensorError):
        return None


def _store(tensors: dict[str, torch.Tensor], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    save_file(tensors, part)
    part.replace(path)
