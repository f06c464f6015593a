"""Writes the model card and the data card: what was made, of what, for what, and where it is weak.

After Mitchell et al. 2019 (model cards) and Gebru et al. 2021 (datasheets), as far as a pipeline
can know it: numbers and lineage, nothing that only a person could say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from components.markdown import cell
from components.report.answers import answers_section
from components.report.candidates import candidate_rows, champion_line, confusion_section, shown
from components.report.lineage import dataset_line, lineage_items
from components.report.parts import Parts
from components.shards import SPLITS, read_split, shard_schema
from components.storage import output_file

MODEL_CARD = "model_card.md"
DATA_CARD = "data_card.md"
PURPOSE = {
    "intent": "Says which of {labels} questions a support ticket asks, and how surely.",
    "answer": "Writes an answer to a support ticket, after the answers that resolved earlier ones.",
}


def write_cards(parts: Parts, model_card: str, data_card: str) -> None:
    """Writes two Markdown files; the same measurements give the same bytes.

    Args:
        parts: What they tell.
        model_card: Location of the model card.
        data_card: Location of the data card.

    Raises:
        InputError: A location cannot be written.
        ManifestError: The shards are not whole.
    """
    for out, text in (
        (model_card, _model_card(parts.measured, parts.selected, parts.answered, parts.shards)),
        (data_card, _data_card(parts.folder, parts.shards, parts.measured)),
    ):
        with output_file(out) as path:
            path.write_text(text, encoding="utf-8")


def _model_card(
    measured: Mapping[str, Any],
    selected: Mapping[str, Any],
    answered: Mapping[str, Any],
    shards: Mapping[str, Any],
) -> str:
    name = selected["winner"]
    compared = answers_section(answered)
    return _render(
        MODEL_CARD,
        model_name=f"{shown(name)} of data set {shards['dataset_id']}",
        purpose=PURPOSE[measured["task"]].format(labels=len(measured["labels"])),
        intents=measured["task"] == "intent",
        shown=shown(name),
        measured=measured,
        selected=selected,
        model=selected["model"],
        row=measured["candidates"][name],
        rows=candidate_rows(measured, selected),
        champion=champion_line(selected),
        confusion=confusion_section(measured, selected),
        answers=compared["summary"] if compared else "",
        skipped=answered.get("skipped", ""),
        lineage=lineage_items(measured, selected, answered, shards),
    )


def _data_card(folder: Path, shards: Mapping[str, Any], measured: Mapping[str, Any]) -> str:
    tickets = [row for split in SPLITS for row in read_split(folder, split).to_pylist()]
    intents = Counter(row["intent"] for row in tickets if row["intent"] is not None)
    languages = Counter(row["language"] or "not said" for row in tickets)
    dates = sorted(row["created_at"] for row in tickets if row["created_at"])
    lengths = sorted(len(row["text"]) for row in tickets)
    labelled = sum(intents.values())
    return _render(
        DATA_CARD,
        dataset=shards["dataset_id"],
        sentence=_sentence(dataset_line(measured, shards)),
        shards=shards,
        length={"median": lengths[len(lengths) // 2], "p95": lengths[95 * len(lengths) // 100]},
        languages=", ".join(f"{each} ({count:,})" for each, count in languages.most_common()),
        written=f"from {dates[0][:10]} to {dates[-1][:10]}" if dates else "not said",
        columns=[field.name for field in shard_schema()],
        counts=[
            (intent, count, f"{100 * count / labelled:.1f}")
            for intent, count in sorted(intents.items(), key=lambda each: (-each[1], each[0]))
        ],
    )


def _render(template: str, **values: Any) -> str:
    from jinja2 import Environment, StrictUndefined

    # Markdown, not HTML: whatever comes from the data goes through `cell`.
    environment = Environment(autoescape=False, undefined=StrictUndefined)  # noqa: S701
    environment.filters |= {"cell": cell, "sentence": lambda text: cell(_sentence(text))}
    source = files("components.report").joinpath(template).read_text(encoding="utf-8")
    return environment.from_string(source).render(**values).rstrip() + "\n"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
