"""Cuts a model down to a plan: smaller tensors, a smaller configuration, the same code.

Every layer keeps equally many heads and channels, so the result is an ordinary model of its
family; which heads and channels, each layer chooses for itself.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch

from components.slicing.families import Axis, Family, family_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Kept = TypeVar("Kept")
TOKEN_ID_NAMES = ("pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "cls_token_id")


@dataclass(frozen=True)
class Shape:
    """The counts of a model that a plan can cut.

    Args:
        layers: Layers.
        hidden: Hidden width.
        channels: Feed-forward channels of a layer.
        groups: Key-value heads of a layer; each with its query heads is cut or kept whole.
        queries: Query heads of a group.
        head_dim: Width of a head, never cut.
        vocabulary: Rows of the word embeddings.
        positions: Rows of a learned position table; 0 where positions are computed.
    """

    layers: int
    hidden: int
    channels: int
    groups: int
    queries: int
    head_dim: int
    vocabulary: int
    positions: int

    @classmethod
    def of(cls, config: Any) -> Shape:
        """Reads the counts from a configuration."""
        heads = int(config.num_attention_heads)
        groups = int(getattr(config, "num_key_value_heads", None) or heads)
        positions = family_of(config.model_type).positions
        return cls(
            layers=int(config.num_hidden_layers),
            hidden=int(config.hidden_size),
            channels=int(config.intermediate_size),
            groups=groups,
            queries=heads // groups,
            head_dim=int(getattr(config, "head_dim", None) or config.hidden_size // heads),
            vocabulary=int(config.vocab_size),
            positions=int(config.max_position_embeddings) if positions else 0,
        )


@dataclass(frozen=True)
class Plan:
    """What is kept, as ascending indices into the teacher.

    Args:
        layers: Layers.
        groups: Key-value groups, by kept layer; equally many in each.
        channels: Feed-forward channels, by kept layer; equally many in each.
        hidden: Dimensions of the hidden width.
        vocabulary: Rows of the word embeddings; a token's new id is its place here.
        positions: How many of the first positions; 0 where there is no table of them.
    """

    layers: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...]
    channels: tuple[tuple[int, ...], ...]
    hidden: tuple[int, ...]
    vocabulary: tuple[int, ...]
    positions: int

    @classmethod
    def whole(cls, shape: Shape) -> Plan:
        """The plan that keeps everything."""
        return cls(
            layers=tuple(range(shape.layers)),
            groups=(tuple(range(shape.groups)),) * shape.layers,
            channels=(tuple(range(shape.channels)),) * shape.layers,
            hidden=tuple(range(shape.hidden)),
            vocabulary=tuple(range(shape.vocabulary)),
            positions=shape.positions,
        )

    def then(self, later: Plan) -> Plan:
        """Returns the one plan that does what this one and then another one do.

        Args:
            later: Made for the model that this plan leaves; its indices are places in this plan.
        """
        return Plan(
            layers=_pick(self.layers, later.layers),
            groups=tuple(map(_pick, _pick(self.groups, later.layers), later.groups)),
            channels=tuple(map(_pick, _pick(self.channels, later.layers), later.channels)),
            hidden=_pick(self.hidden, later.hidden),
            vocabulary=_pick(self.vocabulary, later.vocabulary),
            positions=later.positions,
        )


def slice_model(model: PreTrainedModel, plan: Plan) -> PreTrainedModel:
    """Returns a new model of the same class with what the plan keeps, in evaluation mode.

    Root-mean-square norms are scaled by sqrt(d / d') when the hidden width goes from d to d',
    which leaves their output as it was when the dimensions cut away carry nothing.

    Raises:
        InputError: The family is not supported, or the model has a tensor its table lacks.
    """
    family = family_of(model.config.model_type)
    shape = Shape.of(model.config)
    state: dict[str, torch.Tensor] = {}
    for name, tensor in model.state_dict().items():
        key, axes, layer = family.locate(name, model.base_model_prefix)
        if layer is not None and layer not in plan.layers:
            continue
        place = plan.layers.index(layer) if layer is not None else None
        cut = tensor
        for at, axis in enumerate(axes):
            if axis is not None:
                cut = cut.index_select(at, _indices(axis, plan, shape, place))
        if key in family.rms_norms:
            cut = cut * (shape.hidden / len(plan.hidden)) ** 0.5
        state[_renumbered(name, layer, place)] = cut.clone()
    smaller: Any = type(model)(sliced_config(model.config, plan, family))
    smaller.to(dtype=model.dtype)
    smaller.load_state_dict(state, strict=True)
    smaller.tie_weights()
    smaller.eval()
    _carry_generation(model, smaller, plan)
    return cast("PreTrainedModel", smaller)


def sliced_config(config: Any, plan: Plan, family: Family) -> Any:
    """Returns the configuration of the model that the plan leaves."""
    shape = Shape.of(config)
    smaller = copy.deepcopy(config)
    smaller.num_hidden_layers = len(plan.layers)
    smaller.num_attention_heads = len(plan.groups[0]) * shape.queries
    smaller.hidden_size = len(plan.hidden)
    smaller.intermediate_size = len(plan.channels[0])
    smaller.vocab_size = len(plan.vocabulary)
    if family.positions:
        smaller.max_position_embeddings = plan.positions
    if not family.heads_follow_hidden:
        smaller.num_key_value_heads = len(plan.groups[0])
        smaller.head_dim = shape.head_dim
    if getattr(config, "layer_types", None):
        smaller.layer_types = [config.layer_types[layer] for layer in plan.layers]
    _renumber_tokens(smaller, plan)
    return smaller


def _pick(values: Sequence[Kept], places: Sequence[int]) -> tuple[Kept, ...]:
    return tuple(values[place] for place in places)


def _indices(axis: Axis, plan: Plan, shape: Shape, place: int | None) -> torch.Tensor:
    if axis == "hidden":
        return torch.tensor(plan.hidden)
    if axis == "vocabulary":
        return torch.tensor(plan.vocabulary)
    if axis == "positions":
        return torch.arange(plan.positions)
    if place is None:
        raise ValueError(f"axis {axis} outside of a layer")
    if axis == "channels":
        return torch.tensor(plan.channels[place])
    return _spread(plan.groups[place], shape.head_dim * (shape.queries if axis == "heads" else 1))


def _spread(groups: Sequence[int], width: int) -> torch.Tensor:
    """Rows of the kept groups, where each group has `width` rows side by side."""
    return (torch.tensor(groups)[:, None] * width + torch.arange(width)).flatten()


def _renumbered(name: str, layer: int | None, place: int | None) -> str:
    return name if layer is None else name.replace(f".{layer}.", f".{place}.", 1)


def _renumber_tokens(config: Any, plan: Plan) -> None:
    new = {old: place for place, old in enumerate(plan.vocabulary)}
    for name in TOKEN_ID_NAMES:
        old = getattr(config, name, None)
        if isinstance(old, list):
            setattr(config, name, [new[each] for each in old if each in new])
        elif old is not None:
            setattr(config, name, new.get(old))


def _carry_generation(model: PreTrainedModel, smaller: PreTrainedModel, plan: Plan) -> None:
    generation = getattr(model, "generation_config", None)
    if generation is not None:
        smaller.generation_config = copy.deepcopy(generation)
        _renumber_tokens(smaller.generation_config, plan)
