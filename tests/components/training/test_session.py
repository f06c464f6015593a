import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from components.model_dir import load_model, read_compression, read_model_manifest
from components.shard import ShardSettings, shard_tickets
from components.training import Distillation, Lora, TrainResult, TrainSpec, run_training
from components.training.loop import TicketTrainer
from components.training.mirror import Mirror
from components.training.session import train
from kg_schema.errors import InputError
from tests.components.training.tiny import (
    LABELS,
    THINGS,
    THIS_PROCESS,
    make_classifier,
    make_decoder,
    make_trimmed,
    tickets,
    train_here,
    weights,
)


@pytest.fixture
def spec(base: Path, shards: Path, tmp_path: Path) -> TrainSpec:
    return TrainSpec(
        task="intent",
        model_dir=str(base),
        shards=str(shards),
        out=str(tmp_path / "out"),
        checkpoints=str(tmp_path / "checkpoints"),
        epochs=3,
        batch_size=8,
        learning_rate=5e-3,
        max_length=32,
        ranks=1,
        threads=1,
        precision="fp32",
        dropout=0.0,
    )


class Stopped(Exception):
    pass


def stop_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    loss = TicketTrainer.compute_loss

    def stopping(self: Any, *given: Any, **named: Any) -> torch.Tensor:
        if self.state.global_step == step:
            raise Stopped
        return loss(self, *given, **named)

    monkeypatch.setattr(TicketTrainer, "compute_loss", stopping)


def test_it_learns_and_publishes_a_plain_model(spec: TrainSpec) -> None:
    result = train_here(replace(spec, epochs=8, compression={"parent": "abc"}))
    assert result.validation["accuracy"] >= 0.9
    assert result.steps == 8 * 5
    assert result.tokens_per_second > 0
    out = Path(spec.out)
    model, tokenizer = load_model(out)
    assert model.config.id2label == dict(enumerate(LABELS))
    assert tokenizer("my phone")["input_ids"]
    manifest = read_model_manifest(out)
    assert manifest["max_length"] == 32
    assert manifest["labels"] == LABELS
    assert read_compression(out) == {"parent": "abc"}
    assert not Path(spec.checkpoints).exists()


def test_a_resumed_training_ends_bit_identical(spec: TrainSpec, tmp_path, monkeypatch) -> None:
    spec = replace(spec, dropout=0.1)  # drawn at random, so that the draws must match too
    undisturbed = replace(spec, out=str(tmp_path / "undisturbed"), checkpoints=str(tmp_path / "u"))
    train_here(undisturbed)
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_at(12, patch)
        train_here(spec)
    assert not Path(spec.out).exists()
    resumed = train_here(spec)
    assert resumed.resumed_from == 10
    wanted = weights(Path(undisturbed.out))
    for name, value in weights(Path(spec.out)).items():
        assert torch.equal(value, wanted[name]), name


def test_a_training_whose_disk_is_gone_goes_on_from_the_object_store(
    spec: TrainSpec, staging: str, tmp_path, monkeypatch
) -> None:
    def start(disk: str) -> TrainResult:
        here = replace(spec, checkpoints=str(tmp_path / disk))
        return train(here, THIS_PROCESS, lambda kind, **values: None, Mirror(staging))

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_at(12, patch)
        start("gone")
    assert start("another").resumed_from == 10


def test_a_resumed_training_stays_in_its_precision(spec: TrainSpec, monkeypatch) -> None:
    spec = replace(spec, precision="auto", epochs=2)
    times = {"fp32": 2.0, "bf16": 1.0}
    monkeypatch.setattr("components.training.session.probe_precision", lambda *given: times)
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_at(6, patch)
        train_here(spec)
    times = {"fp32": 1.0, "bf16": 2.0}
    result = train_here(spec)
    assert result.resumed_from == 5
    assert result.precision == "bf16"


def test_a_full_disk_is_bad_input_and_the_last_checkpoint_stays(spec, monkeypatch) -> None:
    from components.training import loop

    save = loop.save_file
    calls: list[int] = []

    def full(*given: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(*given)

    monkeypatch.setattr(loop, "save_file", full)
    with pytest.raises(InputError, match="disk is full"):
        train_here(spec)
    monkeypatch.undo()
    assert train_here(spec).resumed_from == 5


def test_other_settings_do_not_take_up_the_checkpoint(spec: TrainSpec, monkeypatch) -> None:
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_at(12, patch)
        train_here(spec)
    assert train_here(replace(spec, learning_rate=1e-3)).resumed_from == 0


def test_frozen_parts_keep_their_values(spec: TrainSpec, base: Path) -> None:
    train_here(replace(spec, epochs=1, freeze_embeddings=True, freeze_layers=1))
    before, after = weights(base), weights(Path(spec.out))
    for name, value in before.items():
        kept = name.startswith(("embeddings.", "encoder.layer.0."))
        assert torch.equal(after[f"bert.{name}"], value) is kept, name


def test_a_student_takes_its_teachers_view_over_wider_states(spec: TrainSpec, tmp_path) -> None:
    train_here(replace(spec, epochs=8, out=str(tmp_path / "teacher")))
    student = make_classifier(tmp_path / "student", layers=1, width=16)
    weighing = Distillation(hard_weight=0.0, hidden_weight=1.0)
    result = train_here(
        replace(
            spec,
            model_dir=str(student),
            teacher=str(tmp_path / "teacher"),
            distillation=weighing,
            epochs=12,
            learning_rate=1e-2,
        )
    )
    assert result.validation["accuracy"] >= 0.75
    assert set(weights(Path(spec.out))) == set(weights(student))
    manifest = read_model_manifest(Path(spec.out))
    assert len(manifest["parent"]) == 64


def test_a_language_models_teacher_is_read_once_for_several_students(spec, tmp_path) -> None:
    teacher = make_decoder(tmp_path / "teacher")
    cache = tmp_path / "cache"
    weighing = Distillation(top_k=8, hidden_weight=0.5, cache=str(cache))
    taught = replace(spec, task="answer", teacher=str(teacher), distillation=weighing, epochs=1)
    for number in range(2):
        student = make_decoder(tmp_path / f"student{number}", layers=1)
        train_here(replace(taught, model_dir=str(student), seed=number))
    assert len(list(cache.iterdir())) == 1
    small = make_trimmed(teacher, tmp_path / "small", ["battery", "week"])
    result = train_here(replace(taught, model_dir=str(small)))
    assert len(list(cache.iterdir())) == 2
    assert result.validation["perplexity"] > 1


@pytest.mark.parametrize("task", ["intent", "answer"])
def test_a_student_takes_its_teachers_relations(spec, tmp_path, task) -> None:
    make = make_classifier if task == "intent" else make_decoder
    teacher = make(tmp_path / "teacher")
    small = make_trimmed(teacher, tmp_path / "small", ["battery", "week"])
    taught = replace(spec, task=task, model_dir=str(small), teacher=str(teacher), epochs=2)
    weighing = Distillation(hidden_weight=5.0, relation="attention", divergence="jsd")
    if task == "answer":
        weighing = replace(weighing, top_k=4)
    result = train_here(replace(taught, distillation=weighing))
    assert result.train_loss > 0
    assert set(weights(Path(spec.out))) == set(weights(small))
    with pytest.raises(InputError, match="relation_heads 5"):
        train_here(replace(taught, distillation=replace(weighing, relation_heads=5)))


def test_tickets_without_a_label_are_learned_from_a_teacher_alone(spec, tmp_path) -> None:
    rows = [json.dumps(row) for row in tickets()]
    (tmp_path / "tickets.jsonl").write_text("\n".join(rows))
    more = [{"text": f"{thing} {at} battery sound"} for thing in THINGS for at in range(4)]
    (tmp_path / "more.jsonl").write_text("\n".join(json.dumps(row) for row in more))
    settings = ShardSettings(unlabelled=str(tmp_path / "more.jsonl"))
    shards = tmp_path / "more-shards"
    sharded = shard_tickets(str(tmp_path / "tickets.jsonl"), str(shards), settings)
    labelled = sharded.rows["train"] - sharded.unlabelled
    assert sharded.unlabelled == len(more)
    spec = replace(spec, shards=str(shards), epochs=1, batch_size=1)
    assert train_here(spec).steps == labelled

    teacher = make_classifier(tmp_path / "teacher")
    cache = tmp_path / "cache"
    taught = replace(spec, model_dir=str(teacher), teacher=str(teacher))
    for weighing in (
        Distillation(cache=str(cache)),
        Distillation(cache=str(cache), soft_weight=0.0, hidden_weight=1.0),
    ):
        result = train_here(replace(taught, distillation=weighing))
        assert result.steps == labelled + sharded.unlabelled
    for path in cache.iterdir():
        assert len(load_file(path)["logits"]) == labelled + sharded.unlabelled
    alone = Distillation(soft_weight=0.0, hard_weight=1.0)
    assert train_here(replace(taught, distillation=alone)).steps == labelled


def test_a_teacher_reads_changed_texts_too(spec: TrainSpec, tmp_path) -> None:
    teacher = make_classifier(tmp_path / "teacher")
    cache = tmp_path / "cache"
    taught = replace(spec, model_dir=str(teacher), teacher=str(teacher), epochs=1)
    plain = train_here(replace(taught, distillation=Distillation(cache=str(cache))))
    more = Distillation(cache=str(cache), augment=2)
    result = train_here(replace(taught, distillation=more))
    other = train_here(replace(taught, distillation=more, seed=8))
    rows = sorted(len(load_file(path)["logits"]) for path in cache.iterdir())
    assert rows == [rows[0], 3 * rows[0], 3 * rows[0]]
    assert result.steps == other.steps == -(-3 * rows[0] // 8) > plain.steps


def test_adapters_are_merged_into_a_plain_language_model(spec: TrainSpec, tmp_path) -> None:
    decoder = make_decoder(tmp_path / "decoder")
    result = train_here(replace(spec, task="answer", model_dir=str(decoder), lora=Lora(), epochs=2))
    assert {"accuracy", "loss", "perplexity"} == set(result.validation)
    before, after = weights(decoder), weights(Path(spec.out))
    assert set(before) == set(after)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all("proj" in name for name in changed)


def test_a_mistyped_folder_is_looked_for_here_alone(spec, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("components.base_model._from_hub", lambda name: pytest.fail(name))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        run_training(replace(spec, model_dir="models/techer"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {
                "teacher": "student",
                "distillation": Distillation(hidden_weight=1.0, layer_map=((1, 9),)),
            },
            "layer pair",
        ),
        ({"teacher": "student", "distillation": Distillation(), "precision": "fp16"}, "CUDA"),
        ({"task": "answer"}, "an encoder"),
    ],
)
def test_what_does_not_fit_is_bad_input(spec, tmp_path, changed, said) -> None:
    student = make_classifier(tmp_path / "student")
    if "teacher" in changed:
        changed = {**changed, "teacher": str(student)}
    with pytest.raises(InputError, match=said):
        train_here(replace(spec, **changed))
    assert not Path(spec.out).exists()
