"""How well a graph follows the model it came from, on the validation split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
import torch

from components.export.settings import ExportSettings
from components.onnx_graph.graph import INPUTS, OUTPUT
from components.training.data import IGNORED, Batch, Collator, Row, TicketRows, by_length
from kg_schema.progress import Progress

# Rows of a batch of the reference: a language model's logits are wide. The graph reads row by
# row, as it is served.
TORCH_ROWS = {"intent": 32, "answer": 4}
Runner = Callable[[Batch], np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Readings:
    """What a model or a graph made of the rows; one position a row, or a token of the targets.

    Args:
        chosen: [positions], the class or token with the highest logit.
        labels: [positions], the right one; `IGNORED` where there is none.
        logits: [rows, classes] for task `intent`; None for `answer`, where they are too many.
    """

    chosen: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]
    logits: np.ndarray[Any, Any] | None

    @property
    def accuracy(self) -> float:
        """Share of the labelled positions that are right; 0 without any."""
        known = self.labels != IGNORED
        return float((self.chosen == self.labels)[known].mean()) if known.any() else 0.0


@dataclass(frozen=True)
class Agreement:
    """One graph beside its model.

    Args:
        argmax: Share of positions on which both choose the same.
        accuracy: The graph's.
        torch_accuracy: The model's.
        positions: How many were compared.
    """

    argmax: float
    accuracy: float
    torch_accuracy: float
    positions: int

    def passes(self, settings: ExportSettings) -> bool:
        """Tells whether the graph may be served in the model's place."""
        lost = 100 * (self.torch_accuracy - self.accuracy)
        return self.argmax >= settings.min_agreement and lost <= settings.max_accuracy_loss + 1e-9


def compare(model: Readings, graph: Readings) -> Agreement:
    """Compares what a model and its graph made of the same rows."""
    same = model.chosen == graph.chosen
    return Agreement(
        argmax=float(same.mean()) if same.size else 1.0,
        accuracy=graph.accuracy,
        torch_accuracy=model.accuracy,
        positions=int(same.size),
    )


def graph_runner(session: ort.InferenceSession) -> Runner:
    """Returns what runs a batch through a graph."""

    def run(batch: Batch) -> np.ndarray[Any, Any]:
        logits: np.ndarray[Any, Any] = session.run(
            [OUTPUT], {name: batch[name].numpy() for name in INPUTS}
        )[0]
        return logits

    return run


def torch_runner(model: Any) -> Runner:
    """Returns what runs a batch through the model itself."""

    def run(batch: Batch) -> np.ndarray[Any, Any]:
        with torch.no_grad():
            outputs = model(**{name: batch[name] for name in INPUTS})
        logits: np.ndarray[Any, Any] = outputs.logits.float().numpy()
        return logits

    return run


def evenly(rows: TicketRows, most: int) -> TicketRows:
    """Returns at most `most` rows, evenly spaced; all of them for 0."""
    if not most or len(rows) <= most:
        return rows
    return TicketRows([rows[at * len(rows) // most] for at in range(most)])


def read_with(run: Runner, rows: TicketRows, collate: Collator, size: int, what: str) -> Readings:
    """Runs all rows, in batches of `size` rows of like length, in an order that rows alone set."""
    parts: list[tuple[Any, Any, Any]] = []
    order: list[int] = []
    with Progress(len(rows), what, "rows") as progress:
        for batch, taken in _batches(rows, collate, size):
            parts.append(_read_batch(run(batch), batch))
            order.extend(row.index for row in taken)
            progress.advance(len(taken))
    chosen, labels = (np.concatenate([part[at] for part in parts]) for at in (0, 1))
    if parts[0][2] is None:
        return Readings(chosen, labels, None)
    back = np.argsort(order, kind="stable")
    return Readings(chosen[back], labels[back], np.concatenate([part[2] for part in parts])[back])


def _batches(
    rows: TicketRows, collate: Collator, size: int
) -> Iterator[tuple[Batch, Sequence[Row]]]:
    for taken in by_length(rows, size, 0, 1):
        yield collate(taken), taken


def _read_batch(logits: np.ndarray[Any, Any], batch: Batch) -> tuple[Any, Any, Any]:
    labels = batch["labels"].numpy()
    if logits.ndim == 2:
        return logits.argmax(-1), labels, logits
    wanted = labels[:, 1:]
    kept = wanted != IGNORED
    return logits[:, :-1].argmax(-1)[kept], wanted[kept], None
