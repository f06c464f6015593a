import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from components.training.data import IGNORED
from components.training.losses import (
    HiddenProjection,
    hard_loss,
    hidden_loss,
    pool_hidden,
    soft_loss,
    spread_layers,
)


def test_soft_loss_is_zero_for_the_teachers_own_logits_and_positive_otherwise() -> None:
    teacher = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0]])
    assert soft_loss(teacher + 7.0, teacher, 2.0) == pytest.approx(0.0, abs=1e-6)
    assert soft_loss(teacher.flip(0), teacher, 2.0) > 0.1


def test_soft_loss_is_forward_kl_times_the_temperature_squared() -> None:
    student, teacher = torch.tensor([[0.3, -0.2, 1.0]]), torch.tensor([[1.5, 0.0, -1.0]])
    p, q = (teacher / 3).softmax(-1), (student / 3).softmax(-1)
    assert soft_loss(student, teacher, 3.0) == pytest.approx(float(9 * (p * (p / q).log()).sum()))


def test_a_temperature_keeps_the_size_of_the_gradient() -> None:
    teacher = torch.tensor([[0.4, -0.2, 0.1]])
    sizes = []
    for temperature in (1.0, 8.0):
        student = torch.zeros(1, 3, requires_grad=True)
        soft_loss(student, teacher, temperature).backward()
        assert student.grad is not None
        sizes.append(float(student.grad.norm()))
    assert sizes[1] == pytest.approx(sizes[0], rel=0.1)


def test_hard_loss_passes_over_rows_without_a_label() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    alone = hard_loss(logits[:1], torch.tensor([0]))
    assert hard_loss(logits, torch.tensor([0, IGNORED])) == pytest.approx(float(alone))
    assert hard_loss(logits, torch.tensor([IGNORED, IGNORED])) == 0.0


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
