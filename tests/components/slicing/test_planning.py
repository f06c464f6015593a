from itertools import pairwise

import pytest

from components.model_dir import count_parameters
from components.slicing.planning import (
    Counts,
    Size,
    count_left,
    count_parts,
    count_stairs,
    keep_first,
    spread_in_steps,
)
from components.slicing.slicer import Shape, slice_model
from tests.components.slicing.tiny import KINDS, make_model

LARGE = Shape(
    layers=12,
    hidden=768,
    channels=3072,
    groups=12,
    queries=1,
    head_dim=64,
    vocabulary=30000,
    positions=0,
)


def test_part_way_is_a_straight_line() -> None:
    size = Size(layers=0.5, channels=0.25, hidden=0.1)
    assert size.part_way(1.0) == size
    assert size.part_way(0.0) == Size()
    half = size.part_way(0.5)
    assert (half.layers, half.channels, half.heads) == (0.75, 0.625, 1.0)
    assert half.hidden == pytest.approx(0.55)


def test_a_share_of_one_keeps_all_even_of_an_odd_count() -> None:
    shape = Shape(**{**vars(LARGE), "channels": 1000, "hidden": 768})
    counts = count_parts("qwen2", shape, Size(layers=0.5))
    assert (counts.channels, counts.hidden) == (1000, 768)


@pytest.mark.parametrize("family", ["llama", "qwen2", "bert"])
@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_each_step_can_be_cut_to_the_next(family: str, steps: int) -> None:
    """Llama's heads must divide the width, so that plain rounding would go up in places."""
    heads = 1.0 if family == "bert" else 0.4
    size = Size(layers=0.3, channels=0.2, heads=heads, hidden=0.5)
    shape = Shape(**{**vars(LARGE), "positions": 64 if family == "bert" else 0})
    stairs = count_stairs(family, shape, size, steps)
    assert len(stairs) == steps
    assert stairs[-1] == count_parts(family, shape, size)
    whole = Counts(12, 12, 3072, 768, shape.positions)
    for wider, narrower in zip((whole, *stairs), stairs, strict=False):
        assert wider.holds(narrower)
    if family != "qwen2":
        assert all(each.hidden % each.groups == 0 for each in stairs)


def test_layers_spread_in_steps_end_where_one_cut_ends() -> None:
    assert spread_in_steps(6, [3]) == ((1, 3, 5),)
    steps = spread_in_steps(12, [10, 8, 6, 3])
    assert [len(each) for each in steps] == [10, 8, 6, 3]
    assert steps[-1] == (3, 7, 11)
    assert all(set(later) <= set(before) for before, later in pairwise(steps))
    assert spread_in_steps(4, [2, 2]) == ((1, 3), (1, 3))


@pytest.mark.parametrize(("family", "task", "tied"), KINDS)
def test_parameters_are_counted_without_making_the_model(
    family: str, task: str, tied: bool
) -> None:
    model = make_model(family, task, tied=tied)
    bert = family == "bert"
    counts = Counts(3, 2 if bert else 1, 24, 16, 40 if bert else 0)
    words = range(100)
    cut = slice_model(model, keep_first(counts, words))
    assert count_left(model, counts, len(words)) == count_parameters(cut)["total"]
