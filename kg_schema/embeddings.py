"""Gives nodes their embeddings: once for each text and model, so a repeat writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from kg_schema import statements
from kg_schema.errors import InputError
from kg_schema.ontology import Ontology
from kg_schema.writer import GraphWriter

PAGE = 256


class TextEncoder(Protocol):
    """What makes embeddings; the graph knows no more of it."""

    @property
    def model(self) -> str:
        """Its id; stands beside every embedding, and only equal ones are compared."""

    @property
    def dimensions(self) -> int:
        """Numbers of one embedding."""

    def encode(self, texts: Sequence[str]) -> list[list[float]]:
        """One embedding a text."""


def embed_nodes(
    writer: GraphWriter, ontology: Ontology, model: str, open_encoder: Callable[[], TextEncoder]
) -> int:
    """Embeds the nodes that have no embedding of this model, or whose text has changed since.

    Args:
        writer: The database.
        ontology: Says which labels are embedded, and from which of their properties.
        model: The encoder's id.
        open_encoder: Opens the encoder; called only if there is a node to embed.

    Returns:
        How many embeddings were written.

    Raises:
        InputError: The encoder's dimensions are not those of an index.
        GraphUnavailable: The database cannot be reached; a repeat takes up where it ended.
        GraphQueryError: The database refuses a write.
    """
    encoder: TextEncoder | None = None
    written = 0
    for label, embedding in ontology.embedded():
        statement = statements.unembedded(label, embedding.source)
        after = ""
        while rows := writer.read(
            statement, {"model": model, "after": after, "limit": PAGE}, what=f"read {label}"
        ):
            encoder = encoder or open_encoder()
            _check_dimensions(label, embedding.dimensions, encoder)
            texts = ["\n".join(filter(None, row["texts"])) for row in rows]
            vectors = encoder.encode(texts)
            given = [
                {"id": row["id"], "vector": vector}
                for row, vector in zip(rows, vectors, strict=True)
            ]
            writer.write(
                statements.store_embeddings(label),
                {"rows": given, "model": model},
                what=f"embed {label}",
            )
            written += len(rows)
            after = str(rows[-1]["id"])
    return written


def _check_dimensions(label: str, wanted: int, encoder: TextEncoder) -> None:
    if encoder.dimensions != wanted:
        raise InputError(
            f"its embeddings have {encoder.dimensions} dimensions, the index of {label} {wanted}",
            where=encoder.model,
            fix=f"set labels.{label}.embedding.dimensions in the ontology",
        )
