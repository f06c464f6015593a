"""One ranking of several: full text finds the words, vectors the meaning, and both count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kg_schema.client import FactRow

# The constant of the paper, which its authors found to be uncritical.
SMOOTHING = 60


def fuse(rankings: Sequence[Sequence[FactRow]], limit: int | None = None) -> list[FactRow]:
    """Reciprocal rank fusion: a subject scores the sum of 1 / (60 + place) over the rankings.

    Places are fused and not scores: a full-text score has no upper bound and grows with the
    query, a cosine lies in 0..1, and the engines scale both differently. Divided by the best hit,
    the usual way out, even the best of nothing would score 1. (Cormack, Clarke, Buettcher:
    Reciprocal Rank Fusion Outperforms Condorcet and Individual Rank Learning Methods, SIGIR 2009.)

    Args:
        rankings: Rows of one template each, best first; a subject's first row counts.
        limit: Subjects at most; None for all.

    Returns:
        One row a subject, best first, its place (from 0) as its rank.
    """
    scores: dict[str, float] = {}
    rows: dict[str, FactRow] = {}
    for ranking in rankings:
        firsts: dict[str, FactRow] = {}
        for row in ranking:
            firsts.setdefault(f"{row.subject_label}/{row.subject_id}", row)
        for place, (subject, row) in enumerate(firsts.items(), start=1):
            scores[subject] = scores.get(subject, 0.0) + 1 / (SMOOTHING + place)
            rows.setdefault(subject, row)
    ordered = sorted(scores, key=lambda subject: (-scores[subject], subject))[:limit]
    return [replace(rows[subject], rank=place) for place, subject in enumerate(ordered)]
