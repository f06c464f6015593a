"""Candidates whose answers are known are measured as such, through what serves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from components.evaluate.evaluation import EvaluateSettings, Evaluation, evaluate_candidates
from components.evaluate.page import log_confusion, log_metrics
from kg_schema.errors import InputError
from serving.manifest import ManifestError, verify_manifest

QUICK = EvaluateSettings(latency_repeats=20, resamples=200)


@pytest.fixture(scope="module")
def evaluation(
    word_candidates: dict[str, str], word_shards: str, tmp_path_factory: pytest.TempPathFactory
) -> Evaluation:
    out = tmp_path_factory.mktemp("evaluated") / "evaluation"
    return evaluate_candidates(word_candidates, word_shards, str(out), QUICK)


def test_accuracy_loss_and_cost_are_what_the_models_are(evaluation: Evaluation) -> None:
    rows = evaluation.candidates
    assert rows["teacher"].score.accuracy.value == rows["pruned"].score.accuracy.value == 1.0
    lost = {name: each.score.loss_points for name, each in rows.items()}
    assert lost["teacher"].value == lost["teacher"].high == lost["pruned"].value == 0.0
    assert 1 < lost["distilled"].value < 9, "one word of 24 is not known"
    assert lost["distilled"].low < lost["distilled"].value < lost["distilled"].high
    assert lost["distilled"].value < lost["pruned_distilled"].value
    assert rows["pruned_distilled"].speedup > rows["distilled"].speedup > 1.0
    assert rows["distilled"].cut["total"] == pytest.approx(0.9)


def test_unknown_words_show_in_recall_and_confusion(evaluation: Evaluation) -> None:
    classes = evaluation.candidates["distilled"].score.classes
    assert classes["battery"].recall == classes["price"].recall == 1.0
    assert 0.7 < classes["return"].recall < 1.0
    assert classes["return"].mistaken_for[0][0] == "battery"
    assert evaluation.candidates["distilled"].score.macro_f1 < 1.0


def test_files_hold_the_numbers_and_every_prediction(evaluation: Evaluation) -> None:
    folder = Path(evaluation.out)
    verify_manifest(folder, "evaluation")
    content = json.loads((folder / "evaluation.json").read_text())
    assert content["rows"] == evaluation.rows
    assert content["machine"]["threads"] == 1
    for name, each in evaluation.candidates.items():
        table = pq.read_table(folder / "predictions" / f"{name}.parquet")
        assert table.num_rows == evaluation.rows
        share = sum(table["right"].to_pylist()) / table.num_rows
        assert share == pytest.approx(each.score.accuracy.value)
        assert content["candidates"][name]["onnx_bytes"] == each.onnx_bytes > 0


def test_accuracies_do_not_depend_on_the_run(
    evaluation: Evaluation, word_candidates: dict[str, str], word_shards: str, tmp_path: Path
) -> None:
    again = evaluate_candidates(word_candidates, word_shards, str(tmp_path / "again"), QUICK)
    for name, each in again.candidates.items():
        assert each.score == evaluation.candidates[name].score


def test_language_models_are_scored_on_the_tokens_of_the_answers(
    word_writers: dict[str, str], word_shards: str, tmp_path: Path
) -> None:
    settings = EvaluateSettings(task="answer", latency_repeats=5, resamples=100)
    measured = evaluate_candidates(word_writers, word_shards, str(tmp_path / "e"), settings)
    # of "look", the word, "up" and the end, the word after "look" cannot be known
    assert measured.candidates["teacher"].score.accuracy.value == pytest.approx(0.75)
    assert measured.candidates["pruned_distilled"].score.accuracy.value == pytest.approx(0.5)
    assert measured.candidates["pruned_distilled"].score.loss_points.value == pytest.approx(25)
    perplexities = [each.score.perplexity for each in measured.candidates.values()]
    assert 1 < perplexities[0] == perplexities[1] < perplexities[3]
    assert measured.labels == () and measured.candidates["teacher"].score.classes == {}


def test_what_does_not_fit_is_refused(
    word_candidates: dict[str, str], word_shards: str, tmp_path: Path
) -> None:
    out = str(tmp_path / "out")
    with pytest.raises(InputError, match="no candidate 'teacher'"):
        evaluate_candidates({"pruned": word_candidates["pruned"]}, word_shards, out, QUICK)
    with pytest.raises(InputError, match="a model for task 'intent'"):
        evaluate_candidates(word_candidates, word_shards, out, EvaluateSettings(task="answer"))
    with pytest.raises(ManifestError):
        evaluate_candidates({"teacher": str(tmp_path)}, word_shards, out, QUICK)
    with pytest.raises(InputError):
        EvaluateSettings(latency_repeats=0)
    assert not Path(out).exists()


class _Artifact:
    def __init__(self) -> None:
        self.logged: dict[str, float] = {}
        self.matrix: tuple[list[str], list[list[int]]] | None = None

    def log_metric(self, name: str, value: float) -> None:
        self.logged[name] = value

    def log_confusion_matrix(self, names: list[str], matrix: list[list[int]]) -> None:
        self.matrix = (names, matrix)


def test_pages_get_numbers_and_a_matrix(evaluation: Evaluation) -> None:
    artifact: Any = _Artifact()
    log_metrics(evaluation, artifact)
    log_confusion(evaluation, artifact)
    assert artifact.logged["distilled_loss_points"] > 0
    names, matrix = artifact.matrix
    assert len(matrix) == len(names) == 4
    assert sum(map(sum, matrix)) == evaluation.rows
