import pytest
import torch

from components.slicing.families import family_of
from components.slicing.slicer import Plan, Shape, slice_model
from kg_schema.errors import InputError
from tests.components.slicing.tiny import (
    KINDS,
    logits_of,
    make_model,
)

IDS = torch.tensor([[9, 12, 20, 40, 33, 18, 50]])


def uneven(family: str, shape: Shape) -> Plan:
    """A plan that cuts every axis, each layer in its own way."""
    bert = family == "bert"
    return Plan(
        layers=(0, 2, 3),
        groups=((0, 2), (1, 3), (2, 3)) if bert else ((0,), (1,), (1,)),
        channels=tuple(tuple(range(start, 64, 2)) for start in (0, 1, 0)),
        hidden=tuple(range(0, 32, 2)),
        vocabulary=tuple(range(shape.vocabulary - 7)),
        positions=48 if bert else 0,
    )


@pytest.mark.parametrize("family", ["bert", "llama", "qwen2", "qwen3"])
def test_keeping_everything_changes_nothing(family: str) -> None:
    model = make_model(family, "intent")
    same = slice_model(model, Plan.whole(Shape.of(model.config)))
    assert torch.equal(logits_of(model, IDS), logits_of(same, IDS))


@pytest.mark.parametrize(("family", "task", "tied"), KINDS)
def test_every_axis_is_cut_to_the_plan(family: str, task: str, tied: bool) -> None:
    model = make_model(family, task, tied=tied)
    plan = uneven(family, Shape.of(model.config))
    cut = slice_model(model, plan)
    shape = Shape.of(cut.config)
    assert (shape.layers, shape.hidden, shape.channels) == (3, 16, 32)
    assert (shape.groups, shape.head_dim) == (len(plan.groups[0]), 8)
    assert shape.vocabulary == len(plan.vocabulary)
    assert logits_of(cut, IDS).shape[-1] == (4 if task == "intent" else shape.vocabulary)
    if tied:
        head, words = cut.get_output_embeddings().weight, cut.get_input_embeddings().weight
        assert head.data_ptr() == words.data_ptr()


def test_two_plans_are_one() -> None:
    """Cut twice or once by the plans put together: the same model, and the teacher's indices."""
    model = make_model("bert", "intent")
    first = uneven("bert", Shape.of(model.config))
    once = slice_model(model, first)
    later = Plan(
        layers=(0, 2),
        groups=((1,), (0,)),
        channels=(tuple(range(0, 32, 4)), tuple(range(8))),
        hidden=tuple(range(8, 16)),
        vocabulary=tuple(range(5, 60)),
        positions=40,
    )
    both = first.then(later)
    assert both.layers == (0, 3)
    assert both.groups == ((2,), (2,))
    assert both.channels[1] == tuple(range(0, 16, 2))
    assert both.hidden == tuple(range(16, 32, 2))
    assert both.positions == 40
    twice, direct = slice_model(once, later).state_dict(), slice_model(model, both).state_dict()
    assert all(torch.equal(twice[name], direct[name]) for name in direct)


@pytest.mark.parametrize("family", ["bert", "llama", "qwen2", "qwen3"])
def test_what_carries_nothing_can_go_without_a_trace(family: str) -> None:
    """Dead channels, heads and a dead layer: the logits stay as they were."""
    model = make_model(family, "intent")
    shape = Shape.of(model.config)
    names = {
        "bert": ("intermediate.dense", "attention.output.dense", "output.dense"),
    }.get(family, ("mlp.up_proj", "self_attn.o_proj", "mlp.down_proj"))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if names[0] in name:
                weight[: shape.channels // 2] = 0
            if f"{names[1]}.weight" in name:
                weight[:, : shape.queries * shape.head_dim] = 0
            if family != "bert" and ".2." in name and (names[1] in name or names[2] in name):
                weight.zero_()
    layers = (0, 1, 2, 3) if family == "bert" else (0, 1, 3)
    whole = Plan.whole(shape)
    heads = shape.groups if family == "bert" else 1
    cut = slice_model(
        model,
        Plan(
            layers=layers,
            groups=tuple(tuple(range(shape.groups - heads, shape.groups)) for _ in layers),
            channels=tuple(tuple(range(shape.channels // 2, shape.channels)) for _ in layers),
            hidden=whole.hidden,
            vocabulary=whole.vocabulary,
            positions=whole.positions,
        ),
    )
    torch.testing.assert_close(logits_of(cut, IDS), logits_of(model, IDS), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_dead_hidden_dimensions_can_go_without_a_trace(family: str) -> None:
    """The norms' scale makes up for the smaller mean of squares."""
    model = make_model(family, "intent")
    dead = torch.arange(1, 32, 2)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "embed_tokens" in name:
                weight[:, dead] = 0
            if "o_proj.weight" in name or "down_proj.weight" in name:
                weight[dead] = 0
    whole = Plan.whole(Shape.of(model.config))
    cut = slice_model(model, Plan(**{**vars(whole), "hidden": tuple(range(0, 32, 2))}))
    torch.testing.assert_close(logits_of(cut, IDS), logits_of(model, IDS), rtol=1e-4, atol=1e-4)


def test_token_ids_in_the_configuration_follow_the_vocabulary() -> None:
    model = make_model("qwen2")
    end = model.config.eos_token_id
    model.generation_config.eos_token_id = [end]
    whole = Plan.whole(Shape.of(model.config))
    kept = tuple(token for token in whole.vocabulary if token not in range(5, 12))
    cut = slice_model(model, Plan(**{**vars(whole), "vocabulary": kept}))
    assert kept[cut.config.eos_token_id] == end
    assert kept[cut.config.pad_token_id] == model.config.pad_token_id
    assert [kept[token] for token in cut.generation_config.eos_token_id] == [end]


def test_an_unknown_family_and_an_unknown_tensor_are_refused() -> None:
    with pytest.raises(InputError, match=r"'gpt2'.*bert, llama, qwen2, qwen3"):
        family_of("gpt2")
    model = make_model("bert", "intent")
    model.bert.extra = torch.nn.Linear(2, 2)
    with pytest.raises(InputError, match=r"bert.extra.weight"):
        slice_model(model, Plan.whole(Shape.of(model.config)))
