"""Sums judged answers up: both arms, by problem type and over all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, get_args

import numpy as np

from components.evaluate.judging import CUTOFFS, Judged
from components.scoring.latency import percentile
from components.scoring.statistics import Hits, accuracy_interval, hits, paired_loss
from serving.contracts import ProblemType

Pairs = Sequence[tuple[Judged, Judged]]


def answer_tables(judged: Pairs, seed: int) -> dict[str, Any]:
    """Returns `overall` and `types`: each with its number of questions, both arms and the gain.

    Args:
        judged: Each question without and with the graph.
        seed: Of the bootstrap.
    """
    types = {
        name: [pair for pair in judged if pair[0].problem_type == name]
        for name in get_args(ProblemType)
    }
    return {
        "overall": _group(judged, seed),
        "types": {name: _group(pairs, seed) for name, pairs in types.items() if pairs},
    }


def _group(pairs: Pairs, seed: int) -> dict[str, Any]:
    without, with_graph = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return {
        "questions": len(pairs),
        "answerable": sum(each.answerable for each in without),
        "without_graph": _arm(without, seed),
        "with_graph": {**_arm(with_graph, seed), **_graph_only(with_graph)},
        # what the arm without the graph loses against the one with it
        "gain_points": asdict(paired_loss(_right(with_graph), _right(without), seed)),
    }


def _right(judged: Sequence[Judged]) -> Hits:
    return hits([float(each.right) for each in judged])


def _arm(judged: Sequence[Judged], seed: int) -> dict[str, Any]:
    abstained = [each for each in judged if each.abstained]
    unanswerable = [each for each in judged if not each.answerable]
    answerable = [each for each in judged if each.answerable]
    claims = sum(each.claims for each in judged)
    unsupported = sum(each.unsupported for each in judged)
    times = [each.latency_ms for each in judged]
    return {
        "accuracy": asdict(accuracy_interval(_right(judged), seed)),
        "intent_accuracy": _share(judged, lambda each: each.intent_right),
        "coverage": _share(answerable, lambda each: not each.abstained),
        "abstention_precision": _share(abstained, lambda each: not each.answerable),
        "abstention_recall": _share(unanswerable, lambda each: each.abstained),
        "claims": claims,
        "unsupported_claims": unsupported,
        "unsupported_claim_rate": unsupported / claims if claims else 0.0,
        "latency_p50_ms": percentile(times, 0.50),
        "latency_p95_ms": percentile(times, 0.95),
    }


def _graph_only(judged: Sequence[Judged]) -> dict[str, Any]:
    """What only an arm with entities, citations and recommendations has."""
    linked = [sum(column) for column in zip(*(each.linked for each in judged), strict=True)]
    given = [each for each in judged if not each.abstained and each.answerable]
    cited = [sum(each.cited[at] for each in given) for at in range(3)]
    recommended = [each.found_at for each in judged if each.found_at]
    return {
        "entity_f1": _ratio(2 * linked[0], linked[1] + linked[2]),
        "citation_precision": _ratio(cited[0], cited[1]),
        "citation_recall": _ratio(cited[0], cited[2]),
        "recommendation_questions": len(recommended),
        **{f"recommendation_recall_at_{k}": _recall_at(recommended, k) for k in CUTOFFS},
        "recommendation_mrr": _mean(
            [max((1 / place for place in places if place), default=0.0) for places in recommended]
        ),
        "degraded": sum(bool(each.degraded) for each in judged),
    }


def _recall_at(recommended: Sequence[tuple[int, ...]], cutoff: int) -> float | None:
    """Returns the mean share of the gold recommendations among the first `cutoff`.

    Where there are more of them than places, all places filled is 1.
    """
    return _mean(
        [
            sum(0 < place <= cutoff for place in places) / min(len(places), cutoff)
            for places in recommended
        ]
    )


def _share(rows: Sequence[Judged], test: Callable[[Judged], bool]) -> float | None:
    """Returns the share of rows that pass; None where there are no rows."""
    return _mean([float(test(each)) for each in rows])


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
