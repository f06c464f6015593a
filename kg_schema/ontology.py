"""What the graph may hold, as data: labels, properties and relationships from YAML files."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from kg_schema.errors import InputError

BUILT_IN = "deskgraph"
ANY = "any"
# Personal labels that `any` reaches: the read templates leave out what is about them. A company's
# own personal labels are reached only by relationships whose ends name them.
GUARDED = frozenset({"Customer", "Order"})
MAX_ID_CHARACTERS = 200
MAX_TEXT_CHARACTERS = 100_000
# The loader's own bookkeeping on every node and relationship.
BOOKKEEPING = (
    "source_ids",
    "content_hash",
    "loaded_at",
    "batch_id",
    "embedding",
    "embedding_model",
)
MAX_DIMENSIONS = 4_096

IDENTIFIER = re.compile(r"^[A-Za-z][A-Za-z0-9_]*$")
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*\z", max_length=64)]
PropertyType = Literal["string", "integer", "float", "boolean", "date", "strings"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Property(_Strict):
    """One property of a label or relationship type."""

    type: PropertyType
    required: bool = False
    unique: bool = False
    searchable: bool = False
    personal: bool = False

    @model_validator(mode="before")
    @classmethod
    def _from_type_name(cls, given: object) -> object:
        return {"type": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _searchable_is_text(self) -> Property:
        if self.searchable and self.type not in ("string", "strings"):
            raise ValueError("only a string or strings can be searchable")
        return self


class Embedding(_Strict):
    """Which properties of a node make up the text that vector search finds it by."""

    source: tuple[Identifier, ...] = Field(alias="from", min_length=1)
    dimensions: int = Field(ge=1, le=MAX_DIMENSIONS)


class Label(_Strict):
    """One kind of node."""

    properties: dict[Identifier, Property] = Field(default_factory=dict, validate_default=True)
    personal: bool = False
    embedding: Embedding | None = None

    @field_validator("properties")
    @classmethod
    def _complete(cls, given: dict[str, Property]) -> dict[str, Property]:
        _refuse_bookkeeping(given)
        return {
            "id": Property(type="string", required=True, unique=True),
            "name": Property(type="string", required=True),
            **{key: value for key, value in given.items() if key != "id"},
        }

    @model_validator(mode="after")
    def _embeds_its_own_text(self) -> Label:
        for key in self.embedding.source if self.embedding else ():
            if key not in self.properties or self.properties[key].type != "string":
                raise ValueError(f"embedding is from {key}, which is no string property")
        if self.embedding and self.personal:
            raise ValueError("a personal label is found by its customer, never by an embedding")
        return self


class Ends(_Strict):
    """Labels that a relationship may leave and reach; every pair of them."""

    start: tuple[Identifier, ...] = Field(alias="from")
    end: tuple[Identifier, ...] = Field(alias="to")

    @field_validator("start", "end", mode="before")
    @classmethod
    def _any(cls, given: object) -> object:
        return (ANY,) if given == ANY else given


class Relationship(_Strict):
    """One kind of relationship."""

    ends: tuple[Ends, ...] = Field(min_length=1)
    properties: dict[Identifier, Property] = Field(default_factory=dict)

    @field_validator("properties")
    @classmethod
    def _no_bookkeeping(cls, given: dict[str, Property]) -> dict[str, Property]:
        _refuse_bookkeeping(given)
        return given

    def allows(self, start: str, end: str) -> bool:
        """Whether it may go from the one label to the other."""
        return any(
            (ANY in ends.start or start in ends.start) and (ANY in ends.end or end in ends.end)
            for ends in self.ends
        )

    def names(self, label: str) -> bool:
        """Whether one of its ends is this very label, and not any."""
        return any(label in (*ends.start, *ends.end) for ends in self.ends)


def _refuse_bookkeeping(properties: Mapping[str, Property]) -> None:
    if taken := sorted(set(properties) & set(BOOKKEEPING)):
        raise ValueError(f"{', '.join(taken)} belongs to the loader")


class Ontology(_Strict):
    """Everything the graph may hold. Names in it are checked identifiers."""

    version: int = 1
    labels: dict[Identifier, Label]
    relationships: dict[Identifier, Relationship] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _ends_exist(self) -> Ontology:
        for name, relationship in self.relationships.items():
            for ends in relationship.ends:
                unknown = {*ends.start, *ends.end} - {ANY} - set(self.labels)
                if unknown:
                    raise ValueError(f"{name} has ends of no label: {', '.join(sorted(unknown))}")
        return self

    @cached_property
    def personal_labels(self) -> frozenset[str]:
        """Labels whose nodes are a customer's own."""
        return frozenset(name for name, label in self.labels.items() if label.personal)

    @cached_property
    def node_columns(self) -> Mapping[str, tuple[str, ...]]:
        """The properties of each label, less `id`, in the order in which a load writes them."""
        return {
            name: tuple(key for key in label.properties if key != "id")
            for name, label in self.labels.items()
        }

    @cached_property
    def relationship_columns(self) -> Mapping[str, tuple[str, ...]]:
        """As `node_columns`, of each relationship type."""
        return {name: tuple(kind.properties) for name, kind in self.relationships.items()}

    def searchable(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Labels that full-text search covers, each with its searchable properties."""
        for name, label in self.labels.items():
            found = tuple(key for key, kind in label.properties.items() if kind.searchable)
            if found:
                yield name, found

    def embedded(self) -> Iterator[tuple[str, Embedding]]:
        """Labels that vector search covers."""
        for name, label in self.labels.items():
            if label.embedding is not None:
                yield name, label.embedding

    def check_node(self, label: str, properties: Mapping[str, object]) -> dict[str, object]:
        """A node's properties, checked and in the types declared.

        Args:
            label: Its label.
            properties: Its properties, `id` among them; None stands for absent.

        Raises:
            ValueError: What is wrong with it, in a few words, for the quarantine.
        """
        found = self.labels.get(label)
        if found is None:
            raise ValueError(f"unknown label {label!r}")
        checked = _checked(found.properties, properties, label)
        if len(str(checked["id"])) > MAX_ID_CHARACTERS:
            raise ValueError(f"id is longer than {MAX_ID_CHARACTERS} characters")
        return checked

    def check_relationship(
        self, kind: str, start: str, end: str, properties: Mapping[str, object]
    ) -> dict[str, object]:
        """A relationship's properties, checked; arguments and errors as `check_node`."""
        found = self.relationships.get(kind)
        if found is None:
            raise ValueError(f"unknown relationship type {kind!r}")
        if (kind, start, end) not in self._allowed:
            self._check_ends(kind, found, start, end)
            self._allowed.add((kind, start, end))
        return _checked(found.properties, properties, kind)

    @cached_property
    def _allowed(self) -> set[tuple[str, str, str]]:
        """Types and ends that were found good: millions of rows have the same few."""
        return set()

    def _check_ends(self, kind: str, found: Relationship, start: str, end: str) -> None:
        for label in (start, end):
            if label not in self.labels:
                raise ValueError(f"unknown label {label!r}")
        if not found.allows(start, end):
            raise ValueError(f"{kind} does not go from {start} to {end}")
        for label in {start, end} & self.personal_labels - GUARDED:
            if not found.names(label):
                raise ValueError(f"{kind} does not name {label}, which is personal, as an end")


def _checked(
    declared: Mapping[str, Property], given: Mapping[str, object], owner: str
) -> dict[str, object]:
    if not given.keys() <= declared.keys():
        unknown = next(key for key in given if key not in declared)
        raise ValueError(f"{owner} has no property {unknown!r}")
    checked: dict[str, object] = {}
    for key, kind in declared.items():
        value = given.get(key)
        if value is None:
            if kind.required:
                raise ValueError(f"{owner} lacks {key}")
            continue
        checked[key] = check_value(kind.type, value, key)
    return checked


def check_value(kind: PropertyType, value: object, key: str) -> object:
    """A value in its declared type: an integer is taken for a float, and nothing else changes.

    Raises:
        ValueError: It has another type.
    """
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not _CHECKS[kind](value):
        raise ValueError(f"{key} is no {kind}")
    return value


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_TEXT_CHARACTERS and _has_bytes(value)


def _has_bytes(text: str) -> bool:
    """Whether UTF-8 can hold it: half of a surrogate pair, which JSON can name, has no bytes."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_date(value: object) -> bool:
    """A day or a day and time, ISO 8601, so that text order is time order."""
    if not isinstance(value, str) or len(value) < len("2026-01-31"):
        return False
    try:
        date.fromisoformat(value[:10])
    except ValueError:
        return False
    return len(value) == len("2026-01-31") or value[10] in "T "


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _is_float(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _is_boolean(value: object) -> bool:
    return isinstance(value, bool)


def _is_strings(value: object) -> bool:
    return isinstance(value, list) and all(_is_text(item) for item in value)


_CHECKS: dict[PropertyType, Callable[[object], bool]] = {
    "string": _is_text,
    "integer": _is_integer,
    "float": _is_float,
    "boolean": _is_boolean,
    "date": _is_date,
    "strings": _is_strings,
}


def load_ontology(path: str | Path | None = None) -> Ontology:
    """Reads an ontology.

    Args:
        path: A company's YAML file. With `extends: deskgraph` its labels, properties and ends are
            added to the built-in ones; without it, it stands alone. None: the built-in one.

    Raises:
        InputError: The file is missing, no YAML, or no ontology.
    """
    built_in = yaml.safe_load(
        files("kg_schema").joinpath("ontology.yaml").read_text(encoding="utf-8")
    )
    if path is None:
        return _model(built_in, "ontology.yaml")
    where = str(path)
    try:
        given = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read it ({type(error).__name__})", where=where) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise InputError("this is no YAML", where=f"{where}{line}") from None
    if not isinstance(given, dict):
        raise InputError("an ontology is a mapping with `labels`", where=where)
    parent = given.pop("extends", None)
    if parent is None:
        return _model(given, where)
    if parent != BUILT_IN:
        raise InputError(f"extends {parent!r}; there is only {BUILT_IN!r} to extend", where=where)
    return _model(_merged(built_in, given, where), where)


def _model(given: Mapping[str, Any], where: str) -> Ontology:
    try:
        return Ontology.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"] if part != "[key]")
        raise InputError(f"{place}: {first['msg']}" if place else first["msg"], where=where) from (
            None
        )


_MAY_ADD = {"labels": {"properties"}, "relationships": {"properties", "ends"}}


def _merged(base: Mapping[str, Any], extra: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The base with an extension's additions; an extension changes nothing that is there."""
    unknown = sorted(set(extra) - {"version", *_MAY_ADD})
    if unknown:
        raise InputError(f"unknown entry {unknown[0]!r}", where=where)
    merged: dict[str, Any] = {"version": base["version"]}
    for part, may_add in _MAY_ADD.items():
        entries = {name: dict(entry) for name, entry in base[part].items()}
        for name, entry in _mapping(extra.get(part), part, where).items():
            added = _mapping(entry, f"{part}.{name}", where)
            if name in entries:
                refused = sorted(set(added) - may_add)
                if refused:
                    raise InputError(f"{part}.{name}.{refused[0]} cannot be changed", where=where)
                entries[name] = _with_additions(entries[name], added, f"{part}.{name}", where)
            else:
                entries[name] = dict(added)
        merged[part] = entries
    return merged


def _with_additions(
    old: Mapping[str, Any], added: Mapping[str, Any], what: str, where: str
) -> dict[str, Any]:
    properties = dict(old.get("properties") or {})
    new = _mapping(added.get("properties"), f"{what}.properties", where)
    if clash := sorted(set(new) & {*properties, "id", "name"}):
        raise InputError(f"{what}.{clash[0]} is there already", where=where)
    grown = {**old, "properties": {**properties, **new}}
    if "ends" in old:
        ends = added.get("ends") or []
        if not isinstance(ends, list):
            raise InputError(f"{what}.ends is no list", where=where)
        grown["ends"] = [*old["ends"], *ends]
    return grown


def _mapping(given: object, what: str, where: str) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise InputError(f"{what} is no mapping", where=where)
    return given
