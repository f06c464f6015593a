"""The committed data files, read once for the tests of samples."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from samples import sample_path

Row = dict[str, Any]
Ref = tuple[str, str]


def read_part(name: str, pattern: str = "*.jsonl") -> list[Row]:
    """Rows of a part of the samples, file by file in the order of their names."""
    files = sorted(sample_path(name).glob(pattern))
    return [json.loads(line) for path in files for line in path.open(encoding="utf-8")]


@dataclass(frozen=True)
class Graph:
    """Nodes by label and id, and relationships as (type, start, end, properties)."""

    nodes: dict[Ref, Row]
    edges: list[tuple[str, Ref, Ref, Row]]

    def of(self, label: str) -> dict[str, Row]:
        return {node_id: props for (kind, node_id), props in self.nodes.items() if kind == label}

    def pairs(self, kind: str) -> set[tuple[Ref, Ref]]:
        return {(start, end) for name, start, end, _ in self.edges if name == kind}

    def ends(self, kind: str, start: Ref) -> list[Ref]:
        return [end for name, first, end, _ in self.edges if name == kind and first == start]


@cache
def graph() -> Graph:
    nodes = {(row["label"], row["id"]): row["props"] for row in read_part("graph", "nodes*.jsonl")}
    edges = [
        (
            row["type"],
            (row["start"]["label"], row["start"]["id"]),
            (row["end"]["label"], row["end"]["id"]),
            row["props"],
        )
        for row in read_part("graph", "relationships*.jsonl")
    ]
    return Graph(nodes, edges)


@cache
def tickets() -> list[Row]:
    return read_part("tickets")


@cache
def gold() -> list[Row]:
    return read_part("gold")


def words_of(row: Row) -> list[str]:
    """Texts of a ticket or question: one, or one a turn."""
    return [turn["text"] for turn in row["turns"]] if "turns" in row else [row["text"]]
