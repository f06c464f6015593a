"""The rule, case by case: cheapest within the budget, no worse than what is served."""

from __future__ import annotations

import pytest

from components.scoring.statistics import Interval
from components.select.rule import Budget, Contender, choose

BUDGET = Budget(points=1.0, champion_points=0.5, min_accuracy=0.0)
NOTHING = Interval(0.0, 0.0, 0.0)


def _contender(
    latency_ms: float,
    loss: Interval = NOTHING,
    against_champion: Interval | None = None,
    accuracy: float = 0.9,
) -> Contender:
    return Contender(latency_ms, loss, against_champion, accuracy)


def test_the_cheapest_within_the_budget_wins() -> None:
    choice = choose(
        {
            "teacher": _contender(8.0),
            "pruned": _contender(4.0, Interval(0.2, -0.1, 0.6)),
            "distilled": _contender(2.0, Interval(0.9, 0.2, 1.7)),
            "pruned_distilled": _contender(1.0, Interval(1.1, 0.4, 1.9)),
        },
        BUDGET,
    )
    assert (choice.winner, choice.passed) == ("distilled", True)
    assert choice.verdicts["pruned_distilled"].startswith("loses 1.10 points")
    assert choice.verdicts["pruned"] == "passes, at a higher latency"


def test_a_wide_interval_does_not_pass() -> None:
    choice = choose(
        {"teacher": _contender(8.0), "pruned": _contender(4.0, Interval(0.5, -1.2, 2.1))}, BUDGET
    )
    assert choice.winner == "teacher"
    assert "may lose 2.10 points" in choice.verdicts["pruned"]
    assert "no smaller candidate" in choice.reason


def test_the_teacher_is_always_there_to_fall_back_on() -> None:
    choice = choose(
        {"teacher": _contender(8.0), "pruned": _contender(1.0, Interval(9.0, 8.0, 10.0))}, BUDGET
    )
    assert (choice.winner, choice.passed) == ("teacher", True)


@pytest.mark.parametrize(
    ("loss", "passed"),
    [
        (Interval(-1.0, -2.0, 0.0), True),
        (Interval(0.0, 0.0, 0.0), True),
        (Interval(0.4, -0.1, 0.9), True),
        (Interval(0.4, 0.1, 0.7), False),
        (Interval(0.6, -0.3, 1.5), False),
    ],
)
def test_worse_than_the_champion_is_refused(loss: Interval, passed: bool) -> None:
    choice = choose({"teacher": _contender(8.0, against_champion=loss)}, BUDGET)
    assert choice.passed is passed
    assert ("champion" in choice.reason) is not passed


def test_a_dearer_candidate_that_matches_the_champion_is_taken() -> None:
    choice = choose(
        {
            "teacher": _contender(8.0, against_champion=NOTHING),
            "pruned": _contender(1.0, Interval(0.9, 0.5, 1.4), Interval(0.9, 0.5, 1.4)),
        },
        BUDGET,
    )
    assert (choice.winner, choice.passed) == ("teacher", True)
    assert "champion" in choice.verdicts["pruned"]


def test_where_none_passes_the_cheapest_is_named_and_refused() -> None:
    worse = Interval(3.0, 2.0, 4.0)
    choice = choose(
        {
            "teacher": _contender(8.0, against_champion=worse),
            "pruned": _contender(1.0, against_champion=worse),
        },
        BUDGET,
    )
    assert (choice.winner, choice.passed) == ("pruned", False)
    assert "no candidate passes" in choice.reason


def test_least_accuracy_is_asked_for() -> None:
    budget = Budget(1.0, 0.5, min_accuracy=0.95)
    choice = choose({"teacher": _contender(8.0, accuracy=0.9)}, budget)
    assert not choice.passed and "90.00% right" in choice.reason


KEEP = Budget(points=1.0, champion_points=0.0, min_accuracy=0.0, replace_equal=False)


@pytest.mark.parametrize(
    ("loss", "passed"),
    [
        (Interval(-0.4, -0.9, 0.1), True),
        (NOTHING, False),
        (Interval(0.4, -0.1, 0.9), False),
        (None, True),
    ],
)
def test_what_serves_stays_unless_the_candidate_is_better(
    loss: Interval | None, passed: bool
) -> None:
    choice = choose({"teacher": _contender(8.0, against_champion=loss)}, KEEP)
    assert choice.passed is passed
    assert ("champion" in choice.reason) is not passed
    assert choice.reason.endswith(choice.verdicts["teacher"]) is not passed


def test_a_dearer_candidate_does_not_replace_what_the_cheapest_equals() -> None:
    better = Interval(-0.5, -1.0, -0.1)
    choice = choose(
        {
            "teacher": _contender(8.0, against_champion=better),
            "pruned": _contender(1.0, Interval(0.5, 0.1, 0.9), NOTHING),
        },
        KEEP,
    )
    assert (choice.winner, choice.passed) == ("pruned", False)
    assert choice.reason == "the cheapest that passes, pruned, is no better than the champion"
    assert choice.verdicts["teacher"] == "passes, at a higher latency"


@pytest.mark.parametrize("budget", [KEEP, BUDGET])
@pytest.mark.parametrize(
    ("loss", "passed"),
    [
        (NOTHING, True),
        (Interval(0.9, 0.2, 1.6), True),
        (Interval(1.1, 0.5, 1.6), False),
        (Interval(0.5, -1.2, 2.2), False),
    ],
)
def test_a_new_intent_is_let_in_within_the_budget_on_the_old_ones(
    loss: Interval, passed: bool, budget: Budget
) -> None:
    contender = Contender(8.0, NOTHING, loss, 0.9, new_labels=("trade_in",))
    choice = choose({"teacher": contender}, budget)
    assert choice.passed is passed
    assert ("knows what the champion does not: trade_in" in choice.reason) is passed
    assert ("on the champion's intents" in choice.reason) is not passed
