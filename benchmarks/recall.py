"""Recall of the vector index: how many of the true nearest it finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from kg_schema.client import GraphClient

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEMPLATE = "articles_by_vector"


async def vector_recall(
    client: GraphClient,
    vectors: Mapping[str, Sequence[float]],
    queries: Sequence[Sequence[float]],
    model: str,
    *,
    k: int = 10,
    deadline_s: float = 30.0,
) -> float:
    """Mean share of the exact `k` nearest articles by cosine that the index finds among its `k`.

    Args:
        client: A graph whose articles have these embeddings.
        vectors: The embeddings by article id.
        queries: What to look for.
        model: What made the embeddings, as the graph says.
        k: How many neighbours count.
        deadline_s: Seconds a read may take.

    Raises:
        GraphUnavailable: The graph cannot be reached.
        GraphTimeout: The deadline passed.
        GraphQueryError: The graph refuses the read.
    """
    ids = sorted(vectors)
    matrix = _unit(np.array([vectors[one] for one in ids], np.float64))
    wanted = np.argsort(-_unit(np.array(queries, np.float64)) @ matrix.T, axis=1)[:, :k]
    hits = 0
    for query, nearest in zip(queries, wanted, strict=True):
        given = {"vector": list(query), "model": model, "limit": k}
        rows = await client.read(TEMPLATE, given, deadline_s=deadline_s)
        hits += len({row.subject_id for row in rows} & {ids[place] for place in nearest})
    return hits / wanted.size


def _unit(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths: NDArray[np.float64] = np.linalg.norm(matrix, axis=1, keepdims=True)
    return matrix / lengths
