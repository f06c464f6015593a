"""What the report step reads: the results of the stages before it, each whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.shards import read_manifest
from components.storage import localise
from kg_schema.errors import InputError
from serving.manifest import verify_manifest


@dataclass(frozen=True)
class Parts:
    """What a page and the cards are made of.

    Attributes:
        measured: The evaluation.
        selected: The selection.
        answered: How it answers.
        shards: The shards' manifest.
        folder: Where the shards are.
    """

    measured: Mapping[str, Any]
    selected: Mapping[str, Any]
    answered: Mapping[str, Any]
    shards: Mapping[str, Any]
    folder: Path


def read_parts(evaluation: str, selection: str, answers: str, shards: str) -> Parts:
    """Reads what was measured, what was selected, how it answers, and of what tickets.

    Args:
        evaluation: Location of the evaluation directory.
        selection: Location of the selection directory.
        answers: Location of the answers directory.
        shards: Location of the shards.

    Raises:
        InputError: The selection is not of this evaluation, or a location cannot be used.
        ManifestError: A directory is not whole.
    """
    measured = _read(localise(evaluation), "evaluation")
    selected = _read(localise(selection), "selection")
    if selected["test"].keys() != measured["candidates"].keys():
        raise InputError("the selection is of another evaluation", where=selection)
    answered, folder = _read(localise(answers), "answers"), localise(shards)
    return Parts(measured, selected, answered, read_manifest(folder), folder)


def _read(folder: Path, kind: str) -> dict[str, Any]:
    verify_manifest(folder, kind)
    content: dict[str, Any] = json.loads((folder / f"{kind}.json").read_text(encoding="utf-8"))
    return content
