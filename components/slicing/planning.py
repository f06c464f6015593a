"""From scores and the wish for a size to a plan that the family's configuration can express."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Literal

from components.slicing.families import Axis, family_of
from components.slicing.slicer import Plan, Shape
from kg_schema.errors import InputError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from components.slicing.scores import Scores


LayerChoice = Literal["even", "influence"]
SHARES = ("layers", "channels", "heads", "hidden")


@dataclass(frozen=True)
class Size:
    """How much of a model is kept; shares are of its own counts, 1.0 keeps all.

    Args:
        layers: Share of the layers.
        layer_choice: `even` spreads the kept layers over the depth, the last one among them;
            `influence` keeps those that turn their input most (ShortGPT, Men et al. 2024).
        channels: Share of each layer's feed-forward channels.
        heads: Share of each layer's key-value groups, each with all its query heads. In the BERT
            family heads follow `hidden` and this stays 1.0.
        hidden: Share of the hidden width. In the BERT family whole heads go.
        multiple: Channels and hidden width are rounded to a multiple of this.
        positions: Positions kept where they are learned; 0 keeps all.
        max_length: Tokens a row may have; at least so many positions are needed.
    """

    layers: float = 1.0
    layer_choice: LayerChoice = "even"
    channels: float = 1.0
    heads: float = 1.0
    hidden: float = 1.0
    multiple: int = 32
    positions: int = 0
    max_length: int = 64

    def __post_init__(self) -> None:
        """Refuses a size that no model can have.

        Raises:
            InputError: A share is outside (0, 1], or a count is out of its range.
        """
        for name in SHARES:
            if not 0.0 < getattr(self, name) <= 1.0:
                raise InputError(
                    f"{name} is {getattr(self, name)}", fix="use a share above 0 and up to 1"
                )
        for name, least in (("multiple", 1), ("positions", 0), ("max_length", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}", fix=f"use {least} or more")
        if self.layer_choice not in ("even", "influence"):
            raise InputError(f"layer_choice is {self.layer_choice!r}", fix="use even or influence")

    def part_way(self, depth: float) -> Size:
        """Returns a size on the straight way from the whole model to this one.

        Args:
            depth: How far: 0 keeps every share at 1, 1 is this size.
        """
        if depth == 1.0:  # not but for rounding
            return self
        shares = {name: 1.0 - depth * (1.0 - getattr(self, name)) for name in SHARES}
        return replace(self, **shares)


@dataclass(frozen=True)
class Counts:
    """What a size comes to in a model of a given shape.

    Args:
        layers: Layers.
        groups: Key-value groups of a layer.
        channels: Feed-forward channels of a layer.
        hidden: Hidden width.
        positions: Learned positions; 0 where there is no table of them.
    """

    layers: int
    groups: int
    channels: int
    hidden: int
    positions: int

    def holds(self, other: Counts) -> bool:
        """Tells whether a model of these counts can be cut to the others."""
        return all(own >= its for own, its in zip(astuple(self), astuple(other), strict=True))


def plan_cut(
    model_type: str,
    shape: Shape,
    scores: Scores,
    size: Size,
    vocabulary: Sequence[int],
) -> Plan:
    """Chooses what is kept.

    Args:
        model_type: As in the configuration.
        shape: The model's counts.
        scores: Worth of its parts.
        size: How much is kept.
        vocabulary: Rows of the word embeddings that are kept, ascending.

    Raises:
        InputError: The family cannot be cut that way.
    """
    layers = choose_layers(shape.layers, size, scores.influence)
    return keep_best(scores, layers, count_parts(model_type, shape, size), vocabulary)


def keep_best(
    scores: Scores, layers: Sequence[int], counts: Counts, vocabulary: Sequence[int]
) -> Plan:
    """Keeps the best groups and channels of some layers and the best hidden dimensions.

    Args:
        scores: Worth of the model's parts.
        layers: The layers that are kept, ascending.
        counts: How many of the rest.
        vocabulary: Rows of the word embeddings that are kept, ascending.
    """
    return Plan(
        layers=tuple(layers),
        groups=tuple(_best(scores.groups[layer], counts.groups) for layer in layers),
        channels=tuple(_best(scores.channels[layer], counts.channels) for layer in layers),
        hidden=_best(scores.hidden, counts.hidden),
        vocabulary=tuple(vocabulary),
        positions=counts.positions,
    )


def count_parts(model_type: str, shape: Shape, size: Size) -> Counts:
    """Returns the counts that a size comes to and that the family's configuration can express.

    Raises:
        InputError: The family cannot be cut that way.
    """
    groups, hidden = _widths(model_type, shape, size)
    return Counts(
        layers=_layers(shape.layers, size),
        groups=groups,
        channels=_rounded(size.channels, shape.channels, size.multiple),
        hidden=hidden,
        positions=_positions(shape, size),
    )


def keep_first(counts: Counts, vocabulary: Sequence[int]) -> Plan:
    """Keeps the first parts of everything, for what depends on counts alone."""
    return Plan(
        layers=tuple(range(counts.layers)),
        groups=(tuple(range(counts.groups)),) * counts.layers,
        channels=(tuple(range(counts.channels)),) * counts.layers,
        hidden=tuple(range(counts.hidden)),
        vocabulary=tuple(vocabulary),
        positions=counts.positions,
    )


def count_left(model: PreTrainedModel, counts: Counts, words: int) -> int:
    """Counts the parameters of the model that a cut leaves, shared ones once, without making it.

    Args:
        model: Before the cut.
        counts: What is kept.
        words: Tokens that are kept.

    Raises:
        InputError: The model has a tensor that its family's table lacks.
    """
    family, shape = family_of(model.config.model_type), Shape.of(model.config)
    left: dict[Axis, int] = {
        "vocabulary": words,
        "positions": counts.positions,
        "hidden": counts.hidden,
        "channels": counts.channels,
        "heads": counts.groups * shape.queries * shape.head_dim,
        "kv": counts.groups * shape.head_dim,
    }
    total = 0
    for name, tensor in model.named_parameters():
        _, axes, layer = family.locate(name, model.base_model_prefix)
        if layer is None or layer < counts.layers:
            widths = zip(tensor.shape, axes, strict=True)
            total += math.prod(left[axis] if axis else width for width, axis in widths)
    return total


def count_stairs(model_type: str, shape: Shape, size: Size, steps: int) -> tuple[Counts, ...]:
    """Returns the counts of equal steps from the whole model to a size, the size's own last.

    Rounding can make a step wider than the one before it; such a step is as small as the next.

    Raises:
        InputError: The family cannot be cut that way.
    """
    stairs = [count_parts(model_type, shape, size)]
    for step in range(steps - 1, 0, -1):
        counts = count_parts(model_type, shape, size.part_way(step / steps))
        stairs.append(counts if counts.holds(stairs[-1]) else stairs[-1])
    return tuple(reversed(stairs))


def choose_layers(count: int, size: Size, influence: torch.Tensor) -> tuple[int, ...]:
    """Returns the layers that are kept, ascending: at least one.

    Raises:
        InputError: They are to be chosen by an influence that was not measured.
    """
    kept = _layers(count, size)
    if size.layer_choice == "influence":
        return most_influential(influence, kept)
    return spread_evenly(count, kept)


def most_influential(influence: torch.Tensor, kept: int) -> tuple[int, ...]:
    """Returns the layers that turn their input most.

    Raises:
        InputError: Their influence was not measured.
    """
    if not influence.numel():
        raise InputError("the influence of layers was not measured", fix="use layer_choice even")
    return _best(influence, kept)


def spread_evenly(count: int, kept: int) -> tuple[int, ...]:
    """Returns `kept` of `count` places, spread evenly, the last one among them.

    The last layer is what the head was trained on. On a 6-layer encoder with 77 classes (88.6%
    right) layers 1, 3, 5 came back to 84.2% after one pass of recovery over 2,533 rows, layers
    0, 2, 4 to 78.2%.
    """
    return tuple((index + 1) * count // kept - 1 for index in range(kept))


def spread_in_steps(count: int, stairs: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Returns the evenly spread layers of each step, every step's among those of the one before.

    The last step keeps what a single cut would; the steps before it add to that, evenly.

    Args:
        count: Layers of the whole model.
        stairs: How many are kept, step by step, never more than the step before.
    """
    chosen = [spread_evenly(count, stairs[-1])]
    for kept in reversed(stairs[:-1]):
        others = [layer for layer in range(count) if layer not in chosen[-1]]
        places = spread_evenly(len(others), kept - len(chosen[-1]))
        chosen.append(tuple(sorted((*chosen[-1], *(others[place] for place in places)))))
    return tuple(reversed(chosen))


def _widths(model_type: str, shape: Shape, size: Size) -> tuple[int, int]:
    """Returns how many key-value groups and hidden dimensions are kept."""
    family = family_of(model_type)
    if family.heads_follow_hidden:
        if size.heads not in (1.0, size.hidden):
            raise InputError(
                f"heads is {size.heads}: a {model_type} model's heads follow its hidden width",
                fix="set hidden and leave heads at 1.0",
            )
        groups = max(1, round(shape.groups * size.hidden))
        return groups, groups * shape.head_dim
    groups = max(1, round(shape.groups * size.heads))
    step = size.multiple
    if family.heads_divide_hidden:
        if size.hidden == 1.0:
            groups = _dividing(groups, shape)
        step = math.lcm(step, groups * shape.queries)
    return groups, _rounded(size.hidden, shape.hidden, step)


def _dividing(wanted: int, shape: Shape) -> int:
    """Returns the count nearest to `wanted` whose query heads divide the hidden width.

    Configurations of this kind refuse any other; the model's own count is one that does.
    """
    fitting = [
        count for count in range(1, shape.groups + 1) if shape.hidden % (count * shape.queries) == 0
    ]
    return min(fitting or [shape.groups], key=lambda count: (abs(count - wanted), count))


def _layers(count: int, size: Size) -> int:
    return max(1, round(count * size.layers))


def _rounded(share: float, most: int, multiple: int) -> int:
    """Rounds a share to a multiple, at least one of them; a share of 1.0 is all there is."""
    if share == 1.0:
        return most
    return min(most, max(1, round(most * share / multiple)) * multiple)


def _best(scores: torch.Tensor, count: int) -> tuple[int, ...]:
    order = scores.argsort(descending=True, stable=True)[:count]
    return tuple(sorted(order.tolist()))


def _positions(shape: Shape, size: Size) -> int:
    if not size.positions:
        return shape.positions
    if not shape.positions:
        raise InputError(
            "this model computes its positions and has no table of them", fix="set positions to 0"
        )
    if size.positions < size.max_length:
        raise InputError(
            f"{size.positions} positions for rows of up to {size.max_length} tokens",
            fix="keep at least max_length positions",
        )
    return min(size.positions, shape.positions)
