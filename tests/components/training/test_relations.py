import math

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from components.training.losses import Objective, RelationTerm
from components.training.relations import common_heads, last_projections, relation_loss, watched
from components.training.spec import Distillation
from components.training.teachers import LiveTeacher
from kg_schema.errors import InputError
from tests.components.training.tiny import bert_config, qwen_config

CPU = torch.device("cpu")
MASK = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def reference(student: torch.Tensor, teacher: torch.Tensor, heads: int) -> float:
    """One projection's term, a row, a head and a token at a time, padding cut away."""

    def relations(states: torch.Tensor, head: int) -> torch.Tensor:
        size = states.shape[-1] // heads
        part = states[:, head * size : (head + 1) * size]
        return (part @ part.T / math.sqrt(size)).softmax(-1)

    terms = []
    for row, mask in enumerate(MASK.bool()):
        for token in range(int(mask.sum())):
            for head in range(heads):
                p = relations(teacher[row][mask], head)[token]
                q = relations(student[row][mask], head)[token]
                terms.append(float((p * (p / q).log()).sum()))
    return sum(terms) / len(terms)


def test_relations_are_their_formula_over_unlike_widths() -> None:
    student = [draw(2, 4, width, seed=width) for width in (8, 4, 4)]
    teacher = [draw(2, 4, width, seed=9 + at) for at, width in enumerate((12, 12, 6))]
    wanted = sum(reference(a, b, 2) for a, b in zip(student, teacher, strict=True)) / 3
    assert relation_loss(student, teacher, MASK, 2) == pytest.approx(wanted, rel=1e-4)


def test_relations_are_equal_for_the_same_states_turned() -> None:
    states = [draw(2, 4, 8, seed=at) for at in range(3)]
    turn = torch.linalg.qr(draw(8, 8, seed=7)).Q
    turned = [each @ turn for each in states]
    assert relation_loss(turned, states, MASK, 1) == pytest.approx(0.0, abs=1e-5)
    assert relation_loss(states[::-1], states, MASK, 1) > 0.01


def test_padding_has_no_say_and_no_gradient() -> None:
    student = [draw(2, 4, 8, seed=at).requires_grad_() for at in range(3)]
    teacher = [draw(2, 4, 8, seed=5 + at) for at in range(3)]
    loss = relation_loss(student, teacher, MASK, 2)
    loss.backward()
    for each in student:
        assert each.grad is not None
        assert each.grad.isfinite().all()
        assert not each.grad[0, 3].any()
        assert each.grad[0, 2].any()
    teacher[1][0, 3] = 50.0
    assert relation_loss(student, teacher, MASK, 2).detach() == loss.detach()


@pytest.mark.parametrize(
    ("widths", "wanted", "heads"), [((64, 32), 0, 8), ((48, 36), 0, 6), ((64, 32), 16, 16)]
)
def test_heads_divide_every_width(widths, wanted, heads) -> None:
    assert common_heads(widths, wanted, 8) == heads
    with pytest.raises(InputError, match="does not divide"):
        common_heads(widths, 5, 8)


@pytest.mark.parametrize("family", ["bert", "qwen2"])
def test_what_the_last_layer_projects_is_seen_during_the_forward_pass_alone(family) -> None:
    if family == "bert":
        model = AutoModelForSequenceClassification.from_config(bert_config())
    else:
        model = AutoModelForCausalLM.from_config(qwen_config())
    modules = last_projections(model)
    ids = torch.tensor([[2, 5, 6, 3]])
    with watched(modules) as seen:
        model(ids)
    assert [each.shape[-1] for each in seen] == [each.out_features for each in modules]
    before = list(seen)
    model(ids)
    assert all(now is then for now, then in zip(seen, before, strict=True))


def test_a_family_without_projections_of_its_own_is_bad_input() -> None:
    model = nn.Module()
    model.base_model = nn.Module()
    model.base_model.layers = nn.ModuleList([nn.Linear(2, 2)])
    with pytest.raises(InputError, match="queries"):
        last_projections(model)


def test_the_term_is_weighed_and_reaches_the_student() -> None:
    torch.manual_seed(0)
    teacher = AutoModelForCausalLM.from_config(qwen_config())
    student = AutoModelForCausalLM.from_config(qwen_config(1))
    student.eval()
    live = LiveTeacher(teacher, (), CPU, projections=last_projections(teacher))
    batch = {
        "input_ids": torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0]]),
        "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]),
        "labels": torch.tensor([[-100, -100, 6, 3], [-100, 7, 3, -100]]),
        "rows": torch.tensor([0, 1]),
    }
    term = RelationTerm(last_projections(student), 2)
    losses = [
        Objective(
            "answer",
            0.0,
            Distillation(hidden_weight=weight, relation="attention"),
            live,
            None,
            term,
        )(student, batch)
        for weight in (0.0, 1e3, 2e3)
    ]
    assert losses[1] > losses[0]
    added = [float((loss - losses[0]).detach()) for loss in losses]
    assert added[2] == pytest.approx(2 * added[1], rel=1e-3)
    (losses[1] - losses[0]).backward()
    assert term.modules[2].weight.grad.any()


def test_widths_may_differ() -> None:
    wide = AutoModelForSequenceClassification.from_config(bert_config(width=32))
    slim = AutoModelForSequenceClassification.from_config(bert_config(width=16))
    ids = torch.tensor([[2, 5, 6, 3]])
    with watched(last_projections(wide)) as its, watched(last_projections(slim)) as own:
        wide(ids)
        slim(ids)
    assert relation_loss(own, its, torch.ones(1, 4), 4).isfinite()
