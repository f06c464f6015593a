"""Read templates: every read of the graph is one reviewed file in `queries/`.

A file is named for its template and begins with a header of `//` lines:

    // name: solutions_by_error_code
    // kind: troubleshooting
    // param error_code: string 1..40  the business id, such as E1001
    // param limit: integer 1..50
    // param as_of: date
    // param topic: string? 1..80  null asks for any
    // returns: facts
    // yields: ErrorCode RESOLVED_BY Solution

`param` gives a name, a type, bounds and, if one likes, a remark. Types: string, integer, float,
boolean, date (ISO string), strings and floats (lists). Bounds are characters of a string, items
of a list, the value of a number. `?` lets it be null or left out. `returns` is `facts` (the
columns of `FactRow`) or `catalogue` (columns of its own, read with `raw_rows`). Other `//` lines
are remarks. The rest is one Cypher statement that reads and never writes.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from itertools import product
from typing import Literal

from kg_schema.errors import DeskGraphError, InputError

DATE_LENGTH = len("2026-01-31")
DEFAULT_BOUNDS = {"string": (0, 2_000), "strings": (0, 500), "floats": (0, 4_096)}
LIST_ITEM_CHARACTERS = 2_000
SAMPLE_CHARACTERS = (8, 20)
FILLER = "_"  # no id or name is made of it, and full-text search takes it for no operator
ALLOWED_PROCEDURES = frozenset({"db.index.fulltext.querynodes", "db.index.vector.querynodes"})

_NAME = re.compile(r"^[a-z][a-z0-9_]*$")
_FIELD = re.compile(r"^//\s*(name|kind|param|returns|yields)\b\s*(.*)$")
_PARAM = re.compile(
    r"^(?P<name>[a-z][a-z0-9_]*)\s*:\s*(?P<type>[a-z]+)(?P<null>\?)?"
    r"(?:\s+(?P<low>-?\d+(?:\.\d+)?)\.\.(?P<high>-?\d+(?:\.\d+)?))?(?:\s+.*)?$"
)
_STRINGS_AND_REMARKS = re.compile(
    r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`[^`]*`|//[^\n]*|/\*.*?\*/", re.S
)
_WRITES = re.compile(
    r"\b(CREATE|MERGE|DELETE|DETACH|SET|REMOVE|DROP|FOREACH|LOAD\s+CSV|ALTER|GRANT|USE)\b", re.I
)
_PROCEDURE = re.compile(r"\bCALL\s+([A-Za-z_][\w.]*)", re.I)
_USED = re.compile(r"\$([A-Za-z_]\w*)")


class TemplateError(DeskGraphError):
    """A template file, or a call of one, does not hold to what the template declares."""


@dataclass(frozen=True)
class Parameter:
    """One declared parameter of a template: its type and its bounds."""

    name: str
    type: str
    nullable: bool
    low: float
    high: float

    def check(self, value: object, template: str) -> object:
        """The value as the database gets it.

        Raises:
            TemplateError: It has another type or lies outside the bounds. The value itself is
                not in the message; it may be a customer's.
        """
        if value is None and self.nullable:
            return None
        measure = _MEASURES[self.type](value)
        if measure is None:
            raise TemplateError(f"parameter {self.name} is no {self.type}", where=template)
        if not self.low <= measure <= self.high:
            raise TemplateError(
                f"parameter {self.name} lies outside {self.low:g}..{self.high:g}", where=template
            )
        return list(value) if isinstance(value, tuple) else value

    def sample(self, characters: int) -> object:
        """A value of its type inside its bounds, such as no node has; texts about that long."""
        if self.type in ("integer", "float"):
            least = self.low if math.isfinite(self.low) else 0
            return int(least) if self.type == "integer" else float(least)
        if self.type == "boolean":
            return False
        if self.type == "date":
            return "1000-01-01"
        if self.type == "string":
            return FILLER * int(min(max(self.low, characters), self.high))
        item = FILLER * characters if self.type == "strings" else 1.0
        return [item] * int(max(self.low, 1))


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def _integer(value: object) -> float | None:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _string(value: object) -> float | None:
    return len(value) if isinstance(value, str) else None


def _date(value: object) -> float | None:
    if not isinstance(value, str):
        return None
    try:
        date.fromisoformat(value[:DATE_LENGTH])
    except ValueError:
        return None
    return len(value)


def _strings(value: object) -> float | None:
    if not isinstance(value, (list, tuple)):
        return None
    whole = all(isinstance(item, str) and len(item) <= LIST_ITEM_CHARACTERS for item in value)
    return len(value) if whole else None


def _floats(value: object) -> float | None:
    if not isinstance(value, (list, tuple)):
        return None
    return len(value) if all(_number(item) is not None for item in value) else None


_MEASURES = {
    "string": _string,
    "integer": _integer,
    "float": _number,
    "boolean": lambda value: 0.0 if isinstance(value, bool) else None,
    "date": _date,
    "strings": _strings,
    "floats": _floats,
}


@dataclass(frozen=True)
class QueryTemplate:
    """One reviewed read.

    Attributes:
        name: Name of the file and of the template.
        text: The file's text, header and all: servers cache plans by it.
        kind: The question kind it answers.
        parameters: What it takes, in the header's order.
        returns: `facts` for the columns of `FactRow`, `catalogue` for columns of its own.
        yields: The facts it yields, one a header line.
        digest: First 12 hex digits of the text's SHA-256.
    """

    name: str
    text: str
    kind: str
    parameters: tuple[Parameter, ...]
    returns: Literal["facts", "catalogue"]
    yields: tuple[str, ...]
    digest: str

    def bind(self, given: Mapping[str, object]) -> dict[str, object]:
        """The parameters to send.

        Raises:
            TemplateError: One is unknown, missing, of another type or out of bounds.
        """
        names = {parameter.name for parameter in self.parameters}
        if unknown := sorted(set(given) - names):
            raise TemplateError(f"unknown parameters: {', '.join(unknown)}", where=self.name)
        missing = [p.name for p in self.parameters if p.name not in given and not p.nullable]
        if missing:
            raise TemplateError(f"missing parameters: {', '.join(missing)}", where=self.name)
        return {p.name: p.check(given.get(p.name), self.name) for p in self.parameters}

    def samples(self) -> list[dict[str, object]]:
        """Values that it takes and that find nothing, for a server that shall plan it.

        Neo4j keeps a plan for each combination of types, of null and of rough sizes: all texts are
        as long as most ids in the one half and as longer ones in the other, and what may be null is
        so in a half of each.
        """
        found: list[dict[str, object]] = []
        for size, without in product(SAMPLE_CHARACTERS, (False, True)):
            given = {
                each.name: None if without and each.nullable else each.sample(size)
                for each in self.parameters
            }
            if given not in found:
                found.append(given)
        return found


def parse_template(stem: str, text: str) -> QueryTemplate:
    """Reads one template file.

    Args:
        stem: The file's name without its ending.
        text: The file's text.

    Raises:
        TemplateError: The header is not whole, the body writes or calls what is not allowed, or
            the parameters used are not the parameters declared.
    """
    fields: dict[str, list[str]] = {}
    for line in text.splitlines():
        if not line.startswith("//"):
            break
        if found := _FIELD.match(line):
            value = found.group(2)
            if found.group(1) != "param":
                value = value.removeprefix(":").strip()
            fields.setdefault(found.group(1), []).append(value)
    name = _single(fields, "name", stem)
    if name != stem or not _NAME.match(name):
        raise TemplateError(f"the header names it {name!r}", where=f"{stem}.cypher")
    returns = _single(fields, "returns", stem)
    if returns not in ("facts", "catalogue"):
        raise TemplateError("returns must be facts or catalogue", where=f"{stem}.cypher")
    parameters = tuple(_parameter(line, stem) for line in fields.get("param", []))
    _check_body(stem, text, {parameter.name for parameter in parameters})
    return QueryTemplate(
        name=name,
        text=text,
        kind=_single(fields, "kind", stem),
        parameters=parameters,
        returns="facts" if returns == "facts" else "catalogue",
        yields=tuple(fields.get("yields", [])),
        digest=hashlib.sha256(text.encode()).hexdigest()[:12],
    )


def _single(fields: Mapping[str, list[str]], key: str, stem: str) -> str:
    values = fields.get(key, [])
    if len(values) != 1 or not values[0]:
        raise TemplateError(f"the header wants one line `// {key}: …`", where=f"{stem}.cypher")
    return values[0]


def _parameter(line: str, stem: str) -> Parameter:
    found = _PARAM.match(line)
    if found is None or found["type"] not in _MEASURES:
        raise TemplateError(f"cannot read `param {line}`", where=f"{stem}.cypher")
    low, high = DEFAULT_BOUNDS.get(found["type"], (-math.inf, math.inf))
    if found["low"]:
        low, high = float(found["low"]), float(found["high"])
    return Parameter(found["name"], found["type"], found["null"] is not None, low, high)


def _check_body(stem: str, text: str, declared: set[str]) -> None:
    body = _STRINGS_AND_REMARKS.sub(" ", text)
    if write := _WRITES.search(body):
        raise TemplateError(f"a read must not {write.group(1).upper()}", where=f"{stem}.cypher")
    for procedure in _PROCEDURE.findall(body):
        if procedure.lower() not in ALLOWED_PROCEDURES:
            raise TemplateError(f"procedure {procedure} is not allowed", where=f"{stem}.cypher")
    used = set(_USED.findall(body))
    if used != declared:
        differing = ", ".join(sorted(used ^ declared))
        raise TemplateError(
            f"parameters used and declared differ: {differing}", where=f"{stem}.cypher"
        )


@cache
def load_templates() -> Mapping[str, QueryTemplate]:
    """The templates of this package, by name; read once a process.

    Raises:
        TemplateError: A file does not hold to the form above.
    """
    found = {}
    for entry in files("kg_schema").joinpath("queries").iterdir():
        if entry.name.endswith(".cypher"):
            stem = entry.name.removesuffix(".cypher")
            found[stem] = parse_template(stem, entry.read_text(encoding="utf-8"))
    return found


def find_template(name: str, templates: Mapping[str, QueryTemplate]) -> QueryTemplate:
    """The template of that name.

    Raises:
        InputError: There is none.
    """
    template = templates.get(name)
    if template is None:
        raise InputError("no read template of this name", where=name)
    return template
