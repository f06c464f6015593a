"""What the mappings of CSV files and of documents have in common: the names that they use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from kg_schema.errors import InputError
from kg_schema.ontology import Ontology


class MappedNode(Protocol):
    """What a mapping says of a node."""

    @property
    def label(self) -> str:
        """Its label."""

    @property
    def properties(self) -> Mapping[str, object]:
        """What its properties are read from, by their names."""


class MappedEnd(Protocol):
    """What a mapping says of a relationship's end."""

    @property
    def label(self) -> str:
        """Its label."""


class MappedEdge(Protocol):
    """What a mapping says of a relationship."""

    @property
    def type(self) -> str:
        """Its type."""

    @property
    def start(self) -> MappedEnd:
        """Where it begins."""

    @property
    def end(self) -> MappedEnd:
        """Where it ends."""

    @property
    def properties(self) -> Mapping[str, object]:
        """What its properties are read from, by their names."""


def check_names(
    file: str, nodes: Iterable[MappedNode], edges: Iterable[MappedEdge], ontology: Ontology
) -> None:
    """Refuses a name that the ontology does not have: the mapping's fault, not that of every row.

    Args:
        file: The mapped file, for the error.
        nodes: The nodes of its mapping.
        edges: The relationships of its mapping.
        ontology: What there may be.

    Raises:
        InputError: A label, type or property is unknown, or a type does not join those labels.
    """
    for node in nodes:
        label = ontology.labels.get(node.label)
        if label is None:
            raise InputError(f"the mapping names no known label: {node.label!r}", where=file)
        _check_keys(file, node.label, node.properties, label.properties)
    for edge in edges:
        kind = ontology.relationships.get(edge.type)
        if kind is None or not kind.allows(edge.start.label, edge.end.label):
            raise InputError(
                f"the mapping's {edge.type} from {edge.start.label} to {edge.end.label} "
                "is not in the ontology",
                where=file,
            )
        _check_keys(file, edge.type, edge.properties, kind.properties)


def _check_keys(
    file: str, owner: str, given: Mapping[str, object], known: Mapping[str, object]
) -> None:
    if unknown := sorted(set(given) - set(known)):
        raise InputError(f"the mapping gives {owner} a property {unknown[0]!r}", where=file)
