"""From logits to a confidence that can be believed: a temperature and a least confidence.

The temperature is the one of Guo et al. 2017: one number, fitted by the likelihood of labels the
model was not trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

LOWEST, HIGHEST = 0.05, 20.0
MOST = 0.5
"""No threshold is higher: a class likelier than all others together is never turned away."""
STEPS = 60
OUT_OF_SCOPE = ("out_of_scope", "oos")
"""What data sets call tickets that are none of our business, in small letters and underscores."""
GOLDEN = (5**0.5 - 1) / 2


def out_of_scope_label(labels: Sequence[str], name: str = "") -> str | None:
    """Returns the label that stands for out of scope; None where there is none.

    Args:
        labels: Of the model.
        name: The one, where it is known; empty looks for one of `OUT_OF_SCOPE`.
    """
    if name:
        return name if name in labels else None
    plain = {label.lower().replace("-", "_").replace(" ", "_"): label for label in labels}
    return next((plain[each] for each in OUT_OF_SCOPE if each in plain), None)


def softmax(logits: Array, temperature: float) -> Array:
    """Returns the probabilities [rows, classes] of logits / temperature."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(-1, keepdims=True)
    grown = np.exp(scaled)
    shares: Array = grown / grown.sum(-1, keepdims=True)
    return shares


def log_loss(logits: Array, labels: Array, temperature: float) -> float:
    """Returns the mean negative log-likelihood of the labels, in nats."""
    chosen = softmax(logits, temperature)[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(chosen, 1e-300)).mean())


def fit_temperature(logits: Array, labels: Array) -> float:
    """Returns the temperature, between 0.05 and 20, under which the labels are likeliest.

    Golden-section search over its logarithm: the loss is convex in 1 / temperature, so it has one
    minimum. The labels give up 1 / (rows + 2) of their mass to the other classes (Platt 1999):
    else rows that are all right would ask for certainty. Without rows it is 1.
    """
    if not len(labels):
        return 1.0
    low, high = np.log(LOWEST), np.log(HIGHEST)
    for _ in range(STEPS):
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        if _softened(logits, labels, left) <= _softened(logits, labels, right):
            high = right
        else:
            low = left
    return round(float(np.exp((low + high) / 2)), 4)


def _softened(logits: Array, labels: Array, log_temperature: float) -> float:
    """Returns the loss against labels that leave some mass to every other class."""
    given = 1 / (len(labels) + 2)
    logs = np.log(np.maximum(softmax(logits, float(np.exp(log_temperature))), 1e-300))
    right = logs[np.arange(len(labels)), labels]
    others = (logs.sum(-1) - right) / max(logits.shape[-1] - 1, 1)
    return float(-((1 - given) * right + given * others).mean())


def fit_threshold(
    probabilities: Array, labels: Array, out_of_scope: int | None, max_rejected: float
) -> float:
    """Returns the least confidence with which a prediction counts as in scope.

    Among the thresholds that turn away at most `max_rejected` of the rightly predicted in-scope
    rows, the one that best parts them from the out-of-scope rows that the class itself missed.
    Without such rows there is nothing to part from: half of the allowed share is turned away. It
    is never above one half.

    Args:
        probabilities: [rows, classes], calibrated.
        labels: [rows].
        out_of_scope: Index of the out-of-scope class; None where there is none.
        max_rejected: A share of the rightly predicted in-scope rows.
    """
    confidence, chosen = probabilities.max(-1), probabilities.argmax(-1)
    inside = labels != (-1 if out_of_scope is None else out_of_scope)
    right = np.sort(confidence[inside & (chosen == labels)])
    if not len(right):
        return 0.0
    missed = np.sort(confidence[~inside & (chosen != labels)])
    if not len(missed):
        return min(MOST, float(np.quantile(right, max_rejected / 2, method="lower")))
    highest = min(MOST, float(right[int(max_rejected * len(right))]))
    steps = [step for step in (0.0, *np.nextafter(missed, 2.0)) if step <= highest]
    rejected = np.searchsorted(right, steps, side="left") / len(right)
    caught = np.searchsorted(missed, steps, side="left") / len(missed)
    return float(steps[int(np.argmax(caught - rejected))])
