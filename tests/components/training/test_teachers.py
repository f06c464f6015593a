from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from components.model_dir import load_model
from components.training.data import Collator, read_rows
from components.training.teachers import LiveTeacher, forward_teacher, read_teacher
from components.training.world import World
from tests.components.training.tiny import make_classifier, qwen_config

WORLD = World(0, 1, torch.device("cpu"))
PAIRS = ((1, 1), (2, 2))


def test_the_teacher_is_read_once_and_looked_up_by_row(shards: Path, tmp_path: Path) -> None:
    teacher, tokenizer = load_model(make_classifier(tmp_path / "teacher"))
    rows = read_rows(shards, "train", tokenizer, "intent", 32)
    collator = Collator("intent", tokenizer.pad_token_id)
    path = tmp_path / "cache" / "outputs.safetensors"
    counted: list[int] = []
    cached = read_teacher(teacher, rows, PAIRS, path, WORLD, collator, counted.append)
    assert sum(counted) == len(rows)
    batch = collator([rows[7], rows[2]])
    said, wanted = cached(batch), forward_teacher(teacher, batch, "intent", PAIRS)
    torch.testing.assert_close(said.logits.float(), wanted.logits, atol=2e-3, rtol=0)
    assert said.hidden is not None
    assert wanted.hidden is not None
    torch.testing.assert_close(said.hidden.float(), wanted.hidden, atol=4e-3, rtol=0)

    silent: list[int] = []
    again = read_teacher(teacher, rows, PAIRS, path, WORLD, collator, silent.append)
    assert not silent
    assert torch.equal(again(batch).logits, said.logits)


def test_a_torn_cache_is_read_anew(shards: Path, tmp_path: Path) -> None:
    teacher, tokenizer = load_model(make_classifier(tmp_path / "teacher"))
    rows = read_rows(shards, "train", tokenizer, "intent", 32)
    path = tmp_path / "outputs.safetensors"
    path.write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{torn")
    counted: list[int] = []
    collator = Collator("intent", tokenizer.pad_token_id)
    read_teacher(teacher, rows, (), path, WORLD, collator, counted.append)
    assert sum(counted) == len(rows)


def test_a_teacher_speaks_to_a_student_of_fewer_tokens() -> None:
    torch.manual_seed(0)
    teacher = AutoModelForCausalLM.from_config(qwen_config())
    vocabulary = torch.tensor([0, 3, 7, 8, 11])
    live = LiveTeacher(teacher, (), WORLD.device, vocabulary)
    batch = {"input_ids": torch.tensor([[1, 3, 4]]), "attention_mask": torch.ones(1, 3).long()}
    said = live(batch).logits
    with torch.no_grad():
        whole = teacher(torch.tensor([[3, 8, 11]])).logits
    assert said.shape == (1, 3, 5)
    torch.testing.assert_close(said, whole[..., vocabulary])
