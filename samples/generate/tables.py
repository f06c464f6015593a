"""Reads the hand-written tables: sections in brackets, one row a line, columns split by ` | `."""

from __future__ import annotations

from pathlib import Path

_TABLES = Path(__file__).resolve().parent / "tables"

Sections = dict[str, list[list[str]]]


def read_lines(path: Path) -> list[str]:
    """Lines of a text table without blank lines and `#` comments."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def read_sections(name: str) -> Sections:
    """Rows by section of `tables/<name>.txt`, in the order of the file.

    Raises:
        ValueError: A row stands before the first section, or a section comes twice.
    """
    sections: Sections = {}
    current: list[list[str]] | None = None
    for line in read_lines(_TABLES / f"{name}.txt"):
        if line.startswith("[") and line.endswith("]"):
            if line[1:-1] in sections:
                raise ValueError(f"tables/{name}.txt: section {line} comes twice")
            current = sections.setdefault(line[1:-1], [])
        elif current is None:
            raise ValueError(f"tables/{name}.txt: {line!r} stands before any section")
        else:
            current.append([cell.strip() for cell in line.split("|")])
    return sections
