"""What tickets look like to a model: its intents, what is out of scope, how sure it is.

The same few numbers are taken of the validation tickets when a winner is chosen (`reference.json`
beside the selection, registered with the model) and of live traffic from a server's metrics, so
that the one can be compared with the other.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kg_schema.errors import InputError
from serving.contracts import IntentPrediction
from serving.decision import OUT_OF_SCOPE, seen_intent
from serving.plans import default_plans

REFERENCE_NAME = "reference.json"
TRAFFIC_TAG = "traffic_stamp"
"""Live traffic that a champion was left to: from then on it is compared with instead."""
# What serving/telemetry.py counts.
INTENTS_METRIC = "deskgraph_intents_total"
CONFIDENCE_SUM_METRIC = "deskgraph_intent_confidence_sum"


@dataclass(frozen=True)
class Traffic:
    """Tickets as a model saw them.

    Attributes:
        intents: Tickets by intent, those out of scope left out.
        out_of_scope: Tickets that no intent is meant by.
        confidence: Mean confidence of the likeliest intent, 0 to 1.
        spread: Standard deviation of the confidence; 0 where it is not known.
    """

    intents: Mapping[str, int]
    out_of_scope: int = 0
    confidence: float = 0.0
    spread: float = 0.0

    @property
    def in_scope(self) -> int:
        """Tickets that an intent is meant by."""
        return sum(self.intents.values())

    @property
    def tickets(self) -> int:
        """All of them."""
        return self.in_scope + self.out_of_scope

    @property
    def out_of_scope_share(self) -> float:
        """Of all tickets; 0 where there are none."""
        return self.out_of_scope / self.tickets if self.tickets else 0.0

    def __add__(self, other: Traffic) -> Traffic:
        """Both together; how the confidence of both spreads is not known."""
        tickets = self.tickets + other.tickets
        confidence = self.confidence * self.tickets + other.confidence * other.tickets
        return Traffic(
            Counter(self.intents) + Counter(other.intents),
            self.out_of_scope + other.out_of_scope,
            confidence / tickets if tickets else 0.0,
        )

    def as_json(self) -> dict[str, Any]:
        """As plain values; intents that were never seen are left out."""
        return {
            "intents": {label: count for label, count in sorted(self.intents.items()) if count},
            "out_of_scope": self.out_of_scope,
            "confidence": round(self.confidence, 6),
            "spread": round(self.spread, 6),
        }

    @classmethod
    def parse(cls, content: Mapping[str, Any], where: str) -> Traffic:
        """Reads what `as_json` gave.

        Raises:
            InputError: It is something else.
        """
        try:
            return cls(
                {str(label): int(count) for label, count in content["intents"].items()},
                int(content["out_of_scope"]),
                float(content["confidence"]),
                float(content["spread"]),
            )
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"no account of traffic: {error!r}", where=where) from error


@dataclass(frozen=True)
class Reference:
    """What a champion was made from, kept beside it to compare with.

    Attributes:
        labels: The intents it knows; none for a text generator.
        traffic: What the chosen model saw in the validation tickets; None for a text generator.
    """

    labels: tuple[str, ...]
    traffic: Traffic | None

    def write(self, folder: Path) -> None:
        """Writes `reference.json` into a folder."""
        traffic = self.traffic.as_json() if self.traffic else None
        content = {"schema_version": 1, "labels": list(self.labels), "traffic": traffic}
        text = json.dumps(content, indent=1, ensure_ascii=False)
        (folder / REFERENCE_NAME).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Reference:
        """Reads what `write` wrote.

        Raises:
            InputError: It is something else.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            labels = tuple(str(label) for label in content["labels"])
            traffic = content["traffic"]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise InputError(f"no reference: {error!r}", where=str(path)) from error
        return cls(labels, None if traffic is None else Traffic.parse(traffic, str(path)))


def seen_by_model(predictions: Iterable[tuple[str, float]], threshold: float) -> Traffic:
    """Counts predictions as serving counts them.

    Args:
        predictions: The likeliest intent of each ticket, and its confidence.
        threshold: A confidence below it means that no intent is meant.
    """
    plans = default_plans()
    seen = [
        seen_intent(IntentPrediction(label=label, confidence=confidence), threshold, plans)
        for label, confidence in predictions
    ]
    counts = Counter(each.label for each in seen)
    outside = counts.pop(OUT_OF_SCOPE, 0)
    mean = sum(each.confidence for each in seen) / len(seen) if seen else 0.0
    squares = sum((each.confidence - mean) ** 2 for each in seen)
    return Traffic(dict(counts), outside, mean, math.sqrt(squares / max(1, len(seen) - 1)))


def read_metrics(exposition: str) -> Traffic:
    """Reads what a server says of the tickets it answered.

    Args:
        exposition: What its `/metrics` says, in Prometheus' text format. A server that has
            answered nothing yet counts nothing.

    Raises:
        ValueError: It is no exposition.
    """
    from prometheus_client.parser import text_string_to_metric_families

    counts: Counter[str] = Counter()
    confidence = 0.0
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            if sample.name == INTENTS_METRIC:
                counts[sample.labels["intent"]] += round(sample.value)
            elif sample.name == CONFIDENCE_SUM_METRIC:
                confidence += sample.value
    tickets = sum(counts.values())
    outside = counts.pop(OUT_OF_SCOPE, 0)
    return Traffic(dict(counts), outside, confidence / tickets if tickets else 0.0)
