import numpy as np
import pytest

from components.export.confidence import (
    fit_temperature,
    fit_threshold,
    log_loss,
    out_of_scope_label,
    softmax,
)


def drawn(temperature: float, rows: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose labels really follow softmax(logits / temperature)."""
    random = np.random.default_rng(5)
    logits = random.normal(size=(rows, 5)) * 3
    shares = softmax(logits, temperature).cumsum(-1)
    return logits, (random.random((rows, 1)) > shares).sum(-1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_the_labels_follow_is_found(temperature: float) -> None:
    logits, labels = drawn(temperature)
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(temperature, rel=0.05)
    assert log_loss(logits, labels, found) <= log_loss(logits, labels, 1.0) + 1e-9


def test_without_rows_the_temperature_is_one() -> None:
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, dtype=int)) == 1.0


def test_rows_that_are_all_right_do_not_ask_for_certainty() -> None:
    labels = np.arange(100) % 5
    assert 0.2 < fit_temperature(np.eye(5)[labels] * 4, labels) < 1.5


def rows_with(confidences: list[float], chosen: list[int]) -> np.ndarray:
    table = np.zeros((len(chosen), 3))
    for row, (confidence, choice) in enumerate(zip(confidences, chosen, strict=True)):
        table[row] = (1 - confidence) / 2
        table[row, choice] = confidence
    return table


def test_the_threshold_parts_missed_out_of_scope_rows() -> None:
    right = np.linspace(0.48, 0.99, 100)
    missed = [0.35, 0.4, 0.45]
    table = rows_with([*right, *missed], [0] * 100 + [1] * 3)
    labels = np.array([0] * 100 + [2] * 3)
    threshold = fit_threshold(table, labels, out_of_scope=2, max_rejected=0.02)
    assert 0.45 < threshold <= 0.48


def test_the_threshold_turns_away_no_more_than_allowed() -> None:
    right = np.linspace(0.34, 0.99, 100)
    table = rows_with([*right, *([0.36] * 50)], [0] * 100 + [1] * 50)
    labels = np.array([0] * 100 + [2] * 50)
    threshold = fit_threshold(table, labels, out_of_scope=2, max_rejected=0.05)
    assert 0 < (right < threshold).mean() <= 0.05


def test_without_out_of_scope_rows_a_low_quantile_is_taken() -> None:
    right = np.linspace(0.34, 0.99, 200)
    table = rows_with(list(right), [0] * 200)
    threshold = fit_threshold(table, np.zeros(200, dtype=int), None, max_rejected=0.02)
    assert (right < threshold).mean() == pytest.approx(0.01, abs=0.006)


def test_what_is_likelier_than_all_else_is_never_turned_away() -> None:
    table = rows_with([0.99] * 50 + [0.98] * 9, [0] * 50 + [1] * 9)
    labels = np.array([0] * 50 + [2] * 9)
    assert fit_threshold(table, labels, 2, 0.02) <= 0.5
    assert fit_threshold(table[:50], labels[:50], None, 0.02) == 0.5


def test_nothing_right_means_no_threshold() -> None:
    assert fit_threshold(rows_with([0.9], [0]), np.array([1]), None, 0.02) == 0.0


def test_the_out_of_scope_label_is_known_by_its_usual_names() -> None:
    assert out_of_scope_label(["a", "oos"]) == "oos"
    assert out_of_scope_label(["Out-of-Scope", "a"]) == "Out-of-Scope"
    assert out_of_scope_label(["a", "b"]) is None
    assert out_of_scope_label(["a", "none of it"], "none of it") == "none of it"
    assert out_of_scope_label(["a", "oos"], "gone") is None
