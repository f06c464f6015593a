"""The page holds what was measured, needs nothing from outside, and says what was skipped."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from components.evaluate.evaluation import EvaluateSettings, evaluate_candidates
from components.evaluate.tables import answer_tables
from components.report.candidates import losses_section
from components.report.cards import write_cards
from components.report.page import write_report
from components.report.parts import read_parts
from components.select.selection import SelectSettings, select_candidate
from kg_schema.errors import InputError
from serving.manifest import ManifestError, write_manifest
from tests.components.evaluate.test_judging import _judged

VOID = {"meta", "br", "path", "use", "line", "rect", "stop", "image"}


class _Outline(HTMLParser):
    """Checks nesting, and gathers text, sources and images without words."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.sources: list[str] = []
        self.silent: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.sources += [given[name] or "" for name in ("src", "href") if given.get(name)]
        if (tag == "img" and not given.get("alt")) or (
            given.get("role") == "img" and not given.get("aria-label")
        ):
            self.silent.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)


@pytest.fixture(scope="module")
def stages(
    word_candidates: dict[str, str], word_shards: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, str, str]:
    """Locations of an evaluation, its selection and the shards."""
    folder = tmp_path_factory.mktemp("stages")
    measured = evaluate_candidates(
        word_candidates,
        word_shards,
        str(folder / "evaluation"),
        EvaluateSettings(latency_repeats=10, resamples=100),
    )
    selected = select_candidate(
        measured.out,
        word_candidates,
        word_shards,
        str(folder / "selection"),
        SelectSettings(resamples=100, budget_points=6.0),
    )
    return measured.out, selected.out, word_shards


def _answers(folder: Path, content: dict[str, Any]) -> str:
    folder.mkdir()
    (folder / "answers.json").write_text(json.dumps(content))
    write_manifest(folder, "answers")
    return str(folder)


def _compared(folder: Path) -> str:
    pairs = [(_judged(right=n % 3 == 0), _judged(right=n % 10 > 0)) for n in range(60)]
    return _answers(folder, answer_tables(pairs, seed=1))


def _page(path: Path) -> tuple[str, _Outline]:
    html = path.read_text(encoding="utf-8")
    outline = _Outline()
    outline.feed(html)
    assert outline.open == []
    return html, outline


def test_page_holds_the_numbers_and_stands_alone(
    stages: tuple[str, str, str], tmp_path: Path
) -> None:
    evaluation, selection, shards = stages
    out = tmp_path / "report.html"
    write_report(
        read_parts(evaluation, selection, _compared(tmp_path / "answers"), shards), str(out)
    )
    html, outline = _page(out)
    text = " ".join(" ".join(outline.text).split())
    content = json.loads((Path(selection) / "selection.json").read_text())
    assert f"{100 * content['test']['distilled']['accuracy']['value']:.2f}" in text
    assert content["reason"][1:] in text
    assert "The distilled model was chosen" in text
    assert "Where compression costs the most" in text
    assert "What the chosen model takes for something else" in text
    assert "The graph changes +56.7 points" in text
    assert content["model"]["sha256"][:16] in text
    assert html.count("<svg") == 3
    assert outline.silent == []
    assert [source for source in outline.sources if not source.startswith("#")] == []
    assert not re.search(r"@import|url\((?!#)", html)
    assert "prefers-color-scheme: dark" in html and "#010203" not in html


def test_same_measurements_give_the_same_page(stages: tuple[str, str, str], tmp_path: Path) -> None:
    evaluation, selection, shards = stages
    answers = _compared(tmp_path / "answers")
    pages = []
    for name in ("one.html", "two.html"):
        write_report(read_parts(evaluation, selection, answers, shards), str(tmp_path / name))
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]


def test_skipped_answers_are_said_plainly(stages: tuple[str, str, str], tmp_path: Path) -> None:
    evaluation, selection, shards = stages
    answers = _answers(tmp_path / "answers", {"skipped": "no graph was given"})
    write_report(read_parts(evaluation, selection, answers, shards), str(tmp_path / "report.html"))
    html, outline = _page(tmp_path / "report.html")
    assert "This part was skipped: no graph was given." in " ".join(outline.text)
    assert html.count("<svg") == 2


def test_names_from_the_data_cannot_become_markup(
    stages: tuple[str, str, str], tmp_path: Path
) -> None:
    evaluation, selection, shards = stages
    content = json.loads((Path(selection) / "selection.json").read_text())
    content["reason"] = "<script>alert(1)</script>"
    evil = tmp_path / "selection"
    evil.mkdir()
    (evil / "selection.json").write_text(json.dumps(content))
    write_manifest(evil, "selection")
    answers = _compared(tmp_path / "answers")
    write_report(read_parts(evaluation, str(evil), answers, shards), str(tmp_path / "report.html"))
    assert "<script" not in (tmp_path / "report.html").read_text()


def test_language_models_get_a_page_too(
    word_writers: dict[str, str], word_shards: str, tmp_path: Path
) -> None:
    measured = evaluate_candidates(
        word_writers,
        word_shards,
        str(tmp_path / "e"),
        EvaluateSettings(task="answer", latency_repeats=5, resamples=50),
    )
    select_candidate(
        measured.out,
        word_writers,
        word_shards,
        str(tmp_path / "s"),
        SelectSettings(task="answer", resamples=50),
    )
    answers = _answers(tmp_path / "answers", {"skipped": "no gold questions were given"})
    out = tmp_path / "report.html"
    write_report(
        read_parts(str(tmp_path / "e"), str(tmp_path / "s"), answers, word_shards), str(out)
    )
    html, outline = _page(out)
    assert "perplexity" in " ".join(outline.text)
    assert html.count("<svg") == 1


def test_what_does_not_belong_together_is_refused(
    stages: tuple[str, str, str], tmp_path: Path
) -> None:
    evaluation, selection, shards = stages
    answers = _compared(tmp_path / "answers")
    out = str(tmp_path / "report.html")
    content = json.loads((Path(selection) / "selection.json").read_text())
    del content["test"]["pruned"]
    other = tmp_path / "selection"
    other.mkdir()
    (other / "selection.json").write_text(json.dumps(content))
    write_manifest(other, "selection")
    with pytest.raises(InputError, match="another evaluation"):
        write_report(read_parts(evaluation, str(other), answers, shards), out)
    with pytest.raises(ManifestError):
        write_report(read_parts(selection, selection, answers, shards), out)
    assert not Path(out).exists()


def _scored(recalls: dict[str, float]) -> dict[str, Any]:
    classes = [{"name": name, "rows": 10, "recall": recall} for name, recall in recalls.items()]
    return {"classes": classes}


def test_losses_stand_intent_by_intent_worst_first() -> None:
    selected = {
        "winner": "distilled",
        "test": {
            "teacher": _scored({"heat": 0.9, "noise": 1.0, "refund": 0.5}),
            "pruned": _scored({"heat": 0.1, "noise": 1.0, "refund": 0.5}),
            "distilled": _scored({"heat": 0.8, "noise": 0.7, "refund": 0.6}),
        },
    }
    found = losses_section(selected)
    assert found is not None
    assert [(row["name"], row["losses"]) for row in found["rows"]] == [
        ("noise", ["0", "30.0"]),
        ("heat", ["80.0", "10.0"]),
    ]
    assert "Of 3 intents, 2 are found less often" in found["caption"]
    assert "1 more often, by the chosen model" in found["caption"]
    by_any = losses_section({**selected, "winner": "teacher"})
    assert by_any is not None and [row["name"] for row in by_any["rows"]] == ["heat", "noise"]
    assert losses_section({"winner": "teacher", "test": {"teacher": {"classes": []}}}) is None


def _cards(parts: tuple[str, str, str], answers: str, folder: Path) -> tuple[str, str]:
    evaluation, selection, shards = parts
    out = (str(folder / "model_card.md"), str(folder / "data_card.md"))
    write_cards(read_parts(evaluation, selection, answers, shards), *out)
    return Path(out[0]).read_text(), Path(out[1]).read_text()


def test_the_cards_hold_the_numbers_and_the_lineage(
    stages: tuple[str, str, str], tmp_path: Path
) -> None:
    answers = _compared(tmp_path / "answers")
    model, data = _cards(stages, answers, tmp_path)
    content = json.loads((Path(stages[1]) / "selection.json").read_text())
    assert content["model"]["sha256"] in model
    assert f"{100 * content['test']['distilled']['accuracy']['value']:.2f}" in model
    assert "the distilled model (chosen)" in model or "distilled (chosen)" in model
    assert "## Where it is weak" in model
    assert "The graph changes +56.7 points" in model
    manifest = json.loads((Path(stages[2]) / "manifest.json").read_text())
    assert manifest["source"][0]["sha256"] in data
    for split, count in manifest["rows"].items():
        assert f"| {split} | {count:,} |" in data
    total = sum(manifest["rows"].values())
    counted = re.findall(r"^\| (?:battery|price|return) \| ([\d,]+) \|", data, re.MULTILINE)
    assert sum(int(each.replace(",", "")) for each in counted) == total
    assert "customer_id" not in data
    assert _cards(stages, answers, tmp_path) == (model, data)
    for card in (model, data):
        for table in re.findall(r"(?:^\|.*\n)+", card, re.MULTILINE):
            widths = {line.count("|") for line in table.splitlines()}
            assert len(widths) == 1, table


def test_names_from_the_data_stay_in_their_cells(
    stages: tuple[str, str, str], tmp_path: Path
) -> None:
    content = json.loads((Path(stages[1]) / "selection.json").read_text())
    content["reason"] = "<script>alert(1)</script> | [here](javascript:x)"
    evil = tmp_path / "selection"
    evil.mkdir()
    (evil / "selection.json").write_text(json.dumps(content))
    write_manifest(evil, "selection")
    skipped = _answers(tmp_path / "answers", {"skipped": "no graph was given"})
    model, _ = _cards((stages[0], str(evil), stages[2]), skipped, tmp_path)
    assert "<script" not in model and "[here]" not in model
    assert "Not measured: no graph was given." in model


def test_language_models_get_cards_too(
    word_writers: dict[str, str], word_shards: str, tmp_path: Path
) -> None:
    settings = EvaluateSettings(task="answer", latency_repeats=5, resamples=50)
    evaluate_candidates(word_writers, word_shards, str(tmp_path / "e"), settings)
    chosen = SelectSettings(task="answer", resamples=50)
    select_candidate(str(tmp_path / "e"), word_writers, word_shards, str(tmp_path / "s"), chosen)
    answers = _answers(tmp_path / "answers", {"skipped": "no gold questions were given"})
    parts = (str(tmp_path / "e"), str(tmp_path / "s"), word_shards)
    model, _ = _cards(parts, answers, tmp_path)
    assert "Token accuracy" in model and "no graph has checked" in model
    assert "Where it is weak" not in model
