"""The rule: the cheapest candidate that loses little against the teacher and the champion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from components.scoring.scores import TEACHER
from components.scoring.statistics import Interval


@dataclass(frozen=True)
class Contender:
    """What the rule looks at.

    Attributes:
        latency_ms: What a request costs.
        loss_points: Accuracy lost against the teacher, in points.
        champion_loss_points: Accuracy lost against the champion on the labels both know; None
            where there is no champion or no label in common.
        accuracy: Share that was right on the validation split.
        new_labels: Intents that the champion does not know.
    """

    latency_ms: float
    loss_points: Interval
    champion_loss_points: Interval | None
    accuracy: float
    new_labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Budget:
    """What may be lost.

    Attributes:
        points: Most points lost against the teacher; the upper 95% bound may be twice that. Against
            the champion too, for a candidate that knows an intent which the champion does not.
        champion_points: Most points lost against the champion, and only where zero lies within
            the interval: a difference the rows cannot tell from none.
        min_accuracy: Least accuracy that is let through.
        replace_equal: Whether a candidate that is no better than the champion is let through.
    """

    points: float
    champion_points: float
    min_accuracy: float
    replace_equal: bool = True


@dataclass(frozen=True)
class Choice:
    """What the rule decided.

    Attributes:
        winner: Name of a candidate.
        passed: Whether it may be registered.
        reason: One sentence.
        verdicts: Per candidate, why it was taken or not.
    """

    winner: str
    passed: bool
    reason: str
    verdicts: Mapping[str, str]


def choose(contenders: Mapping[str, Contender], budget: Budget) -> Choice:
    """Applies the rule; the teacher, losing nothing against itself, is always within the budget."""
    order = sorted(contenders, key=lambda name: (contenders[name].latency_ms, name))
    within = [name for name in order if not _over_budget(name, contenders[name], budget)]
    passing = [name for name in within if not _refused(contenders[name], budget)]
    winner = passing[0] if passing else within[0]
    refused = _refused(contenders[winner], budget)
    against = refused or _not_better(contenders[winner], budget)
    verdicts = {}
    for name in order:
        if name == winner:
            verdicts[name] = against or "chosen: the cheapest that passes"
        else:
            over = _over_budget(name, contenders[name], budget)
            verdicts[name] = (
                over or _refused(contenders[name], budget) or "passes, at a higher latency"
            )
    if refused:
        reason = f"no candidate passes; {_shown(winner)} {refused}"
    elif against:
        reason = f"the cheapest that passes, {_shown(winner)}, {against}"
    else:
        reason = _praise(winner, contenders[winner], budget)
    return Choice(winner, not against, reason, verdicts)


def _over_budget(name: str, contender: Contender, budget: Budget) -> str:
    """Says why a candidate loses too much against the teacher; empty if it does not."""
    return "" if name == TEACHER else _over(contender.loss_points, budget)


def _over(loss: Interval, budget: Budget) -> str:
    if loss.value > budget.points:
        return f"loses {loss.value:.2f} points, more than {budget.points:g}"
    if loss.high > 2 * budget.points:
        return f"may lose {loss.high:.2f} points (95%), more than {2 * budget.points:g}"
    return ""


def _refused(contender: Contender, budget: Budget) -> str:
    """Says why a candidate may not replace what is served; empty if it may."""
    if contender.accuracy < budget.min_accuracy:
        return f"{contender.accuracy:.2%} right, less than {budget.min_accuracy:.2%}"
    loss = contender.champion_loss_points
    if loss is None:
        return ""
    if contender.new_labels:
        over = _over(loss, budget)
        return f"{over}, on the champion's intents" if over else ""
    if loss.value > budget.champion_points:
        return f"loses {loss.value:.2f} points against the champion"
    if loss.value > 0 and loss.low > 0:
        return f"is worse than the champion by {loss.value:.2f} points, beyond doubt"
    return ""


def _not_better(contender: Contender, budget: Budget) -> str:
    """Says why what is served may as well stay; empty if it should not, or is not asked to."""
    loss = contender.champion_loss_points
    if budget.replace_equal or loss is None or contender.new_labels or loss.value < 0:
        return ""
    return "is no better than the champion"


def _shown(name: str) -> str:
    return name.replace("_", " + ")


def _praise(name: str, contender: Contender, budget: Budget) -> str:
    new = ", ".join(contender.new_labels)
    more = f"; knows what the champion does not: {new}" if new else ""
    if name == TEACHER:
        least = f"{budget.points:g}"
        return f"no smaller candidate loses as little as the budget of {least} allows{more}"
    loss = contender.loss_points
    return (
        f"{_shown(name)} is the cheapest within the budget: "
        f"{contender.latency_ms:.2f} ms a ticket, "
        f"{loss.value:.2f} points lost (95% {loss.low:.2f} to {loss.high:.2f}){more}"
    )
