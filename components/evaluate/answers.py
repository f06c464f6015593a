"""Answers every gold question twice, without and with the graph, by the same model."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.evaluate.gold import GoldQuestion, read_gold
from components.evaluate.judging import Judged, judge_answer, judge_text
from components.evaluate.rival import ResolvedTickets
from components.evaluate.tables import answer_tables
from components.scoring.latency import machine
from components.scoring.scores import round_floats
from components.scoring.served import model_identity
from components.shards import read_manifest
from components.storage import localise, output_dir
from kg_schema.errors import DeskGraphError
from kg_schema.progress import Progress
from serving.manifest import content_sha256, write_manifest

ANSWERS_KIND = "answers"
ANSWERS_NAME = "answers.json"
SEED = 17
GRAPH_TRIES = 3
"""Questions after which a graph that answered none of them is taken for gone."""

logger = logging.getLogger(__name__)


class GraphMissing(DeskGraphError):
    """The graph was given but did not answer: the comparison would be of nothing."""


def evaluate_answers(
    model: str, graph_uri: str, gold: str, shards: str, out: str
) -> dict[str, Any]:
    """Compares the model's answers without and with the graph, by problem type.

    `answers.json` holds the numbers, `questions.jsonl` what each arm said to each question.

    Args:
        model: Location of an exported intent model.
        graph_uri: Address of the graph, `bolt://…`; without one nothing is compared.
        gold: Location of the gold questions; without them nothing is compared.
        shards: Location of the shards whose train split the rival without a graph answers from.
        out: Location of the answers directory.

    Returns:
        What `answers.json` holds; `{"skipped": reason}` where nothing was compared.

    Raises:
        InputError: A gold question cannot be read.
        GraphMissing: The graph answered none of the first questions.
        ManifestError: A directory is not whole.
    """
    skipped = _skipped(graph_uri, gold)
    judged: list[tuple[Judged, Judged]] = []
    content: dict[str, Any] = {"schema_version": 1}
    if skipped:
        content["skipped"] = skipped
    else:
        questions = read_gold(localise(gold))
        folder, shards_dir = localise(model), localise(shards)
        without = _without_graph(questions, folder, shards_dir)
        with_graph = _in_own_loop(questions, folder, graph_uri)
        judged = list(zip(without, with_graph, strict=True))
        content |= {
            "model": model_identity(folder),
            "shards_sha256": content_sha256(read_manifest(shards_dir)),
            "machine": machine(),
            "seed": SEED,
            **answer_tables(judged, SEED),
        }
    content = round_floats(content)
    with output_dir(out) as target:
        _write(target, content, judged)
    logger.info("answers: %s", skipped or content["overall"]["gain_points"])
    return content


def _skipped(graph_uri: str, gold: str) -> str:
    if not gold:
        return "no gold questions were given"
    return "" if graph_uri else "no graph was given"


def _without_graph(questions: Sequence[GoldQuestion], model: Path, shards: Path) -> list[Judged]:
    from serving.intent import IntentModel

    intents, resolved = IntentModel(model), ResolvedTickets(shards)
    judged = []
    with Progress(len(questions), "answer without the graph", "questions") as progress:
        for gold in questions:
            start = time.perf_counter()
            text = gold.ticket.content
            seen = intents.predict([text])[0]
            sure = seen.confidence >= intents.config.out_of_scope_threshold
            said = resolved.answer(text, seen.label) if sure else None
            judged.append(judge_text(gold, seen.label, said, _milliseconds(start)))
            progress.advance()
    return judged


def _in_own_loop(questions: Sequence[GoldQuestion], model: Path, graph_uri: str) -> list[Judged]:
    """Runs the assistant's event loop in a thread: a notebook's own loop is running already."""
    with ThreadPoolExecutor(1, "answers") as pool:
        return pool.submit(asyncio.run, _with_graph(questions, model, graph_uri)).result()


async def _with_graph(
    questions: Sequence[GoldQuestion], model: Path, graph_uri: str
) -> list[Judged]:
    from kg_schema.client import GraphSettings
    from serving.assistant import Assistant

    assistant = Assistant.open(model, GraphSettings.from_env(graph_uri))
    judged = []
    try:
        with Progress(len(questions), "answer with the graph", "questions") as progress:
            for gold in questions:
                start = time.perf_counter()
                answer = await assistant.answer(gold.ticket, gold.principal)
                judged.append(judge_answer(gold, answer, _milliseconds(start)))
                progress.advance()
                if len(judged) == min(GRAPH_TRIES, len(questions)):
                    _require_graph(judged, graph_uri)
    finally:
        await assistant.close()
    return judged


def _require_graph(judged: Sequence[Judged], graph_uri: str) -> None:
    if all("graph" in each.degraded for each in judged):
        raise GraphMissing(
            f"the graph answered none of the first {len(judged)} questions",
            where=graph_uri,
            fix="start it and run again",
        )


def _milliseconds(start: float) -> float:
    return (time.perf_counter() - start) * 1000


def _write(target: Path, content: dict[str, Any], judged: Sequence[tuple[Judged, Judged]]) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False)
    (target / ANSWERS_NAME).write_text(text + "\n", encoding="utf-8")
    with (target / "questions.jsonl").open("w", encoding="utf-8") as stream:
        for without, with_graph in judged:
            row = {"without_graph": asdict(without), "with_graph": asdict(with_graph)}
            line = {"question_id": without.question_id, **round_floats(row)}
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")
    write_manifest(target, ANSWERS_KIND, skipped="skipped" in content)
