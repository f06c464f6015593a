"""Tickets as batches: token ids, dynamic padding, and rows of like length together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from components.shards import UNLABELLED, read_split
from components.training.augment import change_texts
from components.training.spec import Task
from kg_schema.errors import InputError

IGNORED = -100  # what torch's cross-entropy passes over
SORTED_BATCHES = 50  # rows are sorted by length within this many batches, then the batches mixed

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Row:
    """One ticket, tokenised.

    Args:
        index: Its place in the split (a changed text's is after it), the same for every tokenizer.
        ids: Token ids, prompt and target for task `answer`.
        labels: One class (`IGNORED` where there is none) for task `intent`; for `answer` one id
            a token, `IGNORED` over the prompt.
    """

    index: int
    ids: list[int]
    labels: list[int]


class TicketRows(Dataset[Row]):
    """The tokenised rows of one split."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.lengths = [len(row.ids) for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: int) -> Row:
        return self.rows[at]

    def labelled(self) -> TicketRows:
        """Returns the rows that have a label."""
        return TicketRows([row for row in self.rows if set(row.labels) - {IGNORED}])


def read_rows(
    shards: Path,
    split: str,
    tokenizer: Any,
    task: Task,
    max_length: int,
    *,
    augment: int = 0,
    seed: int = 0,
) -> TicketRows:
    """Reads and tokenises one split; a row without an answer is left out for task `answer`.

    Args:
        shards: The shards directory.
        split: Which split.
        tokenizer: Makes the ids.
        task: What the labels are.
        max_length: Tokens a row is cut to.
        augment: Changed texts of each row, without a label and after all others; `intent` only.
        seed: Of the changes.
    """
    table = read_split(shards, split)
    texts = table.column("text").to_pylist()
    if task == "intent":
        changed = change_texts(texts, augment, seed)
        labels = table.column("label").to_pylist() + [UNLABELLED] * len(changed)
        return TicketRows(list(_classified(texts + changed, labels, tokenizer, max_length)))
    answers = table.column("answer").to_pylist()
    return TicketRows(list(_answered(texts, answers, tokenizer, max_length)))


def require_rows(rows: TicketRows, shards: Path, split: str) -> TicketRows:
    """Returns `rows`.

    Raises:
        InputError: There are none.
    """
    if not len(rows):
        raise InputError(f"no rows to train on in split {split!r}", where=str(shards))
    return rows


def _classified(
    texts: list[str], labels: list[int], tokenizer: Any, max_length: int
) -> Iterator[Row]:
    if not texts:
        return
    encoded = tokenizer(texts, truncation=True, max_length=max_length)["input_ids"]
    for index, (ids, label) in enumerate(zip(encoded, labels, strict=True)):
        yield Row(index, ids, [IGNORED if label == UNLABELLED else label])


def _answered(
    texts: list[str], answers: list[str | None], tokenizer: Any, max_length: int
) -> Iterator[Row]:
    end = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    for index, (text, answer) in enumerate(zip(texts, answers, strict=True)):
        if not answer:
            continue
        target = tokenizer(answer, add_special_tokens=False)["input_ids"][: max_length // 2] + end
        room = max_length - len(target)
        prompt = tokenizer(f"{text}\n", truncation=True, max_length=room)["input_ids"]
        yield Row(index, prompt + target, [IGNORED] * len(prompt) + target)


class Collator:
    """Pads a batch to its longest row.

    Args:
        task: What `labels` means.
        pad: Id of the padding token.
    """

    def __init__(self, task: Task, pad: int) -> None:
        self._task = task
        self._pad = pad

    def __call__(self, rows: Sequence[Row]) -> Batch:
        """Pads rows to tensors.

        Returns:
            `input_ids` and `attention_mask` [rows, tokens], `labels` [rows] (a label a token for
            task `answer`), and `rows` [rows], each row's place in the split.
        """
        longest = max(len(row.ids) for row in rows)
        ids = torch.full((len(rows), longest), self._pad, dtype=torch.long)
        mask = torch.zeros((len(rows), longest), dtype=torch.long)
        for at, row in enumerate(rows):
            ids[at, : len(row.ids)] = torch.tensor(row.ids)
            mask[at, : len(row.ids)] = 1
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "labels": self._labels(rows, longest),
            "rows": torch.tensor([row.index for row in rows]),
        }

    def _labels(self, rows: Sequence[Row], longest: int) -> torch.Tensor:
        if self._task == "intent":
            return torch.tensor([row.labels[0] for row in rows])
        labels = torch.full((len(rows), longest), IGNORED, dtype=torch.long)
        for at, row in enumerate(rows):
            labels[at, : len(row.labels)] = torch.tensor(row.labels)
        return labels


class GroupedBatches(Sampler[list[int]]):
    """One rank's share of batches of rows of like length, another order each epoch.

    Every rank draws the same global batches and takes every `ranks`-th row of each, so that all
    have equally many rows and nearly equally many tokens. The order depends on seed and epoch
    alone: a resumed training sees the rows an undisturbed one would have seen.

    Args:
        lengths: Tokens of each row.
        batch_size: Rows of a batch over all ranks.
        rank: Whose share.
        ranks: How many share.
        seed: Of the order.
    """

    def __init__(
        self, lengths: Sequence[int], batch_size: int, *, rank: int, ranks: int, seed: int
    ) -> None:
        self._lengths = lengths
        self._batch_size = batch_size
        self._rank = rank
        self._ranks = ranks
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of the next pass."""
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-len(self._lengths) // self._batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self._seed * 100_003 + self._epoch)
        order = torch.randperm(len(self._lengths), generator=generator).tolist()
        fill = -len(order) % self._ranks
        order += (order * self._ranks)[:fill]
        batches = list(self._grouped(order))
        for at in torch.randperm(len(batches), generator=generator).tolist():
            yield batches[at][self._rank :: self._ranks]

    def _grouped(self, order: list[int]) -> Iterator[list[int]]:
        span = self._batch_size * SORTED_BATCHES
        for start in range(0, len(order), span):
            rows = sorted(order[start : start + span], key=lambda row: -self._lengths[row])
            for at in range(0, len(rows), self._batch_size):
                yield rows[at : at + self._batch_size]


class EpochLoader(DataLoader[Row]):
    """A loader whose batches follow the epoch that the training loop names."""

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order of the next pass."""
        if isinstance(self.batch_sampler, GroupedBatches):
            self.batch_sampler.set_epoch(epoch)


def by_length(rows: TicketRows, batch_size: int, rank: int, ranks: int) -> Iterator[list[Row]]:
    """Yields one rank's share of the rows, longest first, for reading without training."""
    order = sorted(range(len(rows)), key=lambda row: -rows.lengths[row])[rank::ranks]
    for start in range(0, len(order), batch_size):
        yield [rows[at] for at in order[start : start + batch_size]]
