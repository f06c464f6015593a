"""What the pipeline's own pages show of an evaluation: numbers and a confusion matrix."""

from __future__ import annotations

from typing import Any

from components.evaluate.evaluation import Evaluation
from components.scoring.scores import TEACHER

CONFUSED_INTENTS = 12
"""Intents of the matrix: more cannot be read on a page."""
OTHER = "(another)"


def log_metrics(measured: Evaluation, metrics: Any) -> None:
    """Logs each candidate's numbers to a `dsl.Metrics` artifact."""
    metrics.log_metric("rows", measured.rows)
    for name, each in measured.candidates.items():
        metrics.log_metric(f"{name}_accuracy", round(each.score.accuracy.value, 4))
        metrics.log_metric(f"{name}_loss_points", round(each.score.loss_points.value, 2))
        metrics.log_metric(f"{name}_latency_ms", round(each.latency.cpu_median_ms, 3))
        metrics.log_metric(f"{name}_speedup", round(each.speedup, 2))
        metrics.log_metric(f"{name}_parameters", each.parameters["total"])


def log_confusion(measured: Evaluation, confusion: Any) -> None:
    """Logs the teacher's worst intents to a `dsl.ClassificationMetrics` artifact.

    Nothing is logged for task `answer`, which has no classes.
    """
    classes = measured.candidates[TEACHER].score.classes
    known = [name for name, score in classes.items() if score.rows]
    worst = sorted(known, key=lambda name: (classes[name].recall, name))[:CONFUSED_INTENTS]
    if not worst:
        return
    names = [*worst, OTHER]
    matrix = []
    for name in worst:
        taken = dict(classes[name].mistaken_for)
        counts = [taken.get(other, 0) for other in worst]
        counts[worst.index(name)] = round(classes[name].recall * classes[name].rows)
        matrix.append([*counts, classes[name].rows - sum(counts)])
    matrix.append([0] * len(names))
    confusion.log_confusion_matrix(names, matrix)
