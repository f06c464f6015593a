from pathlib import Path

import pytest
import torch

from components.base_model import MINILM_SHA256, find_base
from components.finetune import FinetuneSettings, finetune_model
from components.model_dir import read_model_manifest
from kg_schema.errors import InputError
from serving.manifest import file_sha256
from tests.components.training.tiny import logits, make_decoder


def test_a_language_model_is_adapted_and_merged(shards, tmp_path) -> None:
    settings = FinetuneSettings(
        task="answer", epochs=8, batch_size=8, learning_rate=1e-2, max_length=32, ranks=1, threads=1
    )
    decoder = make_decoder(tmp_path / "decoder")
    out = tmp_path / "teacher"
    result = finetune_model(str(shards), str(decoder), str(out), settings, str(tmp_path / "c"))
    assert settings.lora is not None
    assert result.training.validation["accuracy"] > 0.3
    assert not list(out.glob("adapter*"))
    assert read_model_manifest(out)["task"] == "answer"
    assert not torch.equal(logits(out, "answer"), logits(decoder, "answer"))


def test_the_base_encoder_is_the_one_it_should_be() -> None:
    folder = find_base("minilm")
    assert file_sha256(folder / "model.safetensors") == MINILM_SHA256


def test_what_is_no_base_model_is_bad_input(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "config.json").write_text("{}")
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"")
    for name, said in (
        (str(tmp_path / "nowhere"), "no such file"),
        (str(tmp_path / "empty"), "config.json"),
        (str(tmp_path / "pickled"), "safetensors"),
        ("nobody/no-such-model-here", "Hub"),
    ):
        with pytest.raises(InputError, match=said):
            find_base(name)


def test_adapters_are_the_answers_own_and_can_be_asked_for() -> None:
    assert FinetuneSettings().lora is None
    answering = FinetuneSettings(task="answer", lora_targets="q_proj, v_proj").lora
    assert answering is not None
    assert answering.targets == ("q_proj", "v_proj")
    assert FinetuneSettings(task="answer", lora_rank=0).lora is None
    classifying = FinetuneSettings(lora_rank=4).lora
    assert classifying is not None
    assert (classifying.r, classifying.alpha) == (4, 8)
