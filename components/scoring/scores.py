"""The row of a candidate in a table: accuracy, loss against the teacher, classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from components.scoring.served import Reading, Row, Task, readings_hits
from components.scoring.statistics import (
    ClassScore,
    Interval,
    accuracy_interval,
    class_scores,
    macro_f1,
    macro_recall,
    paired_loss,
)

TEACHER = "teacher"
DIGITS = 6


@dataclass(frozen=True)
class Score:
    """How a candidate did on a split.

    Attributes:
        accuracy: Share that was right, of rows or, for task `answer`, of the answers' tokens.
        loss_points: Accuracy lost against the teacher on the same rows, in points.
        macro_f1: Mean F1 of the intents; 0 for task `answer`.
        macro_recall: Mean recall of the intents; 0 for task `answer`.
        perplexity: Of what is right; exp of the mean loss in nats.
        classes: Score of each intent; none for task `answer`.
    """

    accuracy: Interval
    loss_points: Interval
    macro_f1: float
    macro_recall: float
    perplexity: float
    classes: Mapping[str, ClassScore]

    def as_json(self) -> dict[str, Any]:
        """Returns plain numbers, rounded, for a JSON file."""
        content = asdict(self)
        content["classes"] = [
            {"name": name, **asdict(score), "mistaken_for": list(map(list, score.mistaken_for))}
            for name, score in self.classes.items()
        ]
        rounded: dict[str, Any] = round_floats(content)
        return rounded


def score_readings(
    readings: Mapping[str, Sequence[Reading]],
    rows: Sequence[Row],
    task: Task,
    *,
    seed: int,
    resamples: int,
) -> dict[str, Score]:
    """Scores every candidate on the same rows; the losses are against `teacher`."""
    reference = readings_hits(readings[TEACHER])
    scores = {}
    for name, read in readings.items():
        scored = readings_hits(read)
        classes = (
            class_scores([row.wanted for row in rows], [each.predicted for each in read])
            if task == "intent"
            else {}
        )
        mean_loss = sum(each.loss for each in read) / max(1.0, sum(each.of for each in read))
        scores[name] = Score(
            accuracy=accuracy_interval(scored, seed, resamples),
            loss_points=paired_loss(reference, scored, seed, resamples),
            macro_f1=macro_f1(classes),
            macro_recall=macro_recall(classes),
            perplexity=math.exp(min(mean_loss, 50.0)),
            classes=classes,
        )
    return scores


def round_floats(content: Any) -> Any:
    """Rounds every float of a JSON value to what a table can mean."""
    if isinstance(content, float):
        return round(content, DIGITS)
    if isinstance(content, Mapping):
        return {key: round_floats(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [round_floats(value) for value in content]
    return content
