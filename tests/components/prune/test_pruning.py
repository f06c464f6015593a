import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from transformers import PreTrainedModel

from components.model_dir import load_model, read_compression, read_model_manifest, save_model
from components.prune import rounds
from components.prune.pruning import PruneResult, PruneSettings, prune_model
from components.slicing.slicer import Plan, Shape, slice_model
from components.training import TrainSpec
from kg_schema.errors import InputError
from serving.manifest import ManifestError, content_sha256
from tests.components.slicing.tiny import (
    KINDS,
    LABELS,
    logits_of,
    make_model,
    make_shards,
    read_in_fresh_process,
    save_tiny,
    tokenizer_of,
)

CUT = {
    "layers": 0.5,
    "channels": 0.5,
    "vocabulary": 1,
    "max_length": 32,
    "multiple": 8,
    "batch_size": 16,
    "recovery_epochs": 0,
}
TEXT = "my phone battery drains fast today"


Kind = tuple[str, str, bool]


class Pruned(NamedTuple):
    """One pruned model: its directories, the result, and what a fresh process read."""

    teacher: Path
    out: Path
    result: PruneResult
    read: dict[str, Any]


class InMemory(NamedTuple):
    """A sliced model that is in memory and what a fresh process read of its directory."""

    model: PreTrainedModel
    read: dict[str, Any]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def everything(
    shards: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[Kind, Pruned], InMemory]:
    """Every kind, pruned, and what one fresh process reads of all of them."""
    made = {}
    for family, task, tied in KINDS:
        folder = tmp_path_factory.mktemp(family)
        teacher = save_tiny(folder / "teacher", family, task, tied=tied)
        heads = {} if family == "bert" else {"heads": 0.5}
        settings = PruneSettings(task=task, **CUT, **heads)
        out = folder / "out"
        result = prune_model(str(teacher), str(shards), str(out), settings, str(folder / "unused"))
        made[(family, task, tied)] = (teacher, out, result)
    memory = tmp_path_factory.mktemp("memory")
    sliced = slice_unevenly()
    save_model(sliced, tokenizer_of("qwen3"), memory, task="answer")
    tasks = {out: task for (_, task, _), (_, out, _) in made.items()}
    read = read_in_fresh_process({**tasks, memory: "answer"}, TEXT)
    found = {kind: Pruned(*each, read[each[1]]) for kind, each in made.items()}
    return found, InMemory(sliced, read[memory])


@pytest.fixture(scope="module")
def pruned(everything: tuple[dict[Kind, Pruned], InMemory]) -> dict[Kind, Pruned]:
    return everything[0]


@pytest.fixture(scope="module")
def memory(everything: tuple[dict[Kind, Pruned], InMemory]) -> InMemory:
    return everything[1]


def slice_unevenly() -> PreTrainedModel:
    model = make_model("qwen3", tied=True)
    whole = Plan.whole(Shape.of(model.config))
    plan = replace(
        whole,
        layers=(1, 3),
        groups=((1,), (0,)),
        channels=(tuple(range(9, 41)), tuple(range(0, 64, 2))),
        hidden=tuple(range(16)),
    )
    return slice_model(model, plan)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_fresh_process_reads_the_same_logits(kind: Kind, pruned: dict[Kind, Pruned]) -> None:
    model, tokenizer = load_model(pruned[kind].out)
    read = pruned[kind].read
    assert torch.equal(read["ids"], tokenizer(TEXT, return_tensors="pt")["input_ids"])
    assert torch.equal(read["logits"], logits_of(model, read["ids"]))
    assert len(tokenizer) == model.config.vocab_size < 450
    if kind[1] == "answer":
        tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
        assert tied == kind[2]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_compression_tells_what_was_kept_of_whom(kind: Kind, pruned: dict[Kind, Pruned]) -> None:
    teacher, out, result, _ = pruned[kind]
    told, manifest = read_compression(out), read_model_manifest(out)
    assert told["parent"] == content_sha256(read_model_manifest(teacher)) == manifest["parent"]
    assert told["kept_layers"] == [1, 3] == list(result.kept_layers)
    assert told["kept_heads"]["count"] == (4 if kind[0] == "bert" else 1)
    assert [len(layer) for layer in told["kept_channels"]["indices"]] == [32, 32]
    assert told["kept_vocabulary"]["count"] == len(told["kept_vocabulary"]["indices"])
    assert told["parameters"]["after"] == manifest["parameters"] == result.after
    assert result.after["encoder"] < 0.5 * result.before["encoder"]
    assert manifest["labels"] == (LABELS if kind[1] == "intent" else [])


def test_a_fresh_process_says_what_the_sliced_model_said(memory: InMemory) -> None:
    """The model in memory, before anything was written, against the directory."""
    assert torch.equal(memory.read["logits"], logits_of(memory.model, memory.read["ids"]))


def test_calibration_and_cut_are_the_same_twice(shards: Path, tmp_path: Path) -> None:
    teacher = save_tiny(tmp_path / "teacher", "bert", "intent")
    settings = PruneSettings(**{**CUT, "hidden": 0.5})
    for name in ("a", "b"):
        out, kept = str(tmp_path / name), str(tmp_path / "kept")
        prune_model(str(teacher), str(shards), out, settings, kept)
    first, second = (read_model_manifest(tmp_path / name) for name in ("a", "b"))
    assert content_sha256(first) == content_sha256(second)


@pytest.mark.parametrize(("family", "task"), [("bert", "intent"), ("qwen2", "answer")])
def test_recovery_learns_from_the_teacher(
    family: str, task: str, shards: Path, tmp_path: Path
) -> None:
    """The language model's teacher has more tokens than the student is left with."""
    teacher = save_tiny(tmp_path / "teacher", family, task)
    checkpoints = tmp_path / "checkpoints"
    settings = PruneSettings(
        task=task,
        **{**CUT, "recovery_epochs": 1, "ranks": 1, "threads": 1, "precision": "fp32"},
    )
    result = prune_model(
        str(teacher), str(shards), str(tmp_path / "out"), settings, str(checkpoints)
    )
    model, tokenizer = load_model(tmp_path / "out")
    assert set(result.validation) >= {"accuracy", "loss"}
    assert model.config.num_hidden_layers == 2
    assert len(tokenizer) == model.config.vocab_size == result.kept["vocabulary"]
    assert len(tokenizer) < load_model(teacher)[0].config.vocab_size
    assert read_compression(tmp_path / "out")["kept_layers"] == list(result.kept_layers)
    manifest = read_model_manifest(tmp_path / "out")
    assert manifest["parent"] == content_sha256(read_model_manifest(teacher))
    assert not list(checkpoints.iterdir())


def test_a_recovery_that_broke_off_goes_on_from_the_same_cut(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checkpoints belong to that cut; making it again could choose other channels."""
    teacher = save_tiny(tmp_path / "teacher", "bert", "intent")
    settings = PruneSettings(**{**CUT, "recovery_epochs": 1})
    seen = []

    def broken(spec: TrainSpec) -> None:
        seen.append((spec.model_dir, content_sha256(read_model_manifest(Path(spec.model_dir)))))
        raise KeyboardInterrupt

    monkeypatch.setattr(rounds, "run_training", broken)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            prune_model(
                str(teacher), str(shards), str(tmp_path / "out"), settings, str(tmp_path / "kept")
            )
        monkeypatch.setattr(rounds, "cut_to_plan", None)
    assert seen[0] == seen[1]
    assert not (tmp_path / "out").exists()


def test_the_wrong_task_and_half_a_teacher_are_refused(shards: Path, tmp_path: Path) -> None:
    teacher = save_tiny(tmp_path / "teacher", "bert", "intent")
    out, unused = str(tmp_path / "out"), str(tmp_path / "unused")
    with pytest.raises(InputError, match="'intent'"):
        prune_model(str(teacher), str(shards), out, PruneSettings(task="answer"), unused)
    (teacher / "config.json").write_text(json.dumps({}))
    with pytest.raises(ManifestError):
        prune_model(str(teacher), str(shards), out, PruneSettings(**CUT), unused)
    assert not (tmp_path / "out").exists()


def test_a_kept_layer_learns_what_the_next_kept_one_used_to_read() -> None:
    pairs = PruneSettings().distillation([0, 1, 4], layers=6).layer_map
    assert pairs == ((1, 1), (2, 4), (3, 6))


@pytest.mark.parametrize("wrong", [{"layers": 0.0}, {"vocabulary": -1}, {"recovery_epochs": -1}])
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        PruneSettings(**wrong)
