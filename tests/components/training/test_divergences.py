import math
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from components.training.divergences import TopLogits, keep_top, soft_loss, top_loss
from components.training.spec import Divergence

KINDS = get_args(Divergence)


def draw(*shape: int, seed: int = 0, spread: float = 2.0) -> torch.Tensor:
    return spread * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def reference(student, teacher, temperature: float, kind: Divergence) -> float:
    """The formulas in plain numbers, a position and a class at a time."""
    total = 0.0
    for own, wanted in zip(student.tolist(), teacher.tolist(), strict=True):
        q, p = softened(own, temperature), softened(wanted, temperature)
        m = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
        total += {
            "forward": kl(p, q),
            "reverse": kl(q, p),
            "jsd": kl(p, m) / 2 + kl(q, m) / 2,
        }[kind]
    return temperature**2 * total / len(student)


def softened(logits: list[float], temperature: float) -> list[float]:
    powers = [math.exp(each / temperature) for each in logits]
    return [each / sum(powers) for each in powers]


def kl(first: list[float], second: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_each_divergence_is_its_formula(kind: Divergence, temperature: float) -> None:
    student, teacher = draw(4, 5), draw(4, 5, seed=1)
    said = soft_loss(student, teacher, temperature, kind)
    assert said == pytest.approx(reference(student, teacher, temperature, kind), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_divergence_and_its_gradient_are_nothing_at_the_teachers_own_logits(kind) -> None:
    teacher = draw(3, 6)
    student = (teacher + 7.0).requires_grad_()
    loss = soft_loss(student, teacher, 2.0, kind)
    loss.backward()
    assert loss.detach() == pytest.approx(0.0, abs=1e-6)
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-6
    assert soft_loss(teacher.flip(0), teacher, 2.0, kind) > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_by_hand(kind: Divergence) -> None:
    temperature = 2.0
    student, teacher = draw(1, 4).double().requires_grad_(), draw(1, 4, seed=3).double()
    q = (student.detach() / temperature).softmax(-1)
    p = (teacher / temperature).softmax(-1)
    m = (p + q) / 2

    def through_softmax(gradient: torch.Tensor) -> torch.Tensor:  # of d loss / d q
        return q * (gradient - (q * gradient).sum())

    by_hand = {
        "forward": q - p,
        "reverse": through_softmax((q / p).log()),
        "jsd": through_softmax((q / m).log() / 2),
    }[kind]
    soft_loss(student, teacher, temperature, kind).backward()
    torch.testing.assert_close(student.grad, temperature * by_hand, rtol=1e-5, atol=1e-6)


def test_where_they_share_nothing_only_jsd_has_a_bound() -> None:
    student, teacher = torch.tensor([[60.0, 0.0]]), torch.tensor([[0.0, 60.0]])
    assert soft_loss(student, teacher, 1.0, "jsd") == pytest.approx(math.log(2))
    assert soft_loss(student, teacher, 1.0, "forward") == pytest.approx(60.0)
    assert soft_loss(student, teacher, 1.0, "reverse") == pytest.approx(60.0)


def test_forward_fears_to_miss_what_the_teacher_says_and_reverse_to_add_to_it() -> None:
    teacher = torch.tensor([[4.0, 4.0, -4.0]])
    misses, adds = torch.tensor([[6.0, -6.0, -6.0]]), torch.tensor([[0.0, 0.0, 0.0]])
    assert soft_loss(misses, teacher, 1.0) > soft_loss(adds, teacher, 1.0)
    assert soft_loss(misses, teacher, 1.0, "reverse") < soft_loss(adds, teacher, 1.0, "reverse")


@pytest.mark.parametrize("kind", KINDS)
def test_a_temperature_keeps_the_size_of_the_gradient(kind: Divergence) -> None:
    teacher = torch.tensor([[0.4, -0.2, 0.1]])
    sizes = []
    for temperature in (1.0, 8.0):
        student = torch.zeros(1, 3, requires_grad=True)
        soft_loss(student, teacher, temperature, kind).backward()
        assert student.grad is not None
        sizes.append(float(student.grad.norm()))
    assert sizes[1] == pytest.approx(sizes[0], rel=0.1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("k", [9, 12])
def test_all_tokens_kept_are_the_whole_loss(kind: Divergence, temperature: float, k: int) -> None:
    student, teacher = draw(5, 9), draw(5, 9, seed=1)
    whole = float(soft_loss(student, teacher, temperature, kind))
    kept = keep_top(teacher, k, temperature)
    assert top_loss(student, kept, temperature, kind) == pytest.approx(whole, abs=1e-6)
    halved = TopLogits(kept.ids, kept.log_probs.half())
    assert top_loss(student, halved, temperature, kind) == pytest.approx(whole, abs=1e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_kept_tokens_and_the_rest_are_classes(kind: Divergence, temperature: float) -> None:
    student, teacher = draw(6, 20), draw(6, 20, seed=1)
    k = 4
    kept = keep_top(teacher, k, temperature)
    assert kept.log_probs.exp().sum(-1) == pytest.approx(1.0, abs=1e-5)

    def grouped(logits: torch.Tensor) -> torch.Tensor:  # logs of k + 1 classes at T = 1
        share = (logits / temperature).softmax(-1)
        top = share.gather(-1, kept.ids)
        return torch.cat([top, 1 - top.sum(-1, keepdim=True)], dim=-1).log()

    wanted = temperature**2 * reference(grouped(student), grouped(teacher), 1.0, kind)
    assert top_loss(student, kept, temperature, kind) == pytest.approx(wanted, rel=1e-4)


@given(st.integers(1, 12), st.integers(0, 1000))
def test_fewer_classes_never_tell_more(k: int, seed: int) -> None:
    student, teacher = draw(3, 12, seed=seed), draw(3, 12, seed=seed + 1)
    kept = keep_top(teacher, k, 2.0)
    assert -1e-6 <= top_loss(student, kept, 2.0) <= soft_loss(student, teacher, 2.0) + 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_a_certain_student_and_a_certain_teacher_give_finite_numbers(kind: Divergence) -> None:
    teacher = torch.tensor([[50.0, *[0.0] * 9], [0.0, 300.0, *[0.0] * 8]])
    kept = keep_top(teacher, 2, 1.0)
    kept = TopLogits(kept.ids, kept.log_probs.half())
    student = (2 * teacher).requires_grad_()
    loss = top_loss(student, kept, 1.0, kind)
    loss.backward()
    assert loss.detach() == pytest.approx(0.0, abs=1e-6)
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_tokens_that_the_student_lacks_are_in_the_rest() -> None:
    teacher = draw(4, 8, seed=2)
    vocabulary = torch.tensor([0, 2, 3, 6, 7])
    share = teacher.softmax(-1)
    kept = keep_top(teacher, 2, 1.0, vocabulary)
    top = share[:, vocabulary].topk(2, dim=-1)
    assert torch.equal(kept.ids, top.indices)
    torch.testing.assert_close(kept.log_probs[:, :2].exp(), top.values)
    torch.testing.assert_close(kept.log_probs[:, 2].exp(), 1 - top.values.sum(-1))

    student = draw(4, 5)
    every = keep_top(teacher, 5, 2.0, vocabulary)
    live = soft_loss(student, teacher[:, vocabulary], 2.0)
    assert top_loss(student, every, 2.0) == pytest.approx(float(live), abs=1e-6)
