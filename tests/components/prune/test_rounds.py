from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from components.model_dir import load_model, read_compression, read_model_manifest
from components.prune import rounds
from components.prune.pruning import PruneError, PruneSettings, prune_model
from components.prune.work import Work
from components.slicing.cutting import read_plan
from components.slicing.slicer import Shape, slice_model
from components.training import TrainSpec, run_training
from kg_schema.errors import InputError
from serving.manifest import content_sha256
from tests.components.slicing.tiny import (
    KINDS,
    logits_of,
    make_shards,
    read_in_fresh_process,
    save_tiny,
)

CUT = {
    "layers": 0.5,
    "channels": 0.5,
    "hidden": 0.5,
    "vocabulary": 1,
    "rounds": 2,
    "round_epochs": 0,
    "recovery_epochs": 0,
    "max_length": 32,
    "multiple": 8,
    "batch_size": 16,
    "calibration_rows": 32,
    "ranks": 1,
    "threads": 1,
    "precision": "fp32",
}
TEXT = "my phone battery drains fast today"
Kind = tuple[str, str, bool]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    return save_tiny(tmp_path / "teacher", "bert", "intent")


def prune(teacher: Path, shards: Path, **settings: Any) -> Path:
    folder = teacher.parent
    chosen = PruneSettings(**{**CUT, **settings})
    prune_model(str(teacher), str(shards), str(folder / "out"), chosen, str(folder / "kept"))
    assert not list((folder / "kept").iterdir())
    return folder / "out"


@pytest.fixture(scope="module")
def in_memory_and_read(
    shards: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[Kind, tuple[Path, PreTrainedModel, dict[str, Any]]]:
    """Every kind after two rounds, the first one trained: the model and what was read of it."""
    made: dict[Kind, tuple[Path, PreTrainedModel]] = {}
    cuts: list[PreTrainedModel] = []
    plain = rounds.cut_to_plan

    def recorded(*given: Any) -> Any:
        cut = plain(*given)
        cuts.append(cut.model)
        return cut

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounds, "cut_to_plan", recorded)
        for family, task, tied in KINDS:
            folder = tmp_path_factory.mktemp(family)
            source = save_tiny(folder / "teacher", family, task, tied=tied)
            heads = {} if family == "bert" else {"heads": 0.5}
            out = prune(source, shards, task=task, round_epochs=1, score="taylor", **heads)
            made[(family, task, tied)] = (out, cuts[-1])
    read = read_in_fresh_process({out: kind[1] for kind, (out, _) in made.items()}, TEXT)
    return {kind: (out, model, read[out]) for kind, (out, model) in made.items()}


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_fresh_process_says_what_the_model_in_memory_said(
    kind: Kind, in_memory_and_read: dict[Kind, tuple[Path, PreTrainedModel, dict[str, Any]]]
) -> None:
    out, model, read = in_memory_and_read[kind]
    assert torch.equal(read["logits"], logits_of(model, read["ids"]))
    told = read_compression(out)
    assert [len(each["kept_layers"]) for each in told["rounds"]] == [3, 2]
    assert told["kept_layers"] == [1, 3]
    assert told["rounds"][1]["kept"]["hidden"] == told["kept_hidden"]["count"] == 16
    assert all(each["validation"]["accuracy"] >= 0 for each in told["rounds"])
    assert told["parameters"]["after"] == told["rounds"][1]["parameters"]
    assert len(told["layer_influence"]) == 4
    if kind[1] == "answer":
        tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
        assert tied == kind[2]


@pytest.mark.parametrize("choice", ["even", "influence"])
@pytest.mark.parametrize(("family", "task"), [("bert", "intent"), ("llama", "answer")])
def test_indices_are_the_teachers_own(
    family: str, task: str, choice: str, shards: Path, tmp_path: Path
) -> None:
    """Without training, three rounds leave what one cut by the indices told leaves."""
    source = save_tiny(tmp_path / "teacher", family, task, tied=family == "llama")
    out = prune(source, shards, task=task, rounds=3, layer_choice=choice)
    told, whole = read_compression(out), load_model(source)[0]
    direct = slice_model(whole, read_plan(told)).state_dict()
    for name, tensor in load_model(out)[0].state_dict().items():
        if family == "bert":
            assert torch.equal(tensor, direct[name]), name
        else:  # sqrt(d / d') in three steps is that in one but for rounding
            torch.testing.assert_close(tensor, direct[name], rtol=1e-6, atol=0)
    shape = Shape.of(whole.config)
    assert told["kept_vocabulary"]["of"] == shape.vocabulary
    assert told["kept_channels"]["of"] == shape.channels
    manifest = read_model_manifest(source)
    assert told["parameters"]["before"] == manifest["parameters"]
    assert told["parent"] == content_sha256(manifest)


def test_one_round_and_several_end_at_the_same_size(teacher: Path, shards: Path) -> None:
    once = read_compression(prune(teacher, shards, rounds=1))
    assert "rounds" not in once
    thrice = read_compression(prune(teacher, shards, rounds=3))
    assert once["parameters"] == thrice["parameters"]
    assert once["kept_layers"] == thrice["kept_layers"]


def test_a_broken_pruning_goes_on_at_its_last_finished_round(
    teacher: Path, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []

    def breaking(spec: TrainSpec) -> object:
        trained.append(Path(spec.model_dir).name)
        if trained == ["cut-1", "cut-2"]:
            raise KeyboardInterrupt
        return run_training(spec)

    monkeypatch.setattr(rounds, "run_training", breaking)
    with pytest.raises(KeyboardInterrupt):
        prune(teacher, shards, round_epochs=1, recovery_epochs=1)
    left = next((teacher.parent / "kept").iterdir())
    assert sorted(path.name for path in left.iterdir()) == ["cut-2", "round-1", "way.json"]
    first = read_model_manifest(left / "round-1")
    out = prune(teacher, shards, round_epochs=1, recovery_epochs=1)
    assert trained == ["cut-1", "cut-2", "cut-2"]
    told = read_compression(out)["rounds"]
    assert told[0]["validation"] == first["validation"]
    assert told[1]["validation"] == read_model_manifest(out)["validation"]


def accuracies(monkeypatch: pytest.MonkeyPatch, by_layers: dict[int, float]) -> None:
    """Gives models of so many layers so much accuracy."""

    def told(_work: Work, model: Any, _tokenizer: Any) -> dict[str, float]:
        return {"accuracy": by_layers[model.config.num_hidden_layers], "loss": 1.0}

    monkeypatch.setattr(Work, "validate", told)


def test_the_last_round_within_the_budget_is_the_result(
    teacher: Path, shards: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    accuracies(monkeypatch, {4: 0.9, 3: 0.89, 2: 0.7})
    out = prune(teacher, shards, max_loss_points=1.0, rounds=3, layers=0.25, recovery_epochs=1)
    told = read_compression(out)
    assert [each["within_budget"] for each in told["rounds"]] == [True, False]
    assert told["budget"] == {"max_loss_points": 1.0, "teacher_accuracy": 0.9, "round": 1}
    assert told["kept_layers"] == told["rounds"][0]["kept_layers"]
    assert load_model(out)[0].config.num_hidden_layers == 3
    assert "loses 20.00 points, more than 1.0: the result is round 1" in caplog.text
    # The recovery, which was not patched, came last.
    assert read_model_manifest(out)["validation"] != told["rounds"][0]["validation"]


def test_within_the_budget_all_rounds_are_made(
    teacher: Path, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies(monkeypatch, {4: 0.9, 3: 0.89, 2: 0.89})
    told = read_compression(prune(teacher, shards, max_loss_points=1.0))
    assert told["budget"]["round"] == 2
    assert told["kept_layers"] == [1, 3]


def test_a_budget_that_nothing_keeps_is_an_error(
    teacher: Path, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies(monkeypatch, {4: 0.9, 3: 0.8})
    with pytest.raises(PruneError, match=r"max_loss_points 0.5: the first round loses 10.00 p"):
        prune(teacher, shards, max_loss_points=0.5)
    assert not (teacher.parent / "out").exists()


def test_a_budget_needs_labels(
    teacher: Path, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Work, "validate", lambda *_: {})
    with pytest.raises(InputError, match="labelled rows in split 'validation'"):
        prune(teacher, shards, max_loss_points=0.5)


@pytest.mark.parametrize("score", ["magnitude", "random", "taylor"])
def test_every_score_prunes(score: str, teacher: Path, shards: Path) -> None:
    told = read_compression(prune(teacher, shards, score=score, layer_choice="influence"))
    assert min(told["layer_influence"]) > 0
