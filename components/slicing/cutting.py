"""One cut of a model and its tokenizer, and what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from components.model_dir import count_parameters
from components.shards import read_split
from components.slicing.planning import Size, plan_cut
from components.slicing.scores import Scores
from components.slicing.slicer import Plan, Shape, slice_model
from components.slicing.vocabulary import Trimmed, trim_tokenizer
from kg_schema.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Cut:
    """What a cut leaves.

    Args:
        model: The smaller model, in evaluation mode.
        tokenizer: The one that fits it.
        compression: What compression.json tells; indices are the parent's own.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    compression: dict[str, Any]


@dataclass(frozen=True)
class Origin:
    """The model that compression.json speaks of.

    Args:
        digest: Of its directory.
        shape: Its counts.
        parameters: Its `{"total", "encoder"}` parameters.
        influence: Of its layers, rounded; empty where it was not measured.
    """

    digest: str
    shape: Shape
    parameters: Mapping[str, int]
    influence: Sequence[float]

    @classmethod
    def of(cls, model: PreTrainedModel, scores: Scores, digest: str) -> Origin:
        """Describes a model that has just been scored."""
        influence = [round(float(each), 6) for each in scores.influence]
        return cls(digest, Shape.of(model.config), count_parameters(model), influence)


def cut_model(
    model: PreTrainedModel, trimmed: Trimmed, scores: Scores, size: Size, parent: str
) -> Cut:
    """Cuts a model to a size and a vocabulary; the model itself stays as it is.

    Args:
        model: Of a supported family.
        trimmed: The vocabulary that is kept, from `trim_to_domain`.
        scores: Worth of the model's parts.
        size: How much of them is kept.
        parent: Digest of the model's directory.

    Raises:
        InputError: The family cannot be cut that way.
    """
    origin = Origin.of(model, scores, parent)
    plan = plan_cut(model.config.model_type, origin.shape, scores, size, trimmed.kept)
    return cut_to_plan(model, trimmed.tokenizer, plan, plan, origin)


def cut_to_plan(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    plan: Plan,
    whole_way: Plan,
    origin: Origin,
) -> Cut:
    """Cuts a model, which may have been cut before, to a plan.

    Args:
        model: Of a supported family; it stays as it is.
        tokenizer: One that fits the cut model.
        plan: What is kept of `model`.
        whole_way: The same as indices into the first model.
        origin: That first model.

    Raises:
        InputError: The model has a tensor that its family's table lacks.
    """
    smaller = slice_model(model, plan)
    compression = {
        "parent": origin.digest,
        **_kept(whole_way, origin.shape),
        "layer_influence": list(origin.influence),
        "parameters": {"before": dict(origin.parameters), "after": count_parameters(smaller)},
    }
    return Cut(smaller, tokenizer, compression)


def read_plan(compression: Mapping[str, Any]) -> Plan:
    """Returns the plan that a compression.json tells, as indices into the first model."""
    words = compression["kept_vocabulary"]
    return Plan(
        layers=tuple(compression["kept_layers"]),
        groups=tuple(tuple(layer) for layer in compression["kept_heads"]["indices"]),
        channels=tuple(tuple(layer) for layer in compression["kept_channels"]["indices"]),
        hidden=tuple(compression["kept_hidden"]["indices"]),
        vocabulary=tuple(words["indices"] or range(words["count"])),
        positions=compression["kept_positions"]["count"],
    )


def trim_to_domain(
    tokenizer: PreTrainedTokenizerBase,
    shards: Path,
    task: Literal["intent", "answer"],
    rows: int,
    size: int,
) -> Trimmed:
    """Trims a tokenizer to the texts of the train split.

    Args:
        tokenizer: The model's.
        shards: A shards directory.
        task: Answers are texts of the domain too where they are learned.
        rows: Of the model's word embeddings.
        size: Tokens to keep; 0 keeps all.

    Raises:
        InputError: The tokenizer is of a kind that cannot be trimmed, or larger than the model.
    """
    if not size or size >= rows:
        return Trimmed(tokenizer, tuple(range(rows)))
    table = read_split(shards, "train")
    texts = table.column("text").to_pylist()
    if task == "answer":
        texts = [f"{text}\n" for text in texts]
        texts += [answer for answer in table.column("answer").to_pylist() if answer]
    trimmed = trim_tokenizer(tokenizer, texts, size)
    if trimmed.kept[-1] >= rows:
        raise InputError(
            f"the tokenizer has token {trimmed.kept[-1]}, the model only {rows} rows",
            fix="use a model that fits its tokenizer",
        )
    return trimmed


def _kept(plan: Plan, shape: Shape) -> dict[str, Any]:
    def kept(indices: tuple[Any, ...], count: int, of: int) -> dict[str, Any]:
        return {"count": count, "of": of, "indices": indices}

    whole = len(plan.vocabulary) == shape.vocabulary
    return {
        "kept_layers": plan.layers,
        "kept_heads": {
            **kept(plan.groups, len(plan.groups[0]), shape.groups),
            "queries_per_group": shape.queries,
        },
        "kept_channels": kept(plan.channels, len(plan.channels[0]), shape.channels),
        "kept_hidden": kept(plan.hidden, len(plan.hidden), shape.hidden),
        "kept_vocabulary": kept(
            () if whole else plan.vocabulary, len(plan.vocabulary), shape.vocabulary
        ),
        "kept_positions": {"count": plan.positions, "of": shape.positions},
    }
