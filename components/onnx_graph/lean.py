"""A BERT classifier as a graph of few nodes, for models so small that a node's cost is felt.

It says the same but for rounding. Token types are always 0, so their embedding is added to every
word's beforehand; positions are a slice of their table; a layer's queries, keys, values and heads
are one `Attention` of ONNX Runtime (`QAttention` in 8 bits); the last layer is computed for the
leading token alone (`leading.py`). A 2-layer encoder 192 wide has 42 nodes for 95 when ONNX Runtime
has fused what it can, and takes a quarter less time.
"""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from components.onnx_graph.leading import LeadingAttention

MASKED = -1e4
"""Added to the score of a padding token; e to the power of it is 0 in fp32."""
INT32 = 6  # as ONNX counts its types


class _Attention(torch.autograd.Function):
    """Self-attention with its projections; in a graph one node.

    Takes states [rows, tokens, hidden], the weights [hidden, 3 x hidden] and biases of queries,
    keys and values, the mask [rows, tokens], and the number of heads.
    """

    @staticmethod
    def forward(
        _ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        mask: torch.Tensor,
        heads: int,
    ) -> torch.Tensor:
        rows, tokens, _ = hidden.shape
        query, key, value = (
            part.view(rows, tokens, heads, -1).transpose(1, 2)
            for part in (hidden @ weight + bias).chunk(3, dim=-1)
        )
        shut = ((1.0 - mask.to(hidden.dtype)) * MASKED)[:, None, None, :]
        read = functional.scaled_dot_product_attention(query, key, value, attn_mask=shut)
        return read.transpose(1, 2).reshape(rows, tokens, -1)

    @staticmethod
    def symbolic(g: Any, hidden: Any, weight: Any, bias: Any, mask: Any, heads: int) -> Any:
        told = {"num_heads_i": heads, "mask_filter_value_f": MASKED}
        kept = g.op("Cast", mask, to_i=INT32)
        made = g.op("com.microsoft::Attention", hidden, weight, bias, kept, **told)
        return made.setType(hidden.type())


class _FirstRows(torch.autograd.Function):
    """As many rows of a table as a row has tokens; in a graph two nodes."""

    @staticmethod
    def forward(_ctx: Any, table: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return table[: ids.shape[1]].clone()

    @staticmethod
    def symbolic(g: Any, table: Any, ids: Any) -> Any:
        start = g.op("Constant", value_t=torch.tensor([0]))
        made = g.op("Slice", table, start, g.op("Shape", ids, start_i=1, end_i=2))
        return made.setType(table.type().with_sizes([None, table.type().sizes()[1]]))


class Joined(nn.Linear):
    """Weights of queries, keys and values in one; the attention multiplies by them itself.

    Args:
        weight: [3 x hidden, hidden].
        bias: [3 x hidden].
        inverse: What its inputs are multiplied by, where it is smoothed.
    """

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor, inverse: nn.Parameter | None = None
    ) -> None:
        super().__init__(weight.shape[1], weight.shape[0], device="meta")
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.inverse = inverse

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Returns what the attention is to read."""
        return inputs if self.inverse is None else inputs * self.inverse

    def smoothed(self, scale: torch.Tensor, inverse: nn.Parameter) -> Joined:
        """Returns it with its inputs divided by a scale that its weights make up for."""
        return Joined(self.weight.detach() * scale, self.bias.detach(), inverse)


class FullAttention(nn.Module):
    """Stands for a `BertAttention`.

    Args:
        attention: In evaluation mode.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        own = attention.self
        parts = own.query, own.key, own.value
        self.heads, self.output = own.num_attention_heads, attention.output
        self.joined = Joined(
            torch.cat([part.weight.detach() for part in parts]),
            torch.cat([part.bias.detach() for part in parts]),
        )

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Returns the states after attention, [rows, tokens, hidden]."""
        own = self.joined
        read: Any = _Attention.apply(own(hidden), own.weight.T, own.bias, mask, self.heads)  # type: ignore[no-untyped-call]
        attended: torch.Tensor = self.output(read, hidden)
        return attended


class LeanClassifier(nn.Module):
    """A BERT classifier that says the same in fewer operations.

    Args:
        model: A `BertForSequenceClassification` in evaluation mode; it is left alone.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        own = copy.deepcopy(model)
        self.config, self.dtype = own.config, own.dtype
        embeddings, layers = own.bert.embeddings, own.bert.encoder.layer
        kind = embeddings.token_type_embeddings.weight[0]
        self.words = nn.Parameter((embeddings.word_embeddings.weight + kind).detach())
        self.positions = nn.Parameter(embeddings.position_embeddings.weight.detach())
        self.norm = embeddings.LayerNorm
        self.attentions = nn.ModuleList(FullAttention(layer.attention) for layer in layers[:-1])
        self.leading = LeadingAttention(layers[-1].attention)
        self.wide = nn.ModuleList(layer.intermediate for layer in layers)
        self.narrow = nn.ModuleList(layer.output for layer in layers)
        self.pooler, self.classifier = own.bert.pooler.dense, own.classifier
        self.mask_bias = nn.Parameter(torch.tensor([MASKED, 0.0]))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: Any) -> Any:
        """Returns `logits`, [rows, classes]."""
        places: Any = _FirstRows.apply(self.positions, input_ids)  # type: ignore[no-untyped-call]
        hidden = self.norm(functional.embedding(input_ids, self.words) + places)
        for at, attention in enumerate(self.attentions):
            hidden = attention(hidden, attention_mask)
            hidden = self.narrow[at](self.wide[at](hidden), hidden)
        bias = functional.embedding(attention_mask, self.mask_bias[:, None]).transpose(1, 2)
        leading = self.leading(hidden, bias)
        leading = self.narrow[-1](self.wide[-1](leading), leading)
        return SimpleNamespace(logits=self.classifier(torch.tanh(self.pooler(leading))))

    def get_output_embeddings(self) -> None:
        """There is no language-model head."""


def lean_classifier(model: Any) -> Any:
    """Returns a model that says the same and computes no more than the head reads.

    A model of another kind is returned as it is.
    """
    if type(model).__name__ != "BertForSequenceClassification":
        return model
    return LeanClassifier(model)
