from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from components.distill import DistillSettings, distill_model
from components.finetune import FinetuneSettings, finetune_model
from components.model_dir import load_model, read_compression, read_model_manifest, save_model
from kg_schema.errors import InputError
from serving.manifest import content_sha256
from tests.components.training.tiny import (
    LABELS,
    llama_config,
    logits,
    make_base,
    make_byte_tokenizer,
    make_classifier,
    make_decoder,
    make_decoder_classifier,
    make_tokenizer,
    qwen_config,
)

FAST = {"batch_size": 8, "max_length": 32, "ranks": 1, "threads": 1, "precision": "fp32"}
TAUGHT = {**FAST, "learning_rate": 5e-3, "dropout": 0.0}


@pytest.fixture(scope="module")
def teacher(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    base = make_base(folder / "base", layers=4)
    settings = FinetuneSettings(epochs=8, learning_rate=5e-3, head_learning_rate=5e-3, **FAST)
    finetune_model(str(shards), str(base), str(folder / "out"), settings, str(folder / "c"))
    return folder / "out"


def test_a_student_is_cut_taught_and_described(teacher, shards, tmp_path) -> None:
    out, checkpoints = tmp_path / "student", tmp_path / "checkpoints"
    settings = DistillSettings(
        layers=0.5,
        channels=0.25,
        multiple=8,
        vocabulary=40,
        epochs=6,
        learning_rate=5e-3,
        dropout=0.0,
        **FAST,
    )
    result = distill_model(str(teacher), str(shards), str(out), settings, str(checkpoints))
    assert result.training.validation["accuracy"] >= 0.9
    assert result.after["encoder"] < 0.6 * result.before["encoder"]
    kept = read_compression(out)
    assert kept["parent"] == content_sha256(read_model_manifest(teacher))
    assert kept["kept_layers"] == [1, 3]
    assert kept["kept_channels"]["count"] == 16
    assert [len(each) for each in kept["kept_channels"]["indices"]] == [16, 16]
    assert kept["parameters"] == {"before": result.before, "after": result.after}
    model, _ = load_model(out)
    assert model.config.num_hidden_layers == 2
    assert model.config.intermediate_size == 16
    assert not checkpoints.exists()


def test_a_student_gets_another_activation_for_good(teacher, shards, tmp_path) -> None:
    settings = DistillSettings(layers=0.5, epochs=6, activation="relu", **TAUGHT)
    out, c = tmp_path / "out", str(tmp_path / "c")
    result = distill_model(str(teacher), str(shards), str(out), settings, c)
    assert result.training.validation["accuracy"] >= 0.9
    assert load_model(out)[0].config.hidden_act == "relu"
    assert load_model(teacher)[0].config.hidden_act == "gelu"
    with pytest.raises(InputError, match="unknown activation 'rellu'"):
        wrong = replace(settings, activation="rellu")
        distill_model(str(teacher), str(shards), str(tmp_path / "o"), wrong, c)


def test_a_student_hears_a_probe_of_the_base_model_too(teacher, shards, tmp_path) -> None:
    settings = DistillSettings(layers=0.5, epochs=1, augment=1, hard_weight=0.0, **TAUGHT)
    learned = {}
    for share in (0.0, 0.5, 1.0):
        out, c = tmp_path / f"{share}", str(tmp_path / "c")
        distill_model(str(teacher), str(shards), str(out), replace(settings, probe=share), c)
        learned[share] = logits(out, "intent")
    assert not torch.allclose(learned[0.0], learned[0.5], atol=1e-3)
    assert not torch.allclose(learned[1.0], learned[0.5], atol=1e-3)


def test_a_teacher_that_names_no_base_model_is_not_probed(shards, tmp_path) -> None:
    teacher = make_classifier(tmp_path / "teacher")
    settings = DistillSettings(layers=0.5, epochs=1, probe=0.5, **TAUGHT)
    with pytest.raises(InputError, match="names no base model"):
        distill_model(str(teacher), str(shards), str(tmp_path / "o"), settings, str(tmp_path / "c"))


def test_a_given_student_keeps_its_shape_and_what_it_tells_of_itself(
    teacher, shards, tmp_path
) -> None:
    student = tmp_path / "pruned"
    make_classifier(student, layers=1, width=16)
    model, tokenizer = load_model(student)
    save_model(
        model, tokenizer, student, task="intent", compression={"parent": "x", "kept_layers": [0]}
    )
    settings = DistillSettings(
        epochs=12, learning_rate=1e-2, dropout=0.0, freeze_embeddings=False, **FAST
    )
    out = tmp_path / "out"
    result = distill_model(
        str(teacher), str(shards), str(out), settings, str(tmp_path / "c"), str(student)
    )
    assert result.after == read_model_manifest(student)["parameters"]
    assert result.training.validation["accuracy"] >= 0.75
    kept = read_compression(out)
    assert kept["kept_layers"] == [0]
    assert kept["parent"] == content_sha256(read_model_manifest(teacher))


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@pytest.mark.parametrize("head", [True, False])
def test_a_student_of_another_family_and_with_other_tokens_learns_the_logits(
    teacher, shards, tmp_path, family, head
) -> None:
    student = make_decoder_classifier(tmp_path / "student", family, head)
    settings = DistillSettings(epochs=8, hidden_weight=0.0, freeze_embeddings=False, **TAUGHT)
    out, c = tmp_path / "out", str(tmp_path / "c")
    result = distill_model(str(teacher), str(shards), str(out), settings, c, str(student))
    assert result.training.validation["accuracy"] >= 0.9
    model, tokenizer = load_model(out)
    assert model.config.model_type == family
    assert model.config.id2label == dict(enumerate(LABELS))
    assert make_byte_tokenizer().get_vocab().items() <= tokenizer.get_vocab().items()
    kept = read_compression(out)
    assert kept["parent"] == content_sha256(read_model_manifest(teacher))
    assert kept["parameters"]["after"] == read_model_manifest(out)["parameters"] == result.after
    with pytest.raises(InputError, match="set hidden_weight to 0"):
        wrong = replace(settings, hidden_weight=1.0)
        distill_model(str(teacher), str(shards), str(out), wrong, c, str(student))


def test_a_decoder_teaches_an_encoder_that_is_a_bare_base_model(shards, tmp_path) -> None:
    c = str(tmp_path / "c")
    base = make_decoder_classifier(tmp_path / "base", "qwen2", head=False)
    tuning = FinetuneSettings(epochs=8, learning_rate=5e-3, freeze_embeddings=False, **FAST)
    finetune_model(str(shards), str(base), str(tmp_path / "teacher"), tuning, c)
    student = make_base(tmp_path / "student", layers=1)
    settings = DistillSettings(
        epochs=8, hidden_weight=0.0, augment=1, freeze_embeddings=False, **TAUGHT
    )
    out = tmp_path / "out"
    result = distill_model(
        str(tmp_path / "teacher"), str(shards), str(out), settings, c, str(student)
    )
    assert result.training.validation["accuracy"] >= 0.75
    manifest = read_model_manifest(out)
    assert manifest["base_model"] == str(student)
    assert manifest["labels"] == LABELS


def test_a_language_model_teaches_a_smaller_one_of_fewer_tokens(shards, tmp_path) -> None:
    settings = FinetuneSettings(task="answer", epochs=6, learning_rate=1e-2, **FAST)
    teacher, c = tmp_path / "teacher", str(tmp_path / "c")
    decoder = make_decoder(tmp_path / "decoder", layers=4)
    finetune_model(str(shards), str(decoder), str(teacher), settings, c)
    out = tmp_path / "student"
    smaller = DistillSettings(
        task="answer", layers=0.5, multiple=8, epochs=4, learning_rate=1e-2, **FAST
    )
    result = distill_model(str(teacher), str(shards), str(out), smaller, c)
    assert result.after["encoder"] < result.before["encoder"]
    assert result.training.validation["accuracy"] > 0.3
    assert logits(out, "answer").shape[-1] == len(make_tokenizer())


def test_a_kept_teacher_and_its_relations_suit_a_student_of_a_trimmed_vocabulary(
    shards, tmp_path
) -> None:
    torch.manual_seed(0)
    config = qwen_config()
    config.vocab_size = 351  # transformers adds an end-of-text token of its own
    (tmp_path / "teacher").mkdir()
    model = AutoModelForCausalLM.from_config(config)
    save_model(model, make_byte_tokenizer(), tmp_path / "teacher", task="answer")
    settings = DistillSettings(
        task="answer",
        layers=0.5,
        multiple=8,
        vocabulary=300,
        top_k=8,
        relation="attention",
        divergence="reverse",
        epochs=2,
        **TAUGHT,
    )
    out, c = tmp_path / "out", str(tmp_path / "c")
    result = distill_model(str(tmp_path / "teacher"), str(shards), str(out), settings, c)
    assert result.training.validation["perplexity"] > 1
    assert load_model(out)[0].config.vocab_size == 300


def test_unlike_vocabularies_need_to_be_told_apart(shards, tmp_path) -> None:
    teacher = make_decoder(tmp_path / "teacher")
    config = llama_config(1)
    config.vocab_size += 3
    (tmp_path / "student").mkdir()
    model = AutoModelForCausalLM.from_config(config)
    save_model(model, make_tokenizer(), tmp_path / "student", task="answer")
    with pytest.raises(InputError, match="vocabularies"):
        distill_model(
            str(teacher),
            str(shards),
            str(tmp_path / "out"),
            DistillSettings(task="answer", **FAST),
            str(tmp_path / "c"),
            str(tmp_path / "student"),
        )


def test_a_teacher_of_another_task_is_bad_input(teacher, shards, tmp_path) -> None:
    with pytest.raises(InputError, match="task 'intent'"):
        distill_model(
            str(teacher), str(shards), str(tmp_path / "o"), DistillSettings(task="answer"), ""
        )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"divergence": "kl"}, "use one of forward, reverse, jsd"),
        ({"relation": "values"}, "use one of states, attention"),
        ({"relation_heads": -1}, "relation_heads is -1"),
        ({"top_k": 8}, "top_k is for task answer"),
    ],
)
def test_terms_that_nothing_can_be_learned_from_are_bad_input(wrong, said) -> None:
    with pytest.raises(InputError, match=said):
        DistillSettings(**wrong)


@pytest.mark.parametrize("wrong", [{"layers": 2}, {"channels": 0.0}, {"vocabulary": -1}])
def test_a_student_larger_than_its_teacher_or_of_nothing_is_bad_input(wrong) -> None:
    with pytest.raises(InputError):
        DistillSettings(**wrong)


def test_copies_are_of_tickets_and_not_of_answers() -> None:
    assert DistillSettings(augment=2).distillation.augment == 2
    assert DistillSettings(task="answer", augment=2).distillation.augment == 0
