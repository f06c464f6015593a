"""Accuracies with intervals, paired losses, and recall and F1 by class.

Every interval is the central 95% of a bootstrap over rows (Efron 1979, percentile method); models
that are compared are resampled together, so that what they share cancels out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
CHUNK = 100
"""Resamples drawn at once; bounds memory to CHUNK x rows counts."""
PERCENTILES = (2.5, 97.5)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A value and the bounds of its 95% interval, in the same unit."""

    value: float
    low: float
    high: float

    def scaled(self, factor: float) -> Interval:
        """Returns the interval in another unit; `factor` is positive."""
        return Interval(self.value * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True)
class Hits:
    """What a model got right, row by row.

    Attributes:
        right: Per row, how much was right: 0 or 1, or a number of tokens.
        of: Per row, how much there was: 1, or a number of tokens.
    """

    right: Floats
    of: Floats

    @property
    def share(self) -> float:
        """Right of all, 0 to 1; 0 where there is nothing."""
        return _ratio(float(self.right.sum()), float(self.of.sum()))

    def only(self, rows: NDArray[np.bool_]) -> Hits:
        """Returns the rows a mask keeps."""
        return Hits(self.right[rows], self.of[rows])


def hits(right: Sequence[float], of: Sequence[float] | None = None) -> Hits:
    """Makes `Hits` of sequences; each row counts once where `of` is not given."""
    values = np.asarray(right, dtype=np.float64)
    return Hits(values, np.ones_like(values) if of is None else np.asarray(of, dtype=np.float64))


def accuracy_interval(scored: Hits, seed: int, resamples: int = RESAMPLES) -> Interval:
    """Returns the share that was right, as a fraction."""
    draws = [
        _ratios(counts @ scored.right, counts @ scored.of)
        for counts in _resample(len(scored.right), seed, resamples)
    ]
    return _interval(scored.share, draws)


def paired_loss(reference: Hits, other: Hits, seed: int, resamples: int = RESAMPLES) -> Interval:
    """Returns what `other` loses against `reference` on the same rows, in points (percent).

    Raises:
        ValueError: The two do not have the same rows.
    """
    if reference.right.shape != other.right.shape:
        raise ValueError("a paired loss needs the same rows")
    draws = [
        _ratios(counts @ reference.right, counts @ reference.of)
        - _ratios(counts @ other.right, counts @ other.of)
        for counts in _resample(len(other.right), seed, resamples)
    ]
    return _interval(reference.share - other.share, draws).scaled(100)


def _resample(rows: int, seed: int, resamples: int) -> Iterator[Floats]:
    """Yields how often each row is drawn, [chunk, rows]; nothing for no rows."""
    if not rows:
        return
    generator = np.random.default_rng(seed)
    even = np.full(rows, 1 / rows)
    for start in range(0, resamples, CHUNK):
        size = min(CHUNK, resamples - start)
        yield generator.multinomial(rows, even, size=size).astype(np.float64)


def _interval(value: float, draws: list[Floats]) -> Interval:
    if not draws:
        return Interval(value, value, value)
    low, high = np.percentile(np.concatenate(draws), PERCENTILES)
    return Interval(value, float(low), float(high))


def _ratios(right: Floats, of: Floats) -> Floats:
    return np.divide(right, of, out=np.zeros_like(right), where=of > 0)


def _ratio(right: float, of: float) -> float:
    return right / of if of else 0.0


@dataclass(frozen=True)
class ClassScore:
    """How one class did.

    Attributes:
        rows: Rows that are of the class.
        recall: Share of them that were found.
        precision: Share of what was called so that is; 0 where nothing was.
        f1: Harmonic mean of the two.
        mistaken_for: The classes its rows were taken for instead, with how often, most often first.
    """

    rows: int
    recall: float
    precision: float
    f1: float
    mistaken_for: tuple[tuple[str, int], ...]


def class_scores(wanted: Sequence[str], predicted: Sequence[str]) -> dict[str, ClassScore]:
    """Scores every class that is wanted or predicted, by name."""
    table: dict[str, dict[str, int]] = {}
    called: dict[str, int] = {}
    for want, got in zip(wanted, predicted, strict=True):
        row = table.setdefault(want, {})
        row[got] = row.get(got, 0) + 1
        called[got] = called.get(got, 0) + 1
    return {
        name: _class_score(name, table.get(name, {}), called.get(name, 0))
        for name in sorted(table.keys() | called.keys())
    }


def _class_score(name: str, row: Mapping[str, int], called: int) -> ClassScore:
    rows, found = sum(row.values()), row.get(name, 0)
    wrong = sorted(
        ((other, count) for other, count in row.items() if other != name),
        key=lambda pair: (-pair[1], pair[0]),
    )
    return ClassScore(
        rows=rows,
        recall=_ratio(found, rows),
        precision=_ratio(found, called),
        f1=_ratio(2 * found, rows + called),
        mistaken_for=tuple(wrong),
    )


def macro_f1(scores: Mapping[str, ClassScore]) -> float:
    """Returns the mean F1 over all classes that occur, each counting the same."""
    return float(np.mean([each.f1 for each in scores.values()])) if scores else 0.0


def macro_recall(scores: Mapping[str, ClassScore]) -> float:
    """Returns the mean recall over the classes that have rows."""
    values = [each.recall for each in scores.values() if each.rows]
    return float(np.mean(values)) if values else 0.0
