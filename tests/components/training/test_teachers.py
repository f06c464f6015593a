from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from components.model_dir import load_model, read_compression
from components.training.data import IGNORED, Collator, TicketRows, read_rows
from components.training.divergences import TopLogits, keep_top
from components.training.losses import Objective, scored_positions
from components.training.relations import last_projections, watched
from components.training.spec import Distillation
from components.training.teachers import (
    CachedAndLiveTeacher,
    LiveTeacher,
    Reading,
    forward_teacher,
    read_teacher,
)
from components.training.world import World
from tests.components.training.tiny import llama_config, make_classifier, make_decoder, make_trimmed

WORLD = World(0, 1, torch.device("cpu"))
PAIRS = ((1, 1), (2, 2))


def test_the_teacher_is_read_once_and_looked_up_by_row(shards: Path, tmp_path: Path) -> None:
    teacher, tokenizer = load_model(make_classifier(tmp_path / "teacher"))
    rows = read_rows(shards, "train", tokenizer, "intent", 32)
    collator = Collator("intent", tokenizer.pad_token_id)
    path = tmp_path / "cache" / "outputs.safetensors"
    counted: list[int] = []
    cached = read_teacher(teacher, rows, Reading(PAIRS), path, WORLD, collator, counted.append)
    assert sum(counted) == len(rows)
    batch = collator([rows[7], rows[2]])
    said = cached(batch)
    logits, hidden = forward_teacher(teacher, batch, "intent", PAIRS)
    torch.testing.assert_close(said.logits.float(), logits, atol=2e-3, rtol=0)
    assert said.hidden is not None
    torch.testing.assert_close(said.hidden.float(), hidden, atol=4e-3, rtol=0)

    silent: list[int] = []
    again = read_teacher(teacher, rows, Reading(PAIRS), path, WORLD, collator, silent.append)
    assert not silent
    assert torch.equal(again(batch).logits, said.logits)


def test_a_torn_cache_is_read_anew(shards: Path, tmp_path: Path) -> None:
    teacher, tokenizer = load_model(make_classifier(tmp_path / "teacher"))
    rows = read_rows(shards, "train", tokenizer, "intent", 32)
    path = tmp_path / "outputs.safetensors"
    path.write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{torn")
    counted: list[int] = []
    collator = Collator("intent", tokenizer.pad_token_id)
    read_teacher(teacher, rows, Reading(), path, WORLD, collator, counted.append)
    assert sum(counted) == len(rows)


def answers(tokenizer: Any, shards: Path) -> tuple[TicketRows, Collator]:
    rows = read_rows(shards, "train", tokenizer, "answer", 32)
    rows = TicketRows([row for row in rows.rows if row.index != 3])  # one without an answer
    return rows, Collator("answer", tokenizer.pad_token_id)


@pytest.mark.parametrize("trimmed", [False, True])
def test_a_language_model_is_kept_at_its_target_tokens(shards, tmp_path, trimmed) -> None:
    directory = make_decoder(tmp_path / "teacher")
    teacher, tokenizer = load_model(directory)
    vocabulary = None
    if trimmed:
        small = make_trimmed(directory, tmp_path / "small", ["battery", "week", "is"])
        tokenizer = load_model(small)[1]
        vocabulary = torch.tensor(read_compression(small)["kept_vocabulary"]["indices"])
    rows, collator = answers(tokenizer, shards)
    path = tmp_path / "kept.safetensors"
    reading = Reading(PAIRS, top_k=5, temperature=2.0, vocabulary=vocabulary)
    cached = read_teacher(teacher, rows, reading, path, WORLD, collator, lambda count: None)
    batch = collator([rows[17], rows[2], rows[30]])
    said = cached(batch)
    its = LiveTeacher(teacher, PAIRS, WORLD.device, vocabulary)(batch)
    live, _ = scored_positions(its.logits, batch["labels"], "answer")
    wanted = keep_top(live, 5, 2.0)
    assert isinstance(said.logits, TopLogits)
    assert torch.equal(said.logits.ids, wanted.ids)
    kept, exact = said.logits.log_probs.float(), wanted.log_probs
    if trimmed:  # the live teacher shares the lost tokens' mass out; kept, it is in the rest
        assert (kept[:, -1] > exact[:, -1]).all()
        kept, exact = kept[:, :-1].log_softmax(-1), exact[:, :-1].log_softmax(-1)
    torch.testing.assert_close(kept, exact, atol=5e-3, rtol=0)
    torch.testing.assert_close(said.hidden.float(), its.hidden, atol=4e-3, rtol=0)
    tensors = load_file(path)
    positions = sum(label != IGNORED for row in rows.rows for label in row.labels)
    assert tensors["ids"].shape == (positions, 5)
    sizes = [tensors[name].nbytes for name in ("ids", "log_probs")]
    assert sum(sizes) == (6 * 5 + 2) * positions


@pytest.mark.parametrize("divergence", ["forward", "reverse", "jsd"])
def test_a_kept_vocabulary_gives_the_live_loss(shards, tmp_path, divergence) -> None:
    teacher, tokenizer = load_model(make_decoder(tmp_path / "teacher"))
    student = AutoModelForCausalLM.from_config(llama_config(1)).eval()
    rows, collator = answers(tokenizer, shards)
    path = tmp_path / "kept.safetensors"
    reading = Reading(top_k=len(tokenizer), temperature=2.0)
    kept = read_teacher(teacher, rows, reading, path, WORLD, collator, lambda count: None)
    batch = collator(rows.rows[:8])
    weights = Distillation(divergence=divergence)
    losses = [
        float(Objective("answer", 0.0, weights, each)(student, batch).detach())
        for each in (kept, LiveTeacher(teacher, (), WORLD.device))
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)


def test_a_kept_teacher_runs_along_for_its_projections(shards, tmp_path) -> None:
    directory = make_classifier(tmp_path / "teacher")
    teacher, tokenizer = load_model(directory)
    small = make_trimmed(directory, tmp_path / "small", ["battery"])
    vocabulary = torch.tensor(read_compression(small)["kept_vocabulary"]["indices"])
    rows = read_rows(shards, "train", tokenizer, "intent", 32)
    own = read_rows(shards, "train", load_model(small)[1], "intent", 32)
    collator = Collator("intent", tokenizer.pad_token_id)
    path = tmp_path / "kept.safetensors"
    kept = read_teacher(teacher, rows, Reading(), path, WORLD, collator, lambda count: None)
    projections = last_projections(teacher)
    live = LiveTeacher(teacher, (), WORLD.device, vocabulary, "intent", projections)
    batch = collator(own.rows[:4])
    said = CachedAndLiveTeacher(kept, live)(batch)
    assert torch.equal(said.logits, kept(batch).logits)
    with watched(projections) as seen:
        teacher(vocabulary[batch["input_ids"]], batch["attention_mask"])
    for own_states, its in zip(said.projections, seen, strict=True):
        torch.testing.assert_close(own_states, its)
        assert not own_states.requires_grad


def test_a_teacher_speaks_to_a_student_of_fewer_tokens() -> None:
    torch.manual_seed(0)
    teacher = AutoModelForCausalLM.from_config(llama_config())
    vocabulary = torch.tensor([0, 3, 7, 8, 11])
    live = LiveTeacher(teacher, (), WORLD.device, vocabulary)
    batch = {"input_ids": torch.tensor([[1, 3, 4]]), "attention_mask": torch.ones(1, 3).long()}
    said = live(batch).logits
    with torch.no_grad():
        whole = teacher(torch.tensor([[3, 8, 11]])).logits
    assert said.shape == (1, 3, 5)
    torch.testing.assert_close(said, whole[..., vocabulary])
