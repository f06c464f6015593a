"""What a customer can name: the nodes of the graph with their names, aliases and codes."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kg_schema.client import FactRow

_TOKEN = re.compile(r"[^\W\d_]+|\d+")


@dataclass(frozen=True, slots=True)
class Token:
    """A run of letters or of digits: its normal form and where it stands in the text."""

    norm: str
    start: int
    end: int

    @property
    def is_number(self) -> bool:
        """Whether it is a run of digits."""
        return self.norm.isdigit()


def tokenize(text: str) -> list[Token]:
    """Splits a text into runs of letters and runs of digits, so that `X-200` equals `x200`."""
    return [
        Token(_normal(match.group()), match.start(), match.end()) for match in _TOKEN.finditer(text)
    ]


def _normal(word: str) -> str:
    folded = unicodedata.normalize("NFKC", word).casefold()
    if folded.endswith(("ches", "shes", "xes", "sses")):
        return folded[:-2]
    if len(folded) > 3 and folded.endswith("s") and not folded.endswith("ss"):
        return folded[:-1]
    return folded


def stem(word: str) -> str:
    """Cuts a lower-case English word's usual endings: charging, charged, charges -> charg."""
    for ending in ("ing", "ers", "ed", "er", "es", "ly", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word.removesuffix(ending)
            break
    return word[:-1] if len(word) > 4 and word[-1] == word[-2] else word


def stems(text: str) -> list[str]:
    """Stems of a text's words, in order."""
    return [stem(match.group().casefold()) for match in _TOKEN.finditer(text)]


@dataclass(frozen=True)
class Node:
    """A node that can be named.

    Attributes:
        label: Its label.
        id: Its business id.
        name: What it is called.
        surfaces: Every way to write it: name, aliases, code, id.
        properties: Other literal properties, such as topic, kind, category, description.
    """

    label: str
    id: str
    name: str
    surfaces: tuple[str, ...]
    properties: Mapping[str, str]

    @property
    def ref(self) -> str:
        """`Label/id`."""
        return f"{self.label}/{self.id}"


class Catalogue:
    """All nodes that can be named, by reference.

    Args:
        nodes: Without repetition of label and id.
    """

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.nodes: dict[str, Node] = {node.ref: node for node in nodes}

    @classmethod
    def from_rows(cls, rows: Iterable[FactRow]) -> Catalogue:
        """Builds it from the rows of the template `catalogue`."""
        names: dict[tuple[str, str], str] = {}
        surfaces: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        properties: defaultdict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        for row in rows:
            key, value = (row.subject_label, row.subject_id), row.value or ""
            names.setdefault(key, row.subject_name)
            if row.predicate in ("name", "aliases", "code"):
                surfaces[key].append(value)
            else:
                properties[key][row.predicate] = value
        return cls(
            Node(
                label,
                node_id,
                name,
                tuple(dict.fromkeys([*surfaces[label, node_id], node_id])),
                properties[label, node_id],
            )
            for (label, node_id), name in names.items()
        )

    def of(self, label: str) -> list[Node]:
        """Nodes of a label."""
        return [node for node in self.nodes.values() if node.label == label]

    def get(self, ref: str) -> Node | None:
        """The node of a reference, None where there is none."""
        return self.nodes.get(ref)

    def digest(self) -> str:
        """First 12 hex digits of a SHA-256 over everything in it."""
        parts = sorted(
            f"{node.ref}\t{node.surfaces}\t{sorted(node.properties.items())}"
            for node in self.nodes.values()
        )
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
