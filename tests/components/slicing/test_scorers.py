import pytest
import torch

from components.slicing.gradients import score_gradients
from components.slicing.planning import Counts, Size, choose_layers, keep_best
from components.slicing.scorers import SCORERS, score_parts
from components.slicing.scores import weigh_model
from components.slicing.slicer import Shape
from components.training.data import IGNORED
from kg_schema.errors import InputError
from tests.components.slicing.tiny import make_model

FAMILIES = ["bert", "llama", "qwen2", "qwen3"]
IDS = torch.tensor([[9, 12, 20, 40, 33, 18, 50], [5, 7, 8, 20, 0, 0, 0]])
MASK = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
CLASSES = {"input_ids": IDS, "attention_mask": MASK, "labels": torch.tensor([1, 3])}
TOKENS = {**CLASSES, "labels": torch.where(MASK == 1, IDS, IGNORED)}
KINDS = [
    *((family, "intent") for family in FAMILIES),
    *((family, "answer") for family in FAMILIES[1:]),
]


def batch_of(task: str) -> dict[str, torch.Tensor]:
    return CLASSES if task == "intent" else TOKENS


@pytest.mark.parametrize("score", ["activation", "taylor", "magnitude"])
@pytest.mark.parametrize(("family", "task"), KINDS)
def test_each_score_finds_the_dead_and_the_strong(family: str, task: str, score: str) -> None:
    model = make_model(family, task)
    shape = Shape.of(model.config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("attention.output.dense.weight", "o_proj.weight")):
                weight[:, : shape.head_dim * shape.queries] = 0  # the first key-value group
            elif name.endswith(("output.dense.weight", "down_proj.weight")):
                weight[:, ::4] = 0
                weight[:, 1::4] *= 1e-4
    scores = score_parts(model, [batch_of(task)], score)
    assert (scores.channels[:, ::4] == 0).all()
    assert (scores.groups[:, 0] == 0).all()
    assert (scores.groups[:, 1:] > 0).all()
    faint, strong = scores.channels[:, 1::4], scores.channels[:, 2::4]
    assert faint.max() < strong.median()
    assert (scores.hidden > 0).all()
    assert scores.influence.shape == (4,)
    assert (scores.influence > 0).all()


@pytest.mark.parametrize(("family", "task"), KINDS)
def test_gradients_find_a_hidden_dimension_that_nobody_reads(family: str, task: str) -> None:
    model = make_model(family, task)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Linear) and module.in_features == 32:
                module.weight[:, 5] = 0
    scores = score_gradients(model, [batch_of(task)])
    assert scores.hidden[5] == 0
    assert (scores.hidden[[0, 1, 6]] > 0).all()


@pytest.mark.parametrize(("family", "task"), KINDS)
def test_a_score_is_the_squared_slope_of_a_rows_loss(family: str, task: str) -> None:
    """Sum over tokens of activation x gradient is, for a row, weight x its gradient."""
    model, batch = make_model(family, task), batch_of(task)
    scores = score_gradients(model, [batch])
    wanted = torch.zeros(64, dtype=torch.float64)
    last = {"bert": "bert.encoder.layer.3.output.dense"}.get(family, "model.layers.3.mlp.down_proj")
    weight = model.get_submodule(last).weight
    for row in range(2):
        one = {name: values[row : row + 1] for name, values in batch.items()}
        logits = model(input_ids=one["input_ids"], attention_mask=one["attention_mask"]).logits
        labels = one["labels"]
        if task == "answer":
            logits, labels = logits[0, :-1], labels[0, 1:]
        loss = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
        (slope,) = torch.autograd.grad(loss, [weight])
        wanted += (slope * weight).detach().sum(0).double().square()
    torch.testing.assert_close(scores.channels[3], wanted, rtol=1e-3, atol=1e-7)


def test_gradients_count_neither_padding_nor_how_rows_are_batched() -> None:
    model = make_model("bert", "intent")
    whole = score_gradients(model, [CLASSES])
    changed = {**CLASSES, "input_ids": IDS * MASK + 3 * (1 - MASK)}
    rows = [{name: values[at : at + 1] for name, values in changed.items()} for at in range(2)]
    for name in ("channels", "groups", "hidden"):
        torch.testing.assert_close(
            getattr(score_gradients(model, rows), name), getattr(whole, name), rtol=1e-3, atol=1e-9
        )


def test_gradients_need_a_label_and_leave_the_model_as_it_was() -> None:
    model = make_model("bert", "intent")
    with pytest.raises(InputError, match="no calibration row has a label"):
        score_gradients(model, [{**CLASSES, "labels": torch.full((2,), IGNORED)}])
    score_gradients(model, [CLASSES])
    assert all(weight.grad is None for weight in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_random_scores_follow_their_seed() -> None:
    model = make_model("qwen3")
    first, same, other = (score_parts(model, [TOKENS], "random", seed) for seed in (1, 1, 2))
    assert torch.equal(first.channels, same.channels)
    assert not torch.equal(first.channels, other.channels)


def test_influence_is_measured_whatever_the_score() -> None:
    model = make_model("llama")
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".1." in name and ("o_proj" in name or "down_proj" in name):
                weight.zero_()
    size = Size(layers=0.75, layer_choice="influence")
    for score in SCORERS:
        influence = score_parts(model, [TOKENS], score).influence
        assert choose_layers(4, size, influence) == (0, 2, 3)
    with pytest.raises(InputError, match="not measured"):
        choose_layers(4, size, weigh_model(model).influence)


def test_the_plan_follows_the_scores() -> None:
    model = make_model("qwen2")
    scores = score_parts(model, [TOKENS], "random", 3)
    plan = keep_best(scores, (1, 3), Counts(2, 1, 8, 16, 0), range(9))
    assert plan.layers == (1, 3)
    assert plan.groups == tuple((int(scores.groups[layer].argmax()),) for layer in (1, 3))
    assert set(plan.hidden) == set(scores.hidden.topk(16).indices.tolist())
