"""Rows of nested documents, JSON and Markdown: by a mapping of what stands where in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from kg_schema.errors import InputError
from kg_schema.mapping import check_names
from kg_schema.ontology import Ontology, PropertyType
from kg_schema.rows import Edge, Node, Place, Row, text_lines

JSON, MARKDOWN = ".json", ".md"
ENDINGS = (JSON, MARKDOWN)
MAX_BYTES = 256 * 2**20
EVERY = "*"
KEY = "@key"
OUTER = "^"
_HOLE = re.compile(r"\{([^{}]*)\}")
_HEADING = re.compile(r"^(#{1,6})[ \t]+(.*?)[ \t]*#*$")
_END = "# "  # a last heading, which ends the section before it
_FENCE = re.compile(r"^(```|~~~)")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DocumentNode(_Strict):
    """What makes a node of an item: patterns of its id and of its properties."""

    label: str
    id: str
    properties: dict[str, str | list[str] | int | float | bool] = Field(default_factory=dict)


class DocumentEnd(_Strict):
    """What makes the id of a relationship's end."""

    label: str
    id: str


class DocumentEdge(_Strict):
    """What makes a relationship of an item."""

    type: str
    start: DocumentEnd
    end: DocumentEnd
    properties: dict[str, str | list[str] | int | float | bool] = Field(default_factory=dict)


class DocumentMapping(_Strict):
    """What the items of a document say.

    `each` leads to the items: names of keys, joined by dots, and `*` for every value of an object
    or a list. `where` keeps items whose pattern gives a value, or one of several.

    A pattern is text with holes: `{price}` is a value of the item, `{payment.amount}` one further
    in, `{@key}` the key (or place, from 0) it stands at, and each `^.` goes one `*` further out.
    A pattern that is one hole gives the value as it is, and text with no hole is said as it is.
    In YAML:

        documents:
          products.json:
            - each: "*.variants.*"
              where: {"{available}": true}
              nodes:
                - label: Variant
                  id: "{item_id}"
                  properties: {name: "{^.name} {item_id}", price: "{price}", kind: variant}

    Of a Markdown file the items are its sections, {heading, slug, level, parent, text}: `each` is
    "*", and `parent` the heading above.
    """

    each: str
    where: dict[str, str | int | float | bool | list[str]] = Field(default_factory=dict)
    nodes: tuple[DocumentNode, ...] = ()
    relationships: tuple[DocumentEdge, ...] = ()

    @field_validator("each")
    @classmethod
    def _leads_somewhere(cls, given: str) -> str:
        if not given or not all(given.split(".")):
            raise ValueError("each is keys and * joined by dots")
        return given


@dataclass(frozen=True)
class _Item:
    """One value of a document, the key it stands at, and the item around it."""

    value: object
    key: str
    outer: _Item | None = None

    @property
    def path(self) -> str:
        around = self.outer.path if self.outer else ""
        return f"{around}/{self.key}" if around else self.key


def read_document(
    path: Path, name: str, ontology: Ontology, mappings: tuple[DocumentMapping, ...]
) -> Iterator[tuple[Place, Row | str]]:
    """Rows of a document, each with its place; a reason instead of a row that is bad.

    Raises:
        InputError: The file cannot be read, is broken or too large, or the mapping does not fit
            the ontology.
    """
    if not mappings:
        raise InputError(
            "no mapping says what stands where in it",
            where=name,
            fix="name it under `documents` in a mapping file",
        )
    for mapping in mappings:
        check_names(name, mapping.nodes, mapping.relationships, ontology)
    document = _open(path, name)
    for mapping in mappings:
        for item in _items(document, mapping.each.split(".")):
            if not _kept(item, mapping):
                continue
            place = Place(name, 0, item.path)
            for row in _rows(item, mapping, ontology):
                yield place, row


def _open(path: Path, name: str) -> object:
    if path.stat().st_size > MAX_BYTES:
        raise InputError(
            f"larger than {MAX_BYTES >> 20} MiB",
            where=name,
            fix="split it, or write it as JSON Lines, which are read line by line",
        )
    lines = text_lines(path)
    if path.suffix == MARKDOWN:
        return list(sections(lines))
    try:
        return json.loads("".join(lines))
    except json.JSONDecodeError as error:
        raise InputError(
            f"broken JSON at column {error.colno}: {error.msg}", where=f"{name}:{error.lineno}"
        ) from None
    except RecursionError:
        raise InputError("nested too deeply", where=name) from None


def sections(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Sections of a Markdown text, each with its own words and not those of sections below it.

    A heading with no words of its own is no section; words before the first heading are none.
    """
    above: dict[int, str] = {}
    level, words, fenced = 0, list[str](), False
    for line in (*lines, _END):
        fenced ^= bool(_FENCE.match(line))
        found = _HEADING.match(line.rstrip("\r\n")) if line is _END or not fenced else None
        if found is None:
            words.append(line)
            continue
        text = "".join(words).strip()
        if level and text:
            parents = [above[each] for each in sorted(above) if each < level]
            yield {
                "heading": above[level],
                "slug": re.sub(r"\W+", "_", above[level].casefold()).strip("_"),
                "level": level,
                "parent": parents[-1] if parents else "",
                "text": text,
            }
        level, words = len(found.group(1)), []
        above = {each: title for each, title in above.items() if each < level}
        above[level] = found.group(2)


def _items(value: object, steps: list[str], outer: _Item | None = None) -> Iterator[_Item]:
    """The items that the steps lead to; whatever has no such key has none."""
    step, *rest = steps
    if step != EVERY:
        if isinstance(value, Mapping) and step in value:
            if rest:
                yield from _items(value[step], rest, outer)
            else:
                yield _Item(value[step], step, outer)
        return
    pairs: Iterable[tuple[object, object]] = ()
    if isinstance(value, Mapping):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value)
    for key, each in pairs:
        item = _Item(each, str(key), outer)
        if rest:
            yield from _items(each, rest, item)
        else:
            yield item


def _kept(item: _Item, mapping: DocumentMapping) -> bool:
    for pattern, wanted in mapping.where.items():
        found = _value(pattern, item)
        if found not in (wanted if isinstance(wanted, list) else [wanted]):
            return False
    return True


def _value(pattern: object, item: _Item) -> object:
    """What a pattern says of an item; None where a hole of it has no value."""
    if isinstance(pattern, list):
        return [_value(each, item) for each in pattern]
    if not isinstance(pattern, str):
        return pattern
    if whole := _HOLE.fullmatch(pattern):
        return _look_up(whole.group(1), item)
    values = [_look_up(hole, item) for hole in _HOLE.findall(pattern)]
    if any(value is None for value in values):
        return None
    told = iter(values)
    return _HOLE.sub(lambda _: _words(next(told)), pattern)


def _look_up(path: str, item: _Item) -> object:
    steps = path.split(".")
    while steps and steps[0] == OUTER:
        if item.outer is None:
            raise ValueError(f"nothing is around {{{path}}}")
        item, steps = item.outer, steps[1:]
    if steps == [KEY]:
        return item.key
    value = item.value
    for step in steps:
        if not isinstance(value, Mapping) or step not in value:
            return None
        value = value[step]
    return value


def _words(value: object) -> str:
    """A value within a text: an object as `key value, key value`, a list joined by commas."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_words(each)}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _rows(item: _Item, mapping: DocumentMapping, ontology: Ontology) -> Iterator[Row | str]:
    for node in mapping.nodes:
        held = ontology.labels[node.label].properties
        kinds = {key: kind.type for key, kind in held.items()}
        try:
            node_id = _id(node.id, item)
            if not node_id:
                raise ValueError(f"{node.id} gives no id of a {node.label}")
            yield Node(node.label, node_id, _properties(node.properties, item, kinds))
        except ValueError as error:
            yield str(error)
    for edge in mapping.relationships:
        kinds = {
            key: kind.type for key, kind in ontology.relationships[edge.type].properties.items()
        }
        try:
            start, end = _id(edge.start.id, item), _id(edge.end.id, item)
            if not start or not end:
                continue  # no value says that there is no such relationship
            props = _properties(edge.properties, item, kinds)
            yield Edge(edge.type, edge.start.label, start, edge.end.label, end, props)
        except ValueError as error:
            yield str(error)


def _id(pattern: str, item: _Item) -> str:
    value = _value(pattern, item)
    if value is not None and (isinstance(value, (bool, float, list, Mapping))):
        raise ValueError(f"{pattern} is no id")
    return "" if value is None else str(value).strip()


def _properties(
    patterns: Mapping[str, object], item: _Item, kinds: Mapping[str, PropertyType]
) -> dict[str, Any]:
    found = {key: _typed(_value(pattern, item), kinds[key]) for key, pattern in patterns.items()}
    return {key: value for key, value in found.items() if value not in (None, "", [])}


def _typed(value: object, kind: PropertyType) -> object:
    """A value as its property wants it: anything can be told in words, and nothing else changes."""
    if value is None:
        return None
    if kind == "string" and not isinstance(value, str):
        return _words(value)
    if kind == "strings":
        if isinstance(value, Mapping):
            return [f"{key}: {_words(each)}" for key, each in value.items()]
        return [_words(each) for each in (value if isinstance(value, list) else [value])]
    return value
