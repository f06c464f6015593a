from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from components.training.data import IGNORED, Collator, GroupedBatches, Row, TicketRows, read_rows
from tests.components.training.tiny import make_tokenizer


def batches(lengths: list[int], batch: int, ranks: int, epoch: int = 0) -> list[list[list[int]]]:
    shares = []
    for rank in range(ranks):
        sampler = GroupedBatches(lengths, batch, rank=rank, ranks=ranks, seed=3)
        sampler.set_epoch(epoch)
        assert len(list(sampler)) == len(sampler)
        shares.append(list(sampler))
    return [list(step) for step in zip(*shares, strict=True)]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=90), st.sampled_from([1, 2, 4]))
def test_every_row_is_in_every_epoch_and_ranks_get_equal_shares(lengths, ranks) -> None:
    steps = batches(lengths, 8, ranks)
    rows = [row for step in steps for share in step for row in share]
    assert set(rows) == set(range(len(lengths)))
    assert len(rows) - len(lengths) < ranks
    assert all(len({len(share) for share in step}) == 1 for step in steps)


def test_batches_hold_rows_of_like_length_in_another_order_each_epoch() -> None:
    lengths = [at % 50 + 1 for at in range(400)]
    steps = batches(lengths, 8, 2)
    spans = [max(lengths[row] for share in s for row in share) for s in steps]
    least = [min(lengths[row] for share in s for row in share) for s in steps]
    assert max(high - low for high, low in zip(spans, least, strict=True)) <= 2
    assert steps != batches(lengths, 8, 2, epoch=1)
    assert steps == batches(lengths, 8, 2)


def test_a_batch_is_padded_to_its_longest_row() -> None:
    rows = [Row(4, [5, 6, 7], [1]), Row(9, [8], [IGNORED])]
    batch = Collator("intent", pad=0)(rows)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [1, IGNORED]
    assert batch["rows"].tolist() == [4, 9]


def test_a_language_model_is_asked_for_the_answer_alone(shards: Path) -> None:
    tokenizer = make_tokenizer()
    rows = read_rows(shards, "train", tokenizer, "answer", 32)
    row = rows[0]
    asked = [label for label in row.labels if label != IGNORED]
    assert len(row.ids) == len(row.labels)
    assert row.ids[-len(asked) :] == asked
    assert asked[-1] == tokenizer.eos_token_id
    assert set(row.labels[: -len(asked)]) == {IGNORED}


def test_changed_texts_follow_the_split_and_have_no_label(shards: Path) -> None:
    tokenizer = make_tokenizer()
    plain = read_rows(shards, "train", tokenizer, "intent", 32)
    more = read_rows(shards, "train", tokenizer, "intent", 32, augment=2, seed=3)
    assert more.rows[: len(plain)] == plain.rows
    changed = more.rows[len(plain) :]
    assert [row.index for row in changed] == list(range(len(plain), 3 * len(plain)))
    assert all(row.labels == [IGNORED] for row in changed)
    assert more.labelled().rows == plain.rows


@pytest.mark.parametrize("task", ["intent", "answer"])
def test_no_row_is_longer_than_allowed(shards: Path, task) -> None:
    rows = read_rows(shards, "train", make_tokenizer(), task, 6)
    assert max(rows.lengths) == 6
    assert all(set(row.labels) - {IGNORED} for row in rows.rows)


def test_rows_without_a_label_can_be_left_out() -> None:
    rows = TicketRows([Row(0, [1], [2]), Row(1, [1], [IGNORED])])
    assert [row.index for row in rows.labelled().rows] == [0]


def test_a_collated_language_model_batch_masks_its_padding() -> None:
    rows = [Row(0, [5, 6, 7], [IGNORED, 6, 7]), Row(1, [8, 9], [IGNORED, 9])]
    labels = Collator("answer", pad=0)(rows)["labels"]
    assert torch.equal(labels, torch.tensor([[IGNORED, 6, 7], [IGNORED, 9, IGNORED]]))
