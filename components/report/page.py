"""Writes the report: reads what the stages measured, and lays it out as one HTML file."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from components.report.answers import answers_section
from components.report.candidates import (
    candidate_rows,
    cards,
    champion_line,
    confusion_section,
    losses_section,
    scatter_section,
    shown,
)
from components.report.lineage import dataset_line, lineage_items
from components.shards import read_manifest
from components.storage import localise, output_file
from kg_schema.errors import InputError
from serving.manifest import verify_manifest

TEMPLATE = "template.html"

logger = logging.getLogger(__name__)


def write_report(evaluation: str, selection: str, answers: str, shards: str, out: str) -> None:
    """Writes one self-contained HTML file: tables, plots, lineage, and what was skipped.

    Args:
        evaluation: Location of the evaluation directory.
        selection: Location of the selection directory.
        answers: Location of the answers directory.
        shards: Location of the shards.
        out: Location of the HTML file.

    Raises:
        InputError: The selection is not of this evaluation, or a location cannot be used.
        ManifestError: A directory is not whole.
    """
    page = _render(*read_parts(evaluation, selection, answers), read_manifest(localise(shards)))
    with output_file(out) as path:
        path.write_text(page, encoding="utf-8")
    logger.info("report: %s", out)


def read_parts(
    evaluation: str, selection: str, answers: str
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Returns what was measured, what was selected, and how it answers.

    Raises:
        InputError: The selection is not of this evaluation, or a location cannot be used.
        ManifestError: A directory is not whole.
    """
    measured = _read(localise(evaluation), "evaluation")
    selected = _read(localise(selection), "selection")
    if selected["test"].keys() != measured["candidates"].keys():
        raise InputError("the selection is of another evaluation", where=selection)
    return measured, selected, _read(localise(answers), "answers")


def _read(folder: Path, kind: str) -> dict[str, Any]:
    verify_manifest(folder, kind)
    content: dict[str, Any] = json.loads((folder / f"{kind}.json").read_text(encoding="utf-8"))
    return content


def _render(
    measured: Mapping[str, Any],
    selected: Mapping[str, Any],
    answered: Mapping[str, Any],
    shards: Mapping[str, Any],
) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined)
    source = files("components.report").joinpath(TEMPLATE).read_text(encoding="utf-8")
    intents = measured["task"] == "intent"
    budget = selected["settings"]["budget_points"]
    return environment.from_string(source).render(
        winner={"shown": shown(selected["winner"])},
        dataset=dataset_line(measured, shards),
        cards=cards(measured, selected, answered),
        reason=selected["reason"],
        passed=selected["gate"] == "true",
        accuracy_word="accuracy" if intents else "token accuracy",
        quality_word="macro F1, %" if intents else "perplexity",
        scatter=scatter_section(measured, selected),
        rows=candidate_rows(measured, selected),
        budget=_points(budget),
        budget2=_points(2 * budget),
        champion=champion_line(selected),
        losses=losses_section(selected),
        confusion=confusion_section(measured, selected),
        answers=answers_section(answered),
        skipped=answered.get("skipped", ""),
        lineage=lineage_items(measured, selected, answered, shards),
        version=version("deskgraph"),
    )


def _points(number: float) -> str:
    return f"{number:g} point" if number == 1 else f"{number:g} points"
