"""What every component's body does around its stage: settings in, one clear line out."""

from __future__ import annotations

import json
import logging
import sys
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import TypeVar

from kg_schema.errors import DeskGraphError, InputError

# A line that starts so ends a failed stage's log; whoever follows the log needs no traceback.
ERROR_MARK = "deskgraph-error "

Settings = TypeVar("Settings")


@contextmanager
def reported() -> Iterator[None]:
    """Turns a typed error of the stage into one marked line and its exit code.

    Any other exception is a defect and passes with its traceback.

    Raises:
        SystemExit: With the error's exit code.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    # A roll-out sends hundreds of tickets: a line each would bury what it says of them.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        yield
    except DeskGraphError as error:
        line = json.dumps({"message": str(error), "exit_code": error.exit_code})
        sys.stderr.write(f"{ERROR_MARK}{line}\n")
        sys.stderr.flush()
        raise SystemExit(error.exit_code) from None


def parse_settings(kind: type[Settings], values: Mapping[str, object], **fixed: object) -> Settings:
    """Makes a stage's settings from a parameter of the pipeline.

    Numbers in a JSON parameter arrive as floats and tuples as lists; both are put right here.

    Args:
        kind: The stage's settings, a dataclass.
        values: Its fields by name; what is absent keeps its default.
        **fixed: Fields the pipeline sets itself.

    Raises:
        InputError: A name the settings lack, or a value of another type.
    """
    types = typing.get_type_hints(kind)
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    unknown = sorted(values.keys() - set(names))
    if unknown:
        raise InputError(
            f"unknown setting {unknown[0]!r}",
            where=kind.__name__,
            fix=f"use one of {', '.join(names)}",
        )
    given = {name: _coerce(types[name], value, name) for name, value in values.items()}
    return kind(**{**given, **fixed})


def _coerce(kind: object, value: object, name: str) -> object:
    whole = isinstance(value, float) and value.is_integer()
    if kind is int and whole and isinstance(value, float):
        return int(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, list):
        return tuple(_coerce(int, item, name) for item in value)
    if isinstance(kind, type) and not isinstance(value, kind):
        raise InputError(
            f"setting {name!r} is {value!r}", fix=f"use a value of type {kind.__name__}"
        )
    return value
