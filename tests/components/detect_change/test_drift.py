"""The statistics of drift: what they must be for any traffic, and what chance alone must not do."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.detect_change.drift import chance_divergence, compare, divergence
from components.detect_change.settings import DetectSettings
from components.traffic import Traffic
from kg_schema.errors import InputError

MIXES = st.dictionaries(
    st.sampled_from("abcdefgh"), st.integers(0, 10_000), min_size=1, max_size=8
).filter(lambda mix: any(mix.values()))
SETTINGS = DetectSettings()


def traffic(
    mix: dict[str, int], outside: int = 0, confidence: float = 0.9, spread: float = 0.2
) -> Traffic:
    return Traffic(mix, outside, confidence, spread)


def drifted(reference: Traffic, live: Traffic) -> list[str]:
    return [each.name for each in compare(reference, live, SETTINGS) if each.drifted]


@given(MIXES, MIXES)
def test_divergence_is_symmetric_and_bounded(one: dict[str, int], other: dict[str, int]) -> None:
    assert divergence(one, other) == pytest.approx(divergence(other, one), abs=1e-12)
    assert 0 <= divergence(one, other) <= 1


@given(MIXES, st.integers(1, 50))
def test_it_is_zero_for_equal_mixes_of_any_size(mix: dict[str, int], factor: int) -> None:
    larger = {label: factor * count for label, count in mix.items()}
    assert divergence(mix, larger) == pytest.approx(0, abs=1e-12)


def test_it_is_one_for_mixes_with_nothing_in_common_and_known_in_between() -> None:
    assert divergence({"a": 3, "b": 1}, {"c": 5}) == pytest.approx(1)
    # H(3/4, 1/4) - (H(1, 0) + H(1/2, 1/2)) / 2
    assert divergence({"a": 1}, {"a": 1, "b": 1}) == pytest.approx(0.8112781 - 0.5)
    assert divergence({"a": 9}, {"a": 9, "b": 1}) == pytest.approx(0.0519, abs=1e-3)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.integers(2, 150), st.integers(200, 2000), st.integers(0, 2**32), st.floats(0, 1.5))
def test_samples_of_one_mix_do_not_alarm(names: int, tickets: int, seed: int, skew: float) -> None:
    dice = random.Random(seed)  # noqa: S311
    labels = [f"i{number}" for number in range(names)]
    weights = [1 / (1 + number) ** skew for number in range(names)]

    def sample(count: int) -> Traffic:
        mix = Counter(dice.choices(labels, weights, k=count))
        outside = sum(dice.random() < 0.1 for _ in range(count))
        sure = sum(dice.betavariate(5, 1) for _ in range(count)) / count
        return traffic(dict(mix), outside, sure, 0.14)

    assert drifted(sample(1200), sample(tickets)) == []


@given(MIXES, st.integers(0, 99), st.floats(0, 1))
def test_few_tickets_are_not_judged(mix: dict[str, int], outside: int, confidence: float) -> None:
    few = {label: count % 13 for label, count in mix.items()}
    live = traffic(few, outside, confidence)
    assert live.tickets < SETTINGS.min_tickets
    assert compare(traffic(mix), live, SETTINGS) == []


def test_a_small_reference_widens_what_chance_explains() -> None:
    live = traffic({"a": 150, "b": 150})
    assert drifted(traffic({"a": 7, "b": 3}), live) == []
    assert drifted(traffic({"a": 700, "b": 300}), live) == []
    assert drifted(traffic({"a": 1000, "b": 10}), live) == ["intent mix"]
    many, few = {"a": 700, "b": 300}, {"a": 7, "b": 3}
    assert 0 < chance_divergence(many, many) < chance_divergence(few, many) < 0.3
    assert chance_divergence(many, few) == pytest.approx(chance_divergence(few, many), rel=0.2)
    assert chance_divergence({"a": 10}, {"a": 20}) == 0


def test_each_kind_of_drift_is_told_by_itself() -> None:
    reference = traffic({"a": 500, "b": 500}, outside=50)
    same = traffic({"a": 250, "b": 250}, outside=25)
    assert drifted(reference, same) == []
    assert drifted(reference, traffic({"a": 250, "b": 50, "c": 200}, 25)) == ["intent mix"]
    assert drifted(reference, traffic({"a": 250, "b": 250}, 120)) == ["out of scope"]
    assert drifted(reference, traffic({"a": 250, "b": 250}, 0)) == []  # fewer is no worry
    assert drifted(reference, traffic({"a": 250, "b": 250}, 25, confidence=0.8)) == ["confidence"]
    assert drifted(reference, traffic({"a": 250, "b": 250}, 25, confidence=0.99)) == []
    (mix, *_) = compare(reference, traffic({"a": 250, "c": 250}, 25), SETTINGS)
    assert mix.said.startswith("c grew most, from 0.0% to 50.0%")


def test_all_out_of_scope_still_says_so() -> None:
    assert drifted(traffic({"a": 1000}), traffic({}, 500)) == ["out of scope"]


@pytest.mark.parametrize(
    "wrong", [{"min_tickets": 0}, {"mix_divergence": 0.0}, {"confidence_drop": 1.5}]
)
def test_thresholds_that_mean_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        DetectSettings(**wrong)  # type: ignore[arg-type]
