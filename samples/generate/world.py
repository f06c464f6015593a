"""The graph under construction: nodes and relationships, checked as they are added."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Props = dict[str, Any]
Ref = tuple[str, str]
"""Label and business id of a node."""

SEED = 20_260_301
TODAY = "2026-11-20"
"""The day on which the company is described: the last day anything happens."""


def rng_for(part: str) -> random.Random:
    """A generator of its own for each part, so that one part's change leaves the others alone."""
    return random.Random(f"{SEED}/{part}")


@dataclass(frozen=True)
class Edge:
    """A directed, typed relationship between two nodes."""

    kind: str
    start: Ref
    end: Ref
    props: Props = field(default_factory=dict)


class World:
    """All nodes and relationships, with the look-ups that tickets and gold need."""

    def __init__(self) -> None:
        self._nodes: dict[Ref, Props] = {}
        self._edges: dict[tuple[str, Ref, Ref], Edge] = {}
        self._out: defaultdict[tuple[str, Ref], list[Edge]] = defaultdict(list)
        self._into: defaultdict[tuple[str, Ref], list[Edge]] = defaultdict(list)

    def add(self, label: str, node_id: str, name: str, **props: Any) -> Ref:
        """Add a node; absent (None) properties are left out.

        Raises:
            ValueError: The id is taken.
        """
        ref = (label, node_id)
        if ref in self._nodes:
            raise ValueError(f"{ref} is there already")
        kept = {key: value for key, value in props.items() if value is not None}
        self._nodes[ref] = {"name": name, **kept}
        return ref

    def link(self, start: Ref, kind: str, end: Ref, **props: Any) -> None:
        """Add a relationship; the same one twice is added once, absent properties left out.

        Raises:
            ValueError: An end does not exist.
        """
        for ref in (start, end):
            if ref not in self._nodes:
                raise ValueError(f"{start} {kind} {end}: {ref} does not exist")
        if (kind, start, end) in self._edges:
            return
        kept = {key: value for key, value in props.items() if value is not None}
        edge = Edge(kind, start, end, kept)
        self._edges[kind, start, end] = edge
        self._out[kind, start].append(edge)
        self._into[kind, end].append(edge)

    def props(self, ref: Ref) -> Props:
        """Properties of a node, `name` among them."""
        return self._nodes[ref]

    def name(self, ref: Ref) -> str:
        """Name of a node."""
        return str(self._nodes[ref]["name"])

    def has(self, ref: Ref) -> bool:
        """Whether the node exists."""
        return ref in self._nodes

    def edge(self, start: Ref, kind: str, end: Ref) -> Edge | None:
        """The relationship between two nodes, None where there is none."""
        return self._edges.get((kind, start, end))

    def out(self, start: Ref, kind: str) -> list[Edge]:
        """Relationships of a type that leave a node, in the order they were added."""
        return self._out.get((kind, start), [])

    def into(self, end: Ref, kind: str) -> list[Edge]:
        """Relationships of a type that reach a node, in the order they were added."""
        return self._into.get((kind, end), [])

    def of(self, label: str) -> list[Ref]:
        """Nodes of a label, in the order they were added."""
        return [ref for ref in self._nodes if ref[0] == label]

    def node_rows(self) -> Iterator[Props]:
        """Rows of nodes.jsonl, by label and id."""
        for label, node_id in sorted(self._nodes):
            yield {"label": label, "id": node_id, "props": self._nodes[label, node_id]}

    def edge_rows(self) -> Iterator[Props]:
        """Rows of relationships.jsonl, by type and ends."""
        for key in sorted(self._edges):
            edge = self._edges[key]
            yield {
                "type": edge.kind,
                "start": {"label": edge.start[0], "id": edge.start[1]},
                "end": {"label": edge.end[0], "id": edge.end[1]},
                "props": edge.props,
            }
