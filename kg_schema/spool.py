"""Checked rows on disk, by the statement that writes them: what was checked is what is loaded."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import orjson

# Rows of one statement: a node's label, or a relationship's type and the labels of its ends.
Kind = tuple[str] | tuple[str, str, str]


@dataclass
class _Part:
    stream: BinaryIO
    rows: int = 0
    taken_back: set[int] = field(default_factory=set)


class Spool:
    """Takes rows in any order and gives them back in batches of one statement.

    Millions of rows fit on a disk and not into memory; reading the files again instead would
    parse and check every row twice. Use it as a context manager.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._parts: dict[Kind, _Part] = {}

    def __enter__(self) -> Spool:
        folder = tempfile.TemporaryDirectory(prefix="deskgraph-load-")
        self._folder = Path(self._stack.enter_context(folder))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, kind: Kind, row: list[Any]) -> int:
        """Keeps a row; returns its number among its kind."""
        part = self._parts.get(kind)
        if part is None:
            stream = (self._folder / str(len(self._parts))).open("w+b", buffering=1 << 16)
            part = self._parts[kind] = _Part(self._stack.enter_context(stream))
        part.stream.write(orjson.dumps(row))
        part.stream.write(b"\n")
        part.rows += 1
        return part.rows - 1

    def take_back(self, kind: Kind, number: int) -> None:
        """Forgets a row that turned out to be bad."""
        self._parts[kind].taken_back.add(number)

    def kinds(self) -> list[Kind]:
        """The kinds that there are rows of, in the order in which they came."""
        return list(self._parts)

    def batches(self, kind: Kind, size: int) -> Iterator[list[list[Any]]]:
        """The rows of a kind, `size` at a time."""
        part = self._parts[kind]
        part.stream.seek(0)
        batch: list[list[Any]] = []
        for number, line in enumerate(part.stream):
            if number in part.taken_back:
                continue
            batch.append(orjson.loads(line))
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch
