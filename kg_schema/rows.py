"""Rows of graph files: nodes, relationships and triples, each with the place it came from."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from kg_schema.errors import InputError
from kg_schema.ontology import Ontology

MAX_LINE_CHARACTERS = 1_000_000
_NODE_KEYS = frozenset({"label", "id", "props"})
_EDGE_KEYS = frozenset({"type", "start", "end", "props"})
_END_KEYS = frozenset({"label", "id"})
_TRIPLE_KEYS = frozenset({"subject", "predicate", "object"})
_REFERENCE = re.compile(r"^\s*(?:([A-Za-z][A-Za-z0-9_]*)[/ ]\s*)?(\S(?:.*\S)?)\s*$")


class Place(NamedTuple):
    """Where a row stands: a line, from 1, or, in a nested document, the keys that lead to it."""

    file: str
    line: int
    item: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.item or self.line}"


class Node(NamedTuple):
    """A node row; `props` holds the id too."""

    label: str
    id: str
    props: dict[str, Any]


class Edge(NamedTuple):
    """A relationship row."""

    type: str
    start_label: str
    start: str
    end_label: str
    end: str
    props: dict[str, Any]


class Literal(NamedTuple):
    """One property of a node, said by a triple; a node's literals make up its row."""

    label: str
    id: str
    key: str
    value: Any


class BadRow(NamedTuple):
    """A row that cannot be loaded, and why."""

    place: Place
    reason: str

    def as_json(self) -> dict[str, object]:
        """As a line of the quarantine file."""
        where = {"item": self.place.item} if self.place.item else {"line": self.place.line}
        return {"file": self.place.file, **where, "reason": self.reason}


Row = Node | Edge | Literal


def content_hash(props: Mapping[str, object]) -> str:
    """16 hex digits over a row's properties, the same whatever their order."""
    text = orjson.dumps(props, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def check_row(row: Node | Edge, ontology: Ontology) -> Node | Edge:
    """The row with its properties checked and in their types.

    Raises:
        ValueError: What is wrong with it.
    """
    if isinstance(row, Node):
        given = {"id": row.id, **row.props}
        if given["id"] != row.id:
            raise ValueError("props.id is not the row's id")
        return Node(row.label, row.id, ontology.check_node(row.label, given))
    for end in (row.start, row.end):
        if not isinstance(end, str) or not end:
            raise ValueError("an end has no id")
    checked = ontology.check_relationship(row.type, row.start_label, row.end_label, row.props)
    return Edge(row.type, row.start_label, row.start, row.end_label, row.end, checked)


def read_json_lines(path: Path, name: str, ontology: Ontology) -> Iterator[tuple[Place, Row | str]]:
    """Rows of a JSON Lines file, each with its place; a reason instead of a row that is bad.

    A line is a node {label, id, props}, a relationship {type, start, end, props}, or a triple
    {subject, predicate, object} or [subject, predicate, object].

    Raises:
        InputError: The file cannot be read or is not UTF-8.
    """
    for number, line in enumerate(text_lines(path), start=1):
        if not line.strip():
            continue
        place = Place(name, number)
        try:
            yield place, parse_object(_parse_json(line), ontology)
        except ValueError as error:
            yield place, str(error)


def _parse_json(line: str) -> object:
    if len(line) > MAX_LINE_CHARACTERS:
        raise ValueError(f"longer than {MAX_LINE_CHARACTERS:,} characters")
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        # The slower reader says in which column and why.
        pass
    try:
        return json.loads(line, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"broken JSON at column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse_constant(text: str) -> object:
    raise ValueError(f"{text} is no JSON number")


def parse_object(given: object, ontology: Ontology) -> Row:
    """A row from a line's JSON.

    Raises:
        ValueError: It has none of the forms.
    """
    if isinstance(given, list):
        if len(given) != 3:
            raise ValueError("a triple has three parts")
        return parse_triple(given[0], given[1], given[2], ontology)
    if not isinstance(given, dict):
        raise ValueError("neither an object nor a triple")
    if "label" in given:
        _only(given, _NODE_KEYS)
        label, node_id = _text(given, "label"), _text(given, "id")
        return Node(label, node_id, _props(given))
    if "type" in given:
        _only(given, _EDGE_KEYS)
        start, end = _end(given, "start"), _end(given, "end")
        return Edge(_text(given, "type"), *start, *end, _props(given))
    if "subject" in given:
        _only(given, _TRIPLE_KEYS)
        return parse_triple(given["subject"], given.get("predicate"), given.get("object"), ontology)
    raise ValueError("neither a node (label), a relationship (type) nor a triple (subject)")


def parse_triple(subject: object, predicate: object, value: object, ontology: Ontology) -> Row:
    """A relationship or a property from (subject, predicate, object).

    A thing is `Label/id` or `Label id`. A bare id will do where the relationship leaves only one
    label open, as in (ErrorCode E1001, RESOLVED_BY, S_005).

    Raises:
        ValueError: A part is missing, unknown, or open to more than one reading.
    """
    if not isinstance(predicate, str) or not predicate.strip():
        raise ValueError("the triple has no predicate")
    predicate = predicate.strip()
    if predicate in ontology.relationships:
        start_label, start = _reference(subject, ontology)
        end_label, end = _reference(value, ontology)
        pairs = _possible_ends(predicate, start_label, end_label, ontology)
        if not pairs:
            raise ValueError(f"{predicate} does not go from {subject} to {value}")
        if len(pairs) > 1:
            raise ValueError(f"write the ends of {predicate} as Label/id")
        return Edge(predicate, pairs[0][0], start, pairs[0][1], end, {})
    label, node_id = _reference(subject, ontology)
    if label is None:
        raise ValueError("write the subject as Label/id")
    kind = ontology.labels[label].properties.get(predicate)
    if kind is None or predicate == "id":
        raise ValueError(f"{predicate} is no relationship and no property of {label}")
    return Literal(label, node_id, predicate, value)


def _possible_ends(
    kind: str, start: str | None, end: str | None, ontology: Ontology
) -> list[tuple[str, str]]:
    starts = ontology.labels if start is None else (start,)
    ends = ontology.labels if end is None else (end,)
    relationship = ontology.relationships[kind]
    return [(one, other) for one in starts for other in ends if relationship.allows(one, other)]


def _reference(given: object, ontology: Ontology) -> tuple[str | None, str]:
    found = _REFERENCE.match(given) if isinstance(given, str) else None
    if found is None:
        raise ValueError("the triple lacks a subject or an object")
    label, rest = found.groups()
    if label in ontology.labels:
        return label, rest
    if label is not None and isinstance(given, str) and "/" in given:
        raise ValueError(f"unknown label {label!r}")
    return None, str(given).strip()


def _text(given: Mapping[str, object], key: str) -> str:
    value = given.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key} is no text")
    return value


def _end(given: Mapping[str, object], key: str) -> tuple[str, str]:
    end = given.get(key)
    if not isinstance(end, dict):
        raise ValueError(f"{key} is not {{label, id}}")
    _only(end, _END_KEYS)
    return _text(end, "label"), _text(end, "id")


def _props(given: Mapping[str, object]) -> dict[str, Any]:
    props = given.get("props", {})
    if not isinstance(props, dict):
        raise ValueError("props is no object")
    return props


def _only(given: dict[str, object], keys: frozenset[str]) -> None:
    if not given.keys() <= keys:
        raise ValueError(f"unknown key {min(given.keys() - keys)!r}")


def text_lines(path: Path) -> Iterator[str]:
    """Lines of a UTF-8 file, their ends included, a leading byte order mark not.

    Raises:
        InputError: The file cannot be read or is not UTF-8; names the line and the byte.
    """
    offset = 0
    try:
        with path.open("rb") as stream:
            for number, raw in enumerate(stream, start=1):
                if number == 1:
                    raw = raw.removeprefix(b"\xef\xbb\xbf")
                try:
                    yield raw.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise InputError(
                        f"not UTF-8 at byte {offset + error.start:,}",
                        where=f"{path.name}:{number}",
                        fix="save it as UTF-8",
                    ) from None
                offset += len(raw)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise InputError(f"cannot read it: {reason}", where=str(path)) from None
