"""What a run of a compiled pipeline may be given, and how `--param name=value` is read."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kg_schema.errors import InputError

LARGEST_INTEGER = 2**53
"""Numbers travel as doubles; beyond this a whole one would change on the way."""

_WHOLE = re.compile(r"[+-]?[0-9]{1,16}")


@dataclass(frozen=True)
class Parameter:
    """An input of a pipeline.

    Attributes:
        name: As the package names it.
        kind: `STRING`, `NUMBER_INTEGER`, `NUMBER_DOUBLE`, `BOOLEAN`, `STRUCT` or `LIST`.
        required: Whether a run cannot do without a value.
    """

    name: str
    kind: str
    required: bool


def declared_parameters(spec: Mapping[str, Any]) -> dict[str, Parameter]:
    """Reads the inputs of a compiled pipeline's specification.

    Raises:
        LookupError: It has no root, or an input of it no type.
    """
    declared = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    return {
        name: Parameter(
            name,
            each["parameterType"],
            required=not each.get("isOptional") and "defaultValue" not in each,
        )
        for name, each in declared.items()
    }


def parse_parameters(texts: Iterable[str], declared: Mapping[str, Parameter]) -> dict[str, Any]:
    """Reads `name=value` by the declared types.

    Args:
        texts: As given on the command line; structures and lists as JSON.
        declared: What the package takes.

    Returns:
        Values by name; what is not given keeps the package's default.

    Raises:
        InputError: An unknown or doubled name, a value of another type, or a required one missing.
    """
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        where = f"--param {name}"
        if not equals:
            raise InputError("has no value", where=where, fix="give --param NAME=VALUE")
        if name not in declared:
            raise InputError("no such parameter", where=where, fix=f"there are: {_list(declared)}")
        if name in values:
            raise InputError("is given twice", where=where, fix="give it once")
        kind = declared[name].kind
        if kind not in _READERS:
            raise InputError(f"cannot be given: it is a {kind}", where=where)
        wanted, read = _READERS[kind]
        try:
            values[name] = read(value)
        except (ValueError, RecursionError):
            shown = value if len(value) <= 40 else f"{value[:40]}…"
            raise InputError(f"is {shown!r}", where=where, fix=f"give {wanted}") from None
    missing = [each.name for each in declared.values() if each.required and each.name not in values]
    if missing:
        raise InputError("needs a value", where=f"--param {missing[0]}", fix=_list(declared))
    return values


def _list(declared: Mapping[str, Parameter]) -> str:
    return ", ".join(f"{each.name} ({each.kind})" for each in declared.values()) or "none"


def _integer(text: str) -> int:
    if not _WHOLE.fullmatch(text) or abs(int(text)) > LARGEST_INTEGER:
        raise ValueError(text)
    return int(text)


def _double(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


def _json_of(kind: type) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value = json.loads(text, parse_int=_integer, parse_float=_double, parse_constant=_double)
        if not isinstance(value, kind):
            raise ValueError(text)
        return value

    return read


_READERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "STRING": ("text", str),
    "NUMBER_INTEGER": ("a whole number", _integer),
    "NUMBER_DOUBLE": ("a number", _double),
    "BOOLEAN": ("true or false", _boolean),
    "STRUCT": ('a JSON object, such as {"epochs": 3}', _json_of(dict)),
    "LIST": ("a JSON list, such as [1, 2]", _json_of(list)),
}
