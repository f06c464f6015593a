"""Writes rows as JSON Lines, in files that stay small enough to read and to review."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

MAX_BYTES = 900_000
"""Upper bound of one data file in bytes."""


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


def write_rows(folder: Path, stem: str, rows: Iterable[dict[str, Any]]) -> list[Path]:
    """Write rows to `<stem>-<nn>.jsonl`, a new file before one grows beyond `MAX_BYTES`.

    Args:
        folder: Made where it does not exist.
        stem: Start of the file names.
        rows: JSON objects; key order is kept.

    Returns:
        The files written, in order.
    """
    parts: list[list[str]] = [[]]
    size = 0
    for row in rows:
        line = json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n"
        length = len(line.encode())
        if size + length > MAX_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(line)
        size += length
    paths = [folder / f"{stem}-{number:02d}.jsonl" for number in range(len(parts))]
    for path, lines in zip(paths, parts, strict=True):
        _write_lines(path, lines)
    return paths


def write_file(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows to one file."""
    _write_lines(
        path,
        (json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows),
    )
