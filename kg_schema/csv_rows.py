"""Rows of CSV files: by a mapping of columns, or as triples."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kg_schema.errors import InputError
from kg_schema.json_rows import DocumentMapping
from kg_schema.mapping import check_names
from kg_schema.ontology import Ontology, PropertyType
from kg_schema.rows import Edge, Literal, Node, Place, Row, parse_triple, text_lines

LIST_SEPARATOR = "|"
TRIPLE_HEADER = ["subject", "predicate", "object"]
TRUE_WORDS = {"true", "yes", "1"}
FALSE_WORDS = {"false", "no", "0"}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NodeMapping(_Strict):
    """Which columns make a node: a column for the id and one a property."""

    label: str
    id: str
    properties: dict[str, str] = Field(default_factory=dict)


class EndMapping(_Strict):
    """Which column holds the id of a relationship's end."""

    label: str
    id: str


class EdgeMapping(_Strict):
    """Which columns make a relationship."""

    type: str
    start: EndMapping
    end: EndMapping
    properties: dict[str, str] = Field(default_factory=dict)


class FileMapping(_Strict):
    """What one CSV file's rows say; a row may make several nodes and relationships."""

    nodes: tuple[NodeMapping, ...] = ()
    relationships: tuple[EdgeMapping, ...] = ()


class CsvMapping(_Strict):
    """How a company's own files are read: file names, and what their columns or values mean.

    In YAML:

        files:
          products.csv:
            nodes:
              - {label: Product, id: sku, properties: {name: title, price_eur: price}}
            relationships:
              - {type: IN_CATEGORY, start: {label: Product, id: sku},
                 end: {label: Category, id: category}}

    `documents` says the same of nested JSON and of Markdown, as `DocumentMapping` has it.
    """

    files: dict[str, FileMapping] = Field(default_factory=dict)
    documents: dict[str, tuple[DocumentMapping, ...]] = Field(default_factory=dict)


def load_mapping(path: Path) -> CsvMapping:
    """Reads a mapping file.

    Raises:
        InputError: It is missing, no YAML, or no mapping.
    """
    try:
        return CsvMapping.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read it ({type(error).__name__})", where=str(path)) from None
    except yaml.YAMLError:
        raise InputError("this is no YAML", where=str(path)) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{place}: {first['msg']}", where=str(path)) from None


def read_csv(
    path: Path, name: str, ontology: Ontology, mapping: CsvMapping | None
) -> Iterator[tuple[Place, Row | str]]:
    """Rows of a CSV file, each with its place; a reason instead of a row that is bad.

    Without a mapping the header must be `subject,predicate,object`.

    Raises:
        InputError: The file cannot be read, is not UTF-8, is in no mapping, or lacks a column.
    """
    reader = csv.reader(text_lines(path), strict=True)
    header = _next(reader, name)
    if header is None:
        return
    if isinstance(header, str):
        raise InputError(header, where=f"{name}:1")
    columns = [column.strip() for column in header]
    if len(set(columns)) != len(columns):
        raise InputError("a column is there twice", where=f"{name}:1")
    file_mapping = _mapping_for(name, columns, mapping, ontology)
    while (values := _next(reader, name)) is not None:
        place = Place(name, reader.line_num)
        if isinstance(values, str):
            yield place, values
        elif len(values) != len(columns):
            yield place, f"{len(values)} fields, where the header has {len(columns)}"
        else:
            yield from _rows(place, dict(zip(columns, values, strict=True)), file_mapping, ontology)


def _next(reader: Any, name: str) -> list[str] | str | None:
    """The next row that is not empty; a reason where it is broken; None at the end."""
    while True:
        try:
            row: list[str] = next(reader)
        except StopIteration:
            return None
        except csv.Error as error:
            return f"broken CSV: {error}"
        if row:
            return row


def _mapping_for(
    name: str, columns: list[str], mapping: CsvMapping | None, ontology: Ontology
) -> FileMapping | None:
    found = mapping.files.get(Path(name).name) if mapping else None
    if found is None:
        if columns == TRIPLE_HEADER:
            return None
        raise InputError(
            "no mapping says what its columns mean",
            where=name,
            fix="name it in a mapping file, or give columns subject,predicate,object",
        )
    for column in _columns(found):
        if column not in columns:
            raise InputError(
                f"no column {column!r}", where=name, fix=f"there are: {', '.join(columns)}"
            )
    check_names(name, found.nodes, found.relationships, ontology)
    return found


def _columns(mapping: FileMapping) -> Iterator[str]:
    for node in mapping.nodes:
        yield from (node.id, *node.properties.values())
    for edge in mapping.relationships:
        yield from (edge.start.id, edge.end.id, *edge.properties.values())


def _rows(
    place: Place, values: Mapping[str, str], mapping: FileMapping | None, ontology: Ontology
) -> Iterator[tuple[Place, Row | str]]:
    if mapping is None:
        try:
            row = parse_triple(values["subject"], values["predicate"], values["object"], ontology)
            yield place, _typed(row, ontology)
        except ValueError as error:
            yield place, str(error)
        return
    for node in mapping.nodes:
        kinds = {key: kind.type for key, kind in ontology.labels[node.label].properties.items()}
        try:
            node_id = _id(values, node.id)
            yield place, Node(node.label, node_id, _convert(values, node.properties, kinds))
        except ValueError as error:
            yield place, str(error)
    for edge in mapping.relationships:
        held = ontology.relationships[edge.type].properties
        kinds = {key: kind.type for key, kind in held.items()}
        if not values[edge.start.id].strip() or not values[edge.end.id].strip():
            continue  # an empty cell says that there is no such relationship
        try:
            yield (
                place,
                Edge(
                    edge.type,
                    edge.start.label,
                    _id(values, edge.start.id),
                    edge.end.label,
                    _id(values, edge.end.id),
                    _convert(values, edge.properties, kinds),
                ),
            )
        except ValueError as error:
            yield place, str(error)


def _typed(row: Row, ontology: Ontology) -> Row:
    """Every cell is text, so a literal triple's value is read as its property's type."""
    if not isinstance(row, Literal):
        return row
    kind = ontology.labels[row.label].properties[row.key].type
    return Literal(row.label, row.id, row.key, convert(row.value, kind, row.key))


def _id(values: Mapping[str, str], column: str) -> str:
    node_id = values[column].strip()
    if not node_id:
        raise ValueError(f"{column} is empty")
    return node_id


def _convert(
    values: Mapping[str, str], columns: Mapping[str, str], kinds: Mapping[str, PropertyType]
) -> dict[str, Any]:
    """The cells of a mapping's columns in their types; an empty cell is an absent property."""
    return {
        key: convert(values[column].strip(), kinds[key], key)
        for key, column in columns.items()
        if values[column].strip()
    }


def convert(text: str, kind: PropertyType, key: str) -> object:
    """A cell's text as a value of a type; a list's items stand between `|`.

    Raises:
        ValueError: It cannot be read so.
    """
    try:
        if kind == "integer":
            return int(text)
        if kind == "float":
            return float(text)
    except ValueError:
        raise ValueError(f"{key} is no {kind}") from None
    if kind == "boolean":
        if text.lower() in TRUE_WORDS | FALSE_WORDS:
            return text.lower() in TRUE_WORDS
        raise ValueError(f"{key} is no boolean")
    if kind == "strings":
        return [item.strip() for item in text.split(LIST_SEPARATOR) if item.strip()]
    return text
