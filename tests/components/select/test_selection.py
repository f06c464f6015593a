"""The choice is made on validation rows, and the test split is read once, after it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.evaluate.evaluation import EvaluateSettings, evaluate_candidates
from components.scoring import served
from components.select import selection as select_module
from components.select.selection import SelectSettings, select_candidate
from components.shard.sharding import ShardSettings, shard_tickets
from components.traffic import Reference
from kg_schema.errors import InputError
from serving.manifest import verify_manifest
from tests.components.conftest import LABELS, WORDS, without
from tests.components.word_models import write_intent_model

QUICK = SelectSettings(resamples=200, budget_points=6.0)


@pytest.fixture(scope="module")
def evaluation(
    word_candidates: dict[str, str], word_shards: str, tmp_path_factory: pytest.TempPathFactory
) -> str:
    out = str(tmp_path_factory.mktemp("evaluated") / "evaluation")
    settings = EvaluateSettings(latency_repeats=20, resamples=200)
    return evaluate_candidates(word_candidates, word_shards, out, settings).out


def test_the_cheapest_within_the_budget_is_chosen_and_tested(
    evaluation: str, word_candidates: dict[str, str], word_shards: str, tmp_path: Path
) -> None:
    out = tmp_path / "selection"
    result = select_candidate(evaluation, word_candidates, word_shards, str(out), QUICK)
    assert (result.winner, result.gate) == ("distilled", "true")
    assert set(result.test) == set(word_candidates)
    assert result.test["teacher"].accuracy.value == 1.0
    assert result.metrics["test_accuracy"] == pytest.approx(
        result.test["distilled"].accuracy.value, abs=1e-6
    )
    content = json.loads((out / "selection.json").read_text())
    assert content["winner"] == verify_manifest(out, "selection")["winner"] == "distilled"
    assert content["champion"] is None
    assert content["model"]["location"] == word_candidates["distilled"]
    assert content["verdicts"]["pruned_distilled"].startswith("loses")


def test_a_smaller_budget_takes_a_dearer_candidate(
    evaluation: str, word_candidates: dict[str, str], word_shards: str, tmp_path: Path
) -> None:
    settings = SelectSettings(resamples=200, budget_points=0.5)
    result = select_candidate(
        evaluation, word_candidates, word_shards, str(tmp_path / "s"), settings
    )
    assert result.winner == "pruned"


def test_the_test_split_is_read_once_and_after_the_choice(
    evaluation: str,
    word_candidates: dict[str, str],
    word_shards: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[str] = []

    def read_rows(shards: Path, split: str, task: served.Task) -> list[served.Row]:
        order.append(split)
        return served.read_rows(shards, split, task)

    def choose(*given: Any) -> Any:
        order.append("choice")
        return real(*given)

    real = select_module.choose
    monkeypatch.setattr(select_module, "read_rows", read_rows)
    monkeypatch.setattr(select_module, "choose", choose)
    select_candidate(evaluation, word_candidates, word_shards, str(tmp_path / "s"), QUICK)
    assert order == ["validation", "choice", "test"]


def test_a_champion_that_knows_more_keeps_its_place(
    evaluation: str, word_candidates: dict[str, str], word_shards: str, tmp_path: Path
) -> None:
    weak = {name: word_candidates["pruned_distilled"] for name in word_candidates}
    measured = evaluate_candidates(
        weak, word_shards, str(tmp_path / "e"), EvaluateSettings(latency_repeats=5, resamples=100)
    )
    result = select_candidate(
        measured.out, weak, word_shards, str(tmp_path / "s"), QUICK, word_candidates["teacher"]
    )
    assert result.gate == "false" and "champion" in result.reason
    content = json.loads((tmp_path / "s" / "selection.json").read_text())
    assert content["champion"]["accuracy"] == 1.0
    assert content["champion"]["winner_loss_points"] > 5


def test_a_champion_is_compared_on_the_labels_both_know(
    evaluation: str, word_candidates: dict[str, str], word_shards: str, tmp_path: Path
) -> None:
    known = without(WORDS, *(word for word in WORDS if WORDS[word] == "return"))
    champion = write_intent_model(tmp_path / "champion", LABELS[:2], known)
    result = select_candidate(
        evaluation, word_candidates, word_shards, str(tmp_path / "s"), QUICK, champion
    )
    content = json.loads((tmp_path / "s" / "selection.json").read_text())
    assert result.gate == "true"
    assert content["champion"]["new_labels"] == ["return"]
    assert content["champion"]["rows"] < content["rows"]["validation"]
    assert content["champion"]["accuracy"] == 1.0
    assert content["champion"]["loss_points"]["distilled"]["value"] == 0.0
    assert "knows what the champion does not: return" in result.reason


def test_a_retraining_keeps_a_champion_that_is_as_good_and_writes_what_the_winner_saw(
    evaluation: str, word_candidates: dict[str, str], word_shards: str, tmp_path: Path
) -> None:
    settings = SelectSettings(resamples=200, budget_points=6.0, replace_equal=False)
    champion = word_candidates["distilled"]
    result = select_candidate(
        evaluation, word_candidates, word_shards, str(tmp_path / "s"), settings, champion
    )
    assert (result.winner, result.gate) == ("distilled", "false")
    assert "no better than the champion" in result.reason
    reference = Reference.read(tmp_path / "s" / "reference.json")
    assert reference.labels == LABELS
    assert reference.traffic is not None
    rows = json.loads((tmp_path / "s" / "selection.json").read_text())["rows"]["validation"]
    assert reference.traffic.tickets == rows
    assert set(reference.traffic.intents) == set(LABELS)
    assert 0.5 < reference.traffic.confidence < 1
    verify_manifest(tmp_path / "s", "selection")


def test_what_does_not_belong_together_is_refused(
    evaluation: str, word_candidates: dict[str, str], word_shards: str, tmp_path: Path
) -> None:
    out = str(tmp_path / "out")
    rows = [
        {"text": f"other {n} {list(WORDS)[n % 24]}", "intent": list(WORDS.values())[n % 24]}
        for n in range(300)
    ]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shard_tickets(str(tmp_path / "t.jsonl"), str(tmp_path / "others"), ShardSettings())
    with pytest.raises(InputError, match="other shards"):
        select_candidate(evaluation, word_candidates, str(tmp_path / "others"), out, QUICK)
    swapped = {**word_candidates, "pruned": word_candidates["distilled"]}
    with pytest.raises(InputError, match="pruned is not the model"):
        select_candidate(evaluation, swapped, word_shards, out, QUICK)
    fewer = {"teacher": word_candidates["teacher"]}
    with pytest.raises(InputError, match="the evaluation is of"):
        select_candidate(evaluation, fewer, word_shards, out, QUICK)
    with pytest.raises(InputError, match="task 'intent'"):
        select_candidate(
            evaluation, word_candidates, word_shards, out, SelectSettings(task="answer")
        )
    with pytest.raises(InputError):
        SelectSettings(budget_points=-1.0)
    assert not Path(out).exists()


def test_language_models_are_selected_alike(
    word_writers: dict[str, str], word_shards: str, tmp_path: Path
) -> None:
    measured = evaluate_candidates(
        word_writers,
        word_shards,
        str(tmp_path / "e"),
        EvaluateSettings(task="answer", latency_repeats=20, resamples=100),
    )
    result = select_candidate(
        measured.out,
        word_writers,
        word_shards,
        str(tmp_path / "s"),
        SelectSettings(task="answer", resamples=100),
        champion=word_writers["teacher"],
    )
    assert result.gate == "true"
    assert result.winner in {"distilled", "pruned"}
    assert result.verdicts["pruned_distilled"].startswith("loses 25.00 points")
    assert Reference.read(tmp_path / "s" / "reference.json") == Reference((), None)
