"""Model families as tables: which tensor has which dimension where.

One slicer serves all of them. A family is a row in `FAMILIES`; a tensor that its table does not
name is an error, so nothing is ever left at the wrong width in silence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from kg_schema.errors import InputError

Axis = Literal["vocabulary", "positions", "hidden", "channels", "heads", "kv"]
Axes = tuple[Axis | None, ...]

_LAYER = re.compile(r"\.(\d+)\.")

BERT: Mapping[str, Axes] = {
    "embeddings.word_embeddings.weight": ("vocabulary", "hidden"),
    "embeddings.position_embeddings.weight": ("positions", "hidden"),
    "embeddings.token_type_embeddings.weight": (None, "hidden"),
    "embeddings.LayerNorm.weight": ("hidden",),
    "embeddings.LayerNorm.bias": ("hidden",),
    "encoder.layer.*.attention.self.query.weight": ("heads", "hidden"),
    "encoder.layer.*.attention.self.query.bias": ("heads",),
    "encoder.layer.*.attention.self.key.weight": ("heads", "hidden"),
    "encoder.layer.*.attention.self.key.bias": ("heads",),
    "encoder.layer.*.attention.self.value.weight": ("heads", "hidden"),
    "encoder.layer.*.attention.self.value.bias": ("heads",),
    "encoder.layer.*.attention.output.dense.weight": ("hidden", "heads"),
    "encoder.layer.*.attention.output.dense.bias": ("hidden",),
    "encoder.layer.*.attention.output.LayerNorm.weight": ("hidden",),
    "encoder.layer.*.attention.output.LayerNorm.bias": ("hidden",),
    "encoder.layer.*.intermediate.dense.weight": ("channels", "hidden"),
    "encoder.layer.*.intermediate.dense.bias": ("channels",),
    "encoder.layer.*.output.dense.weight": ("hidden", "channels"),
    "encoder.layer.*.output.dense.bias": ("hidden",),
    "encoder.layer.*.output.LayerNorm.weight": ("hidden",),
    "encoder.layer.*.output.LayerNorm.bias": ("hidden",),
    "pooler.dense.weight": ("hidden", "hidden"),
    "pooler.dense.bias": ("hidden",),
    "classifier.weight": (None, "hidden"),
    "classifier.bias": (None,),
}

DECODER: Mapping[str, Axes] = {
    "embed_tokens.weight": ("vocabulary", "hidden"),
    "layers.*.input_layernorm.weight": ("hidden",),
    "layers.*.post_attention_layernorm.weight": ("hidden",),
    "layers.*.self_attn.q_proj.weight": ("heads", "hidden"),
    "layers.*.self_attn.q_proj.bias": ("heads",),
    "layers.*.self_attn.k_proj.weight": ("kv", "hidden"),
    "layers.*.self_attn.k_proj.bias": ("kv",),
    "layers.*.self_attn.v_proj.weight": ("kv", "hidden"),
    "layers.*.self_attn.v_proj.bias": ("kv",),
    "layers.*.self_attn.o_proj.weight": ("hidden", "heads"),
    "layers.*.self_attn.o_proj.bias": ("hidden",),
    "layers.*.self_attn.q_norm.weight": (None,),
    "layers.*.self_attn.k_norm.weight": (None,),
    "layers.*.mlp.gate_proj.weight": ("channels", "hidden"),
    "layers.*.mlp.gate_proj.bias": ("channels",),
    "layers.*.mlp.up_proj.weight": ("channels", "hidden"),
    "layers.*.mlp.up_proj.bias": ("channels",),
    "layers.*.mlp.down_proj.weight": ("hidden", "channels"),
    "layers.*.mlp.down_proj.bias": ("hidden",),
    "norm.weight": ("hidden",),
    "lm_head.weight": ("vocabulary", "hidden"),
    "score.weight": (None, "hidden"),
}


@dataclass(frozen=True)
class Family:
    """One kind of model, as far as slicing must know it.

    Args:
        tensors: Axes of every tensor, below the backbone's prefix, `*` for the layer's index.
        rms_norms: Tensors of root-mean-square norms over the hidden width.
        heads_follow_hidden: The head's width is hidden width / heads, with no setting of its own.
        heads_divide_hidden: The configuration refuses heads that do not divide the hidden width.
        positions: Positions are a learned table.
    """

    tensors: Mapping[str, Axes]
    rms_norms: frozenset[str] = frozenset()
    heads_follow_hidden: bool = False
    heads_divide_hidden: bool = False
    positions: bool = False

    def locate(self, name: str, prefix: str) -> tuple[str, Axes, int | None]:
        """Returns a tensor's name in the table, its axes, and its layer if it is in one.

        Args:
            name: As in the model's state dict.
            prefix: The backbone's, `base_model_prefix` of the model.

        Raises:
            InputError: The table does not know the tensor.
        """
        plain = name.removeprefix(f"{prefix}.")
        layer = _LAYER.search(plain)
        key = _LAYER.sub(".*.", plain, count=1)
        if key not in self.tensors:
            raise InputError(
                "a tensor that pruning does not know", where=name, fix=f"use {SUPPORTED}"
            )
        return key, self.tensors[key], int(layer.group(1)) if layer else None


_ENCODER_FAMILY = Family(BERT, heads_follow_hidden=True, positions=True)
_DECODER_FAMILY = Family(
    DECODER,
    rms_norms=frozenset(
        {
            "layers.*.input_layernorm.weight",
            "layers.*.post_attention_layernorm.weight",
            "norm.weight",
        }
    ),
)

FAMILIES: Mapping[str, Family] = {
    "bert": _ENCODER_FAMILY,
    "llama": replace(_DECODER_FAMILY, heads_divide_hidden=True),
    "qwen2": _DECODER_FAMILY,
    "qwen3": _DECODER_FAMILY,
}
SUPPORTED = "a model of one of the types " + ", ".join(FAMILIES)


def family_of(model_type: str) -> Family:
    """Returns the family of a configuration's `model_type`.

    Raises:
        InputError: There is no table for it.
    """
    if model_type not in FAMILIES:
        raise InputError(f"cannot prune a model of type {model_type!r}", fix=f"use {SUPPORTED}")
    return FAMILIES[model_type]
