import pytest
import torch

from components.slicing.planning import Size, choose_layers, plan_cut
from components.slicing.scores import score_model, weigh_model
from components.slicing.slicer import Plan, Shape, slice_model
from kg_schema.errors import InputError
from tests.components.slicing.tiny import make_model

IDS = torch.tensor([[9, 12, 20, 40, 33, 18, 50], [5, 7, 8, 20, 0, 0, 0]])
MASK = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
BATCH = {"input_ids": IDS, "attention_mask": MASK}


@pytest.mark.parametrize("family", ["bert", "llama", "qwen2", "qwen3"])
def test_dead_parts_are_worth_nothing_and_go_first(family: str) -> None:
    model = make_model(family, "intent")
    shape = Shape.of(model.config)
    reads = "output.dense.weight" if family == "bert" else "down_proj.weight"
    mixes = "attention.output.dense.weight" if family == "bert" else "o_proj.weight"
    width = shape.head_dim * shape.queries
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(mixes):
                weight[:, :width] = 0  # the first key-value group
            elif name.endswith(reads):
                weight[:, ::2] = 0
    scores = score_model(model, [BATCH])
    assert (scores.channels[:, ::2] == 0).all()
    assert (scores.channels[:, 1::2] > 0).all()
    assert (scores.groups[:, 0] == 0).all()
    assert (scores.groups[:, 1:] > 0).all()
    assert (scores.hidden > 0).all()
    size = Size(channels=0.5, heads=1.0 if family == "bert" else 0.5)
    plan = plan_cut(model.config.model_type, shape, scores, size, range(shape.vocabulary))
    assert plan.channels == (tuple(range(1, 64, 2)),) * 4
    if family != "bert":
        assert plan.groups == ((1,),) * 4


def test_padding_is_not_counted() -> None:
    model = make_model("bert", "intent")
    changed = {**BATCH, "input_ids": IDS * MASK + 3 * (1 - MASK)}
    for name in ("channels", "groups", "hidden", "influence"):
        first, second = getattr(score_model(model, [BATCH]), name), None
        second = getattr(score_model(model, [changed]), name)
        torch.testing.assert_close(first, second)


def test_scored_channels_lose_less_than_the_others() -> None:
    """The kept half by score is nearer to the whole model than the half it left."""
    model = make_model("bert", "intent")
    shape = Shape.of(model.config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("intermediate.dense.weight"):
                weight *= torch.rand(64, 1, generator=torch.Generator().manual_seed(1)) ** 3 * 3
    scores = score_model(model, [BATCH])
    best = plan_cut("bert", shape, scores, Size(channels=0.5), range(shape.vocabulary))
    others = tuple(tuple(sorted({*range(64)} - {*kept})) for kept in best.channels)
    worst = Plan(**{**vars(best), "channels": others})

    def error(plan: Plan) -> float:
        with torch.no_grad():
            return float((slice_model(model, plan)(**BATCH).logits - model(**BATCH).logits).norm())

    assert error(best) < 0.5 * error(worst)


def test_layers_are_spread_or_chosen_by_influence() -> None:
    influence = torch.tensor([0.1, 0.9, 0.3, 0.2, 0.8, 0.05])
    assert choose_layers(6, Size(layers=0.5), influence) == (1, 3, 5)
    assert choose_layers(6, Size(layers=0.1), influence) == (5,)
    assert choose_layers(6, Size(layers=1.0), influence) == (0, 1, 2, 3, 4, 5)
    by_influence = Size(layers=0.5, layer_choice="influence")
    assert choose_layers(6, by_influence, influence) == (1, 2, 4)


def test_a_layer_that_does_nothing_has_no_influence() -> None:
    model = make_model("llama")
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".1." in name and ("o_proj" in name or "down_proj" in name):
                weight.zero_()
    influence = score_model(model, [BATCH]).influence
    assert influence[1] == pytest.approx(0, abs=1e-9)
    assert (influence[[0, 2, 3]] > 0.001).all()


@pytest.mark.parametrize("family", ["bert", "llama", "qwen2", "qwen3"])
def test_weights_alone_tell_the_strongest_channels(family: str) -> None:
    model = make_model(family, "intent")
    shape = Shape.of(model.config)
    reads = "output.dense.weight" if family == "bert" else "down_proj.weight"
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(reads) and "attention" not in name:
                weight[:, 32:] *= 1e-6
    whole = range(shape.vocabulary)
    size = Size(layers=0.5, channels=0.5)
    plan = plan_cut(model.config.model_type, shape, weigh_model(model), size, whole)
    assert plan.channels == (tuple(range(32)),) * 2
    assert plan.layers == (1, 3)
    unlike = slice_model(
        model, Plan(**{**vars(Plan.whole(shape)), "channels": plan.channels[:1] * 4})
    )
    with torch.no_grad():
        torch.testing.assert_close(unlike(**BATCH).logits, model(**BATCH).logits, atol=1e-3, rtol=0)


def plan_for(family: str, **size: object) -> Plan:
    model = make_model(family, "intent")
    shape = Shape.of(model.config)
    scores = score_model(model, [BATCH])
    return plan_cut(family, shape, scores, Size(**size), range(shape.vocabulary))


def test_bert_heads_follow_the_hidden_width() -> None:
    plan = plan_for("bert", hidden=0.5)
    assert (len(plan.groups[0]), len(plan.hidden)) == (2, 16)
    with pytest.raises(InputError, match="heads follow"):
        plan_for("bert", heads=0.5)


def test_llama_heads_divide_the_hidden_width() -> None:
    plan = plan_for("llama", hidden=0.8, multiple=2)
    assert len(plan.hidden) % 4 == 0
    plan = plan_for("llama", heads=0.5)
    assert (len(plan.groups[0]), len(plan.hidden)) == (1, 32)


def test_positions_hold_the_rows() -> None:
    assert plan_for("bert", positions=48, max_length=32).positions == 48
    with pytest.raises(InputError, match="at least max_length"):
        plan_for("bert", positions=16, max_length=32)
    with pytest.raises(InputError, match="no table"):
        plan_for("llama", positions=16, max_length=8)


@pytest.mark.parametrize(
    "wrong", [{"layers": 0.0}, {"channels": 1.5}, {"multiple": 0}, {"layer_choice": "odd"}]
)
def test_sizes_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Size(**wrong)
