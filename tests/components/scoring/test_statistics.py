"""Intervals hold what they promise, and classes are scored as scikit-learn scores them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, recall_score

from components.scoring.statistics import (
    accuracy_interval,
    class_scores,
    hits,
    macro_f1,
    macro_recall,
    paired_loss,
)


def test_interval_is_as_wide_as_the_binomial_s() -> None:
    scored = hits([1.0] * 900 + [0.0] * 100)
    found = accuracy_interval(scored, seed=1)
    margin = 1.96 * (0.9 * 0.1 / 1000) ** 0.5
    assert found.value == pytest.approx(0.9)
    assert found.low == pytest.approx(0.9 - margin, abs=0.003)
    assert found.high == pytest.approx(0.9 + margin, abs=0.003)


def test_same_seed_gives_the_same_interval_and_another_one_another() -> None:
    scored = hits(np.random.default_rng(0).random(300).tolist())
    assert accuracy_interval(scored, seed=1) == accuracy_interval(scored, seed=1)
    assert accuracy_interval(scored, seed=1) != accuracy_interval(scored, seed=2)


def test_paired_loss_is_narrower_than_the_accuracies_are() -> None:
    reference = hits([1.0] * 800 + [0.0] * 200)
    other = hits([1.0] * 790 + [0.0] * 210)
    loss = paired_loss(reference, other, seed=1)
    assert loss.value == pytest.approx(1.0)
    assert 0.3 < loss.low < 1.0 < loss.high < 1.8
    same = paired_loss(reference, reference, seed=1)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="same rows"):
        paired_loss(reference, hits([1.0]), seed=1)


def test_rows_with_many_tokens_weigh_more() -> None:
    assert hits([9.0, 0.0], [10.0, 90.0]).share == pytest.approx(0.09)


def test_nothing_to_score_is_nothing() -> None:
    empty = accuracy_interval(hits([]), seed=1)
    assert (empty.value, empty.low, empty.high) == (0.0, 0.0, 0.0)
    assert macro_f1({}) == macro_recall({}) == 0.0


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcde")), min_size=1))
def test_classes_are_scored_as_scikit_learn_does(pairs: list[tuple[str, str]]) -> None:
    wanted, predicted = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    scores = class_scores(wanted, predicted)
    assert macro_f1(scores) == pytest.approx(
        f1_score(wanted, predicted, average="macro", zero_division=0)
    )
    labels = sorted(set(wanted))
    assert [scores[label].recall for label in labels] == pytest.approx(
        recall_score(wanted, predicted, labels=labels, average=None, zero_division=0)
    )
    for name, score in scores.items():
        wrong = sum(count for _, count in score.mistaken_for)
        assert wrong + round(score.recall * score.rows) == score.rows, name


@settings(deadline=None, max_examples=50)
@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(0, 5))
def test_interval_holds_its_value(right: list[bool], seed: int) -> None:
    found = accuracy_interval(hits([float(each) for each in right]), seed, resamples=200)
    assert 0.0 <= found.low <= found.high <= 1.0
    assert found.low - 1e-9 <= found.value <= found.high + 1e-9
