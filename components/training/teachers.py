"""The teacher's outputs: read once before training and kept, or computed as training goes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from components.training.data import IGNORED, Batch, Collator, TicketRows, by_length
from components.training.divergences import TopLogits, keep_top
from components.training.losses import Teacher, TeacherOutputs, pool_hidden, scored_positions
from components.training.probe import mix_opinions
from components.training.relations import watched
from components.training.spec import Task
from components.training.world import World

# Rows a forward pass without gradients; a language model's logits are as wide as its vocabulary.
READ_BATCH: dict[Task, int] = {"intent": 64, "answer": 8}

Pairs = tuple[tuple[int, int], ...]
Kept = dict[str, torch.Tensor]


class CachedTeacher:
    """A classifier's outputs over the train split, by row.

    Args:
        tensors: `logits` [rows, classes] and, where compared, `hidden` [rows, pairs, 2, width].
        device: Where batches live.
    """

    def __init__(self, tensors: Kept, device: torch.device) -> None:
        self._tensors = tensors
        self._device = device

    @property
    def logits(self) -> torch.Tensor:
        """Of all rows, [rows, classes]."""
        return self._tensors["logits"]

    @property
    def means(self) -> torch.Tensor:
        """The mean state of the last compared layer, [rows, width]."""
        return self._tensors["hidden"][:, -1, 1]

    def with_opinion(self, said: torch.Tensor, share: float) -> CachedTeacher:
        """Returns a teacher whose distribution is a weighted mean of its own and another.

        Args:
            said: The other's probabilities, [rows, classes].
            share: Its weight.
        """
        logits = mix_opinions(self._tensors["logits"], said, share)
        return CachedTeacher({**self._tensors, "logits": logits}, self._device)

    def __call__(self, batch: Batch) -> TeacherOutputs:
        """Looks the rows of a batch up."""
        rows = batch["rows"].cpu()
        return TeacherOutputs(
            self._tensors["logits"][rows].to(self._device),
            _looked_up(self._tensors.get("hidden"), rows, self._device),
        )


class CachedLanguageTeacher:
    """A language model's largest probabilities at the train split's target tokens, by row.

    Takes 6k + 2 bytes a target token: an id and a probability for each of k tokens, and the rest.
    32 of them are 194 bytes where the logits over 32,000 tokens would be 64,000.

    Args:
        tensors: `starts` [rows + 1], where each row's positions start; `ids` [positions, k] and
            `log_probs` [positions, k + 1] as in `TopLogits`; and, where compared, `hidden`
            [rows, pairs, 2, width].
        device: Where batches live.
    """

    def __init__(self, tensors: Kept, device: torch.device) -> None:
        self._tensors = tensors
        self._device = device

    def __call__(self, batch: Batch) -> TeacherOutputs:
        """Looks the target tokens of a batch's rows up."""
        rows = batch["rows"].cpu()
        starts = self._tensors["starts"]
        positions = torch.cat([torch.arange(int(starts[at]), int(starts[at + 1])) for at in rows])
        top = TopLogits(
            self._tensors["ids"][positions].long().to(self._device),
            self._tensors["log_probs"][positions].to(self._device),
        )
        return TeacherOutputs(top, _looked_up(self._tensors.get("hidden"), rows, self._device))


def _looked_up(
    tensor: torch.Tensor | None, rows: torch.Tensor, device: torch.device
) -> torch.Tensor | None:
    return None if tensor is None else tensor[rows].to(device)


class LiveTeacher:
    """A model that runs along, on the student's tokens.

    For what is too much to keep: a language model's logits (tokens x vocabulary), and attention
    relations (tokens x tokens).

    Args:
        model: The teacher.
        pairs: (student layer, teacher layer) whose states are compared; empty for none.
        device: Where it runs.
        vocabulary: The teacher's id of each of the student's tokens, where the student has
            fewer; None where they are the same.
        task: What its logits are of.
        projections: Its linears whose outputs are compared; empty for none.
    """

    def __init__(
        self,
        model: nn.Module,
        pairs: Pairs,
        device: torch.device,
        vocabulary: torch.Tensor | None = None,
        task: Task = "answer",
        projections: Sequence[nn.Module] = (),
    ) -> None:
        self._model = model.to(device).eval()
        self._pairs = pairs
        self._vocabulary = None if vocabulary is None else vocabulary.to(device)
        self._task = task
        self._projections = projections

    def __call__(self, batch: Batch) -> TeacherOutputs:
        """Runs the teacher over a batch, without gradients; its logits are the student's tokens."""
        with watched(self._projections) as projections:
            its = in_teachers_tokens(batch, self._vocabulary)
            logits, hidden = forward_teacher(self._model, its, self._task, self._pairs)
        if self._vocabulary is not None and self._task == "answer":
            logits = logits[..., self._vocabulary]
        return TeacherOutputs(logits, hidden, projections)


class CachedAndLiveTeacher:
    """A kept teacher that also runs along, for its projections.

    Args:
        kept: Has logits and hidden states.
        live: Has projections.
    """

    def __init__(self, kept: Teacher, live: LiveTeacher) -> None:
        self._kept = kept
        self._live = live

    def __call__(self, batch: Batch) -> TeacherOutputs:
        """Looks a batch up and runs the teacher over it."""
        return replace(self._kept(batch), projections=self._live(batch).projections)


def in_teachers_tokens(batch: Batch, vocabulary: torch.Tensor | None) -> Batch:
    """Returns a batch of the student's tokens with the teacher's ids.

    Args:
        batch: As collated.
        vocabulary: The teacher's id of each of the student's tokens; None where they are the same.
    """
    if vocabulary is None:
        return batch
    return {**batch, "input_ids": vocabulary[batch["input_ids"]]}


@torch.no_grad()
def forward_teacher(
    model: nn.Module, batch: Batch, task: Task, pairs: Pairs
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Returns a model's logits and the pooled states of its compared layers, None without pairs."""
    outputs: Any = model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        output_hidden_states=bool(pairs),
    )
    if not pairs:
        return outputs.logits, None
    states = [
        pool_hidden(outputs.hidden_states[layer], batch["attention_mask"], task)
        for _, layer in pairs
    ]
    return outputs.logits, torch.stack(states, dim=1)


def cache_key(*parts: object) -> str:
    """Returns the name under which outputs are kept: whatever they depend on decides."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Reading:
    """What is kept of a teacher.

    Args:
        pairs: (student layer, teacher layer) whose states are kept; empty for none.
        top_k: Largest probabilities kept of a language model, at each target token; 0 for a
            classifier, whose logits are kept whole.
        temperature: At which those probabilities are taken.
        vocabulary: The teacher's id of each of the student's tokens, where the rows are the
            student's and it has fewer; None where they are the same.
    """

    pairs: Pairs = ()
    top_k: int = 0
    temperature: float = 1.0
    vocabulary: torch.Tensor | None = None

    def read(self, model: nn.Module, batch: Batch) -> Kept:
        """Runs the teacher over a batch and returns what is kept of it, on the CPU."""
        task: Task = "answer" if self.top_k else "intent"
        vocabulary = None if self.vocabulary is None else self.vocabulary.to(batch["rows"].device)
        its = in_teachers_tokens(batch, vocabulary)
        logits, hidden = forward_teacher(model, its, task, self.pairs)
        kept = {"rows": batch["rows"].cpu()}
        if self.top_k:
            positions, _ = scored_positions(logits, batch["labels"], task)
            top = keep_top(positions, self.top_k, self.temperature, vocabulary)
            kept["counts"] = (batch["labels"][:, 1:] != IGNORED).sum(1).cpu()
            kept["ids"], kept["log_probs"] = top.ids.int().cpu(), top.log_probs.half().cpu()
        else:
            kept["logits"] = logits.half().cpu()
        if hidden is not None:
            kept["hidden"] = hidden.half().cpu()
        return kept


def read_teacher(
    model: nn.Module,
    rows: TicketRows,
    reading: Reading,
    path: Path,
    world: World,
    collator: Collator,
    on_rows: Callable[[int], None],
) -> CachedTeacher | CachedLanguageTeacher:
    """Returns the teacher's outputs over all rows, from `path` if they are there.

    Each rank reads its share; rank 0 writes `path` whole or not at all (fp16 safetensors).

    Args:
        model: The teacher.
        rows: The train split, in the teacher's tokens or, of a language model, the student's.
        reading: What is kept.
        path: File of the kept outputs.
        world: The ranks.
        collator: Pads with the padding token of `rows`.
        on_rows: Told how many rows all ranks together have done.
    """
    kept = world.from_first(_load(path) if world.first else None)
    if kept is None:
        share = _read_share(model, rows, reading, world, collator, on_rows)
        shares = [each for each in world.gather(share) if each]
        kept = _assemble(shares, max(row.index for row in rows.rows) + 1)
        if world.first:
            _store(kept, path)
    return (CachedLanguageTeacher if reading.top_k else CachedTeacher)(kept, world.device)


def _read_share(
    model: nn.Module,
    rows: TicketRows,
    reading: Reading,
    world: World,
    collator: Collator,
    on_rows: Callable[[int], None],
) -> Kept:
    model = model.to(world.device).eval()
    size = READ_BATCH["answer" if reading.top_k else "intent"]
    parts: dict[str, list[torch.Tensor]] = {}
    for share in by_length(rows, size, world.rank, world.size):
        batch = {name: value.to(world.device) for name, value in collator(share).items()}
        for name, value in reading.read(model, batch).items():
            parts.setdefault(name, []).append(value)
        on_rows(len(share) * world.size)
    return {name: torch.cat(each) for name, each in parts.items()}


def _assemble(shares: Sequence[Kept], rows: int) -> Kept:
    """Puts what all ranks have read in the order of the rows' places in the split."""
    read = {name: torch.cat([share[name] for share in shares]) for name in shares[0]}
    order = read.pop("rows")
    counts = read.pop("counts", None)
    whole = {}
    if counts is not None:
        by_row = torch.zeros(rows, dtype=torch.long)
        by_row[order] = counts
        whole["starts"] = functional.pad(by_row.cumsum(0), (1, 0))
        turns = order.argsort().tolist()
        for name in ("ids", "log_probs"):
            pieces = torch.split(read.pop(name), counts.tolist())
            whole[name] = torch.cat([pieces[at] for at in turns])
    for name, values in read.items():
        whole[name] = torch.zeros((rows, *values.shape[1:]), dtype=values.dtype)
        whole[name][order] = values
    return whole


def _load(path: Path) -> Kept | None:
    try:
        return load_file(path)
    except (OSError, SafetensorError):
        return None


def _store(tensors: Kept, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    save_file(tensors, part)
    part.replace(path)
