import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForSequenceClassification

from components.training.data import IGNORED, Collator, Row
from components.training.divergences import soft_loss
from components.training.losses import (
    HiddenProjection,
    Objective,
    TeacherOutputs,
    hard_loss,
    hidden_loss,
    pool_hidden,
    spread_layers,
)
from components.training.spec import Distillation
from tests.components.training.tiny import bert_config


def test_hard_loss_passes_over_rows_without_a_label() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    alone = hard_loss(logits[:1], torch.tensor([0]))
    assert hard_loss(logits, torch.tensor([0, IGNORED])) == pytest.approx(float(alone))
    assert hard_loss(logits, torch.tensor([IGNORED, IGNORED])) == 0.0


def test_a_row_without_a_label_counts_in_all_terms_but_the_hard_one() -> None:
    torch.manual_seed(0)
    config = bert_config()
    config.num_labels = 3
    student = AutoModelForSequenceClassification.from_config(config).eval()
    batch = Collator("intent", pad=0)([Row(0, [2, 5, 3], [1]), Row(1, [2, 6, 7, 3], [IGNORED])])
    said = TeacherOutputs(torch.tensor([[1.0, 0.0, 2.0], [0.0, 3.0, 1.0]]), None)
    own = student(batch["input_ids"], batch["attention_mask"]).logits
    weights = Distillation(soft_weight=2.0, hard_weight=0.5, temperature=3.0)
    loss = Objective("intent", 0.0, weights, lambda given: said)(student, batch)
    assert isinstance(said.logits, torch.Tensor)
    wanted = 2.0 * soft_loss(own, said.logits, 3.0) + 0.5 * hard_loss(own[:1], torch.tensor([1]))
    torch.testing.assert_close(loss, wanted)


def test_hidden_loss_knows_direction_not_size() -> None:
    states = torch.randn(3, 2, 2, 8)
    assert hidden_loss(5 * states, states) == pytest.approx(0.0, abs=1e-6)
    assert hidden_loss(-states, states) == pytest.approx(2.0, abs=1e-6)


@pytest.mark.parametrize(("task", "leading"), [("intent", 0), ("answer", 1)])
def test_pooling_ignores_padding_and_takes_the_tasks_leading_token(task, leading) -> None:
    hidden = torch.tensor([[[1.0, 1.0], [3.0, 5.0], [99.0, 99.0]]])
    pooled = pool_hidden(hidden, torch.tensor([[1, 1, 0]]), task)
    assert pooled.shape == (1, 2, 2)
    assert torch.equal(pooled[0, 0], hidden[0, leading])
    assert torch.equal(pooled[0, 1], torch.tensor([2.0, 3.0]))


@given(st.integers(1, 24), st.integers(0, 40))
def test_layers_spread_upwards_onto_the_last(student: int, more: int) -> None:
    pairs = spread_layers(student, student + more)
    teachers = [teacher for _, teacher in pairs]
    assert [own for own, _ in pairs] == list(range(1, student + 1))
    assert teachers == sorted(set(teachers))
    assert teachers[0] >= 1
    assert teachers[-1] == student + more


def test_a_projection_is_learnt_only_between_different_widths() -> None:
    states = tuple(torch.randn(2, 3, 4) for _ in range(3))
    mask = torch.ones(2, 3, dtype=torch.long)
    same = HiddenProjection(((1, 2), (2, 4)), 4, 4)
    wider = HiddenProjection(((1, 2), (2, 4)), 4, 6)
    assert not list(same.parameters())
    assert same(states, mask, "intent").shape == (2, 2, 2, 4)
    assert wider(states, mask, "intent").shape == (2, 2, 2, 6)
