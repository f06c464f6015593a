"""Writes the report: lays out what the stages measured as one HTML file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.metadata import version
from importlib.resources import files
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
from components.report.parts import Parts
from components.storage import output_file

TEMPLATE = "template.html"

logger = logging.getLogger(__name__)


def write_report(parts: Parts, out: str) -> None:
    """Writes one self-contained HTML file: tables, plots, lineage, and what was skipped.

    Args:
        parts: What it tells.
        out: Location of the HTML file.

    Raises:
        InputError: The location cannot be written.
    """
    page = _render(parts.measured, parts.selected, parts.answered, parts.shards)
    with output_file(out) as path:
        path.write_text(page, encoding="utf-8")
    logger.info("report: %s", out)


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
