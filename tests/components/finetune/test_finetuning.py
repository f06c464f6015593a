import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from components.base_model import MINILM_SHA256, find_base
from components.finetune import FinetuneSettings, finetune_model
from components.launch import LaunchError
from components.model_dir import read_model_manifest
from components.training.checkpoint import is_whole
from kg_schema.errors import InputError
from serving.manifest import file_sha256
from tests.components.training.tiny import logits, make_decoder

SETTINGS = FinetuneSettings(
    epochs=20,
    batch_size=8,
    learning_rate=3e-3,
    head_learning_rate=3e-3,
    max_length=32,
    threads=1,
    precision="fp32",
)
FRESH = """
import sys, torch
from safetensors.torch import save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1], trust_remote_code=False)
encoded = AutoTokenizer.from_pretrained(sys.argv[1])(sys.argv[2], return_tensors="pt")
with torch.no_grad():
    found = model.eval()(encoded["input_ids"], encoded["attention_mask"]).logits
assert not any(name.split(".")[0] in ("components", "serving") for name in sys.modules)
save_file({"logits": found}, sys.argv[3])
"""
TEXT = "no sound from the tablet again"


def ranks_of_this_process() -> list[int]:
    ranks = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            command = child.cmdline()
            if "components.training.worker" in command and "torch.distributed.run" not in command:
                ranks.append(child.pid)
    return ranks


def kill_a_rank_after_a_checkpoint(checkpoints: Path, killed: list[int]) -> None:
    end = time.monotonic() + 200
    while time.monotonic() < end:
        if sum(is_whole(path) for path in checkpoints.glob("training-*/checkpoint-*")) >= 2:
            killed.append(ranks_of_this_process()[-1])
            os.kill(killed[0], signal.SIGKILL)
            return
        time.sleep(0.02)


def test_a_killed_training_of_two_ranks_goes_on_and_its_model_loads_anywhere(
    base: Path, shards: Path, tmp_path: Path
) -> None:
    out, checkpoints = tmp_path / "teacher", tmp_path / "checkpoints"
    given = (str(shards), str(base), str(out), SETTINGS, str(checkpoints))
    killed: list[int] = []
    killer = threading.Thread(target=kill_a_rank_after_a_checkpoint, args=(checkpoints, killed))
    killer.start()
    with pytest.raises(LaunchError, match="signal 9"):
        finetune_model(*given)
    killer.join()
    assert killed
    assert not out.exists()

    result = finetune_model(*given)
    assert result.training.resumed_from >= 2 * 5
    assert result.training.steps == 20 * 5
    assert result.training.ranks == 2
    assert result.training.validation["accuracy"] >= 0.75
    assert not checkpoints.exists()
    manifest = read_model_manifest(out)
    assert manifest["base_sha256"] == result.base_sha256

    fresh = tmp_path / "logits.safetensors"
    subprocess.run([sys.executable, "-c", FRESH, str(out), TEXT, str(fresh)], check=True, cwd="/")
    assert torch.equal(load_file(fresh)["logits"], logits(out, "intent", TEXT))


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
