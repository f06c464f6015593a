"""Tarnwick Electronics, a small company of our own making: its graph, tickets and gold questions.

The data files are package data, so that `sample_path("graph")` works from a source tree, an
installed wheel and a pod alike. `python -m samples.generate` writes them again, byte for byte.
"""

from __future__ import annotations

from pathlib import Path

from kg_schema.errors import InputError

__all__ = ["SAMPLE_NAMES", "sample_path"]

SAMPLE_NAMES = ("tickets", "graph", "gold")

_DATA = Path(__file__).resolve().parent / "data"


def sample_path(name: str) -> Path:
    """Folder of JSON Lines files of one part of the samples.

    Args:
        name: `tickets`, `graph` (nodes*.jsonl and relationships*.jsonl) or `gold`.

    Returns:
        A folder that exists.

    Raises:
        InputError: The name is none of these, or the installation lacks its data files.
    """
    if name not in SAMPLE_NAMES:
        raise InputError(
            "no such sample", where=f"samples:{name}", fix=f"one of {', '.join(SAMPLE_NAMES)}"
        )
    folder = _DATA / name
    if not folder.is_dir():
        raise InputError(
            "sample data is missing", where=str(folder), fix="run `python -m samples.generate`"
        )
    return folder
