"""The compression table: every row is made and measured, on encoders and on decoders."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from benchmarks.compression import bench_compression, mean_hits
from benchmarks.models import ROWS, Workbench, model_keys
from benchmarks.recipes import make_recipe
from benchmarks.speed import EXACT, OWN, exact_texts, summarise, texts_of
from components.scoring.statistics import hits
from components.slicing.scorers import SCORERS
from kg_schema.errors import InputError
from tests.components.slicing.tiny import tickets

KEYS = {
    f"{row}_{key}"
    for row in ("pruned", "distilled", "winner")
    for key in (
        "accuracy",
        "loss_points",
        "params_total",
        "params_encoder",
        "cut_total",
        "cut_encoder",
        "speedup_same_runtime",
    )
} | {"teacher_accuracy", "scratch_accuracy", "svm_accuracy", "winner_speedup_total"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "tickets.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in tickets()), encoding="utf-8")
    return path


@pytest.mark.timeout(280)
@pytest.mark.parametrize(("base", "task"), [("tiny-qwen2", "intent"), ("tiny-llama", "answer")])
def test_a_decoder_goes_through_the_whole_table(
    base: str, task: Any, data: Path, tmp_path: Path
) -> None:
    result = bench_compression(tmp_path, data=str(data), base_model=base, task=task, quick=True)
    content = json.loads(result.read_text())
    assert content.keys() >= KEYS
    rows = {row["row"]: row for row in content["rows"]}
    assert rows.keys() == {*ROWS, *(["svm"] if task == "intent" else [])}
    whole = rows["teacher"]["parameters"]
    for name in ("pruned", "distilled", "winner"):
        assert rows[name]["parameters"]["encoder"] < whole["encoder"]
        assert content[f"{name}_cut_total"] > 0
        assert rows[name]["speedup"]["low"] <= content[f"{name}_speedup_same_runtime"]
    assert rows["scratch"]["parameters"] == rows["distilled"]["parameters"]
    assert "smoke run" in (tmp_path / "table.md").read_text()
    assert (tmp_path / "compression.png").stat().st_size > 10_000
    made = {path: path.stat().st_mtime_ns for path in tmp_path.glob("models/*/*/manifest.json")}
    assert len(made) == 2 * len(ROWS) + 2 + len(SCORERS)
    assert content["scores"].keys() == SCORERS.keys()
    again = bench_compression(tmp_path, data=str(data), base_model=base, task=task, quick=True)
    assert made == {path: path.stat().st_mtime_ns for path in made}
    assert json.loads(again.read_text())["teacher_accuracy"] == content["teacher_accuracy"]


def test_the_label_is_found_or_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "tickets.csv"
    path.write_text("words,kind\nmy phone is hot,heat\n", encoding="utf-8")
    with pytest.raises(InputError, match="words, kind") as refused:
        bench_compression(tmp_path / "out", data=str(path), quick=True)
    assert "--label-column" in refused.value.fix
    with pytest.raises(InputError, match="no seeds"):
        bench_compression(tmp_path / "out", data=str(path), seeds=())


def test_few_rows_are_passed_over_oftener_and_the_twin_takes_as_many_steps() -> None:
    large, small = make_recipe("intent", 9_000, 7), make_recipe("intent", 1_000, 7)
    assert small.winner.epochs > large.winner.epochs
    for recipe in (large, small):
        taught, twin = recipe.distilled, recipe.scratch
        assert twin.epochs == taught.epochs * (1 + taught.copies)
        assert (twin.batch_size, twin.seed) == (taught.batch_size, taught.seed)


def test_a_changed_recipe_makes_anew_what_depends_on_it_and_nothing_else() -> None:
    recipe = make_recipe("intent", 9_000, 7)
    keys = model_keys(recipe, ["data", "base"])

    def changed(**stages: Any) -> set[str]:
        others = model_keys(replace(recipe, **stages), ["data", "base"])
        return {name for name, key in keys.items() if others[name] != key}

    narrowed = {f"narrowed-{score}" for score in SCORERS}
    winner = {"winner", "winner-served"}
    assert changed(winner=replace(recipe.winner, epochs=9)) == winner
    assert changed(start=replace(recipe.start, channels=0.25)) == {"winner-start", *winner}
    assert changed(export=replace(recipe.export, precision="fp32")) == {
        f"{row}-served" for row in ROWS
    }
    assert changed(narrowed=replace(recipe.narrowed, seed=8)) == narrowed
    slower = changed(distilled=replace(recipe.distilled, learning_rate=1e-4))
    assert slower == {"distilled", "distilled-served", "scratch", "scratch-served"}
    narrower = changed(distilled=replace(recipe.distilled, hidden=0.25))
    assert narrower == {*slower, "scratch-start"}
    assert changed(teacher=replace(recipe.teacher, epochs=9)) == keys.keys()
    assert not {*model_keys(recipe, ["other data", "base"]).values()} & {*keys.values()}


def test_no_two_models_of_a_seed_lie_in_one_place(tmp_path: Path) -> None:
    recipe = make_recipe("intent", 9_000, 7)
    bench = Workbench(tmp_path, "", "", recipe, model_keys(recipe, []), narrows=True)
    places = [place for _, place, _ in bench.steps()]
    assert len({*places}) == len(places)
    assert {place.parent for place in places} == {tmp_path}


def word_tokenizer(known: list[str]) -> Tokenizer:
    """Parts words into letters unless it knows them."""
    letters = {each: at for at, each in enumerate("abcdefghijklmnopqrstuvwxyz")}
    vocabulary = letters | {f"##{each}": len(letters) + at for each, at in letters.items()}
    for word in known:
        vocabulary.setdefault(word, len(vocabulary))
    vocabulary["[UNK]"] = len(vocabulary)
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def test_exact_texts_are_as_long_for_every_tokenizer() -> None:
    rich, poor = word_tokenizer(["phone", "watch", "hot"]), word_tokenizer(["phone", "watch"])
    texts = ["phone is hot", "watch is on", "hot phone at ten"] * 20
    found = exact_texts(texts, [rich, poor], 12)
    assert found
    assert {len(each.encode(text).ids) for text in found for each in (rich, poor)} == {12}
    assert not any("hot" in text for text in found)
    batches = texts_of((16, OWN), texts, [rich])
    assert {len(batch) for batch in batches} == {16}
    assert len(texts_of((16, EXACT), ["phone"], [rich])[0]) == 16


def test_speed_is_a_ratio_of_medians_with_its_interval() -> None:
    noise = np.random.default_rng(1).normal(1, 0.05, 200)
    taken = {
        "teacher": [int(8e6 * each) for each in noise],
        "teacher/wall": [9_000_000] * 200,
        "winner": [int(1e6 * each) for each in noise],
        "winner/wall": [2_000_000] * 200,
    }
    found = summarise(taken, "teacher")
    assert found["winner"]["speedup"]["value"] == pytest.approx(8, rel=0.02)
    assert found["winner"]["speedup"]["low"] <= 8 <= found["winner"]["speedup"]["high"] + 0.01
    assert found["teacher"]["wall_min_ms"] == 9


def test_seeds_are_averaged_row_by_row() -> None:
    mean = mean_hits([hits([1, 0, 1]), hits([1, 1, 0])])
    assert mean.right.tolist() == [1.0, 0.5, 0.5]
    assert mean.share == pytest.approx(2 / 3)
