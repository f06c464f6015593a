"""What a finished run prints: the candidates, the version, an answer, and where the report lies."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kg_schema.errors import DeskGraphError
from kg_schema.progress import format_duration
from pipelines.local import LocalResult
from pipelines.rendering import answer_lines

Write = Callable[[str], object]

ASK_TIMEOUT_S = 30.0
SHOWN = {
    "teacher": "teacher",
    "pruned": "pruned",
    "distilled": "distilled",
    "pruned_distilled": "pruned + distilled",
}


def summarise(result: LocalResult, out: Path, question: str, write: Write) -> None:
    """Writes what a person wants to know after a run.

    Args:
        result: The run; what it deployed still answers.
        out: The run's folder, as the person named it.
        question: A ticket to send to the served winner; empty sends none.
        write: Takes one line.

    Raises:
        DeskGraphError: The served winner did not answer.
    """
    evaluation = _read(result, "evaluation", "evaluation.json")
    selection = _read(result, "selection", "selection.json")
    answers = _read(result, "answers", "answers.json")
    for line in candidate_lines(evaluation, selection):
        write(line)
    write("")
    write(
        f"chosen      {SHOWN.get(selection['winner'], selection['winner'])}: {selection['reason']}"
    )
    for line in graph_lines(answers):
        write(line)
    _served(result, question, write)
    write(f"report      {out / 'report' / 'index.html'}")
    _took(result, write)


def summarise_retraining(
    result: LocalResult, tracking_uri: str, question: str, write: Write
) -> bool:
    """Writes what a person wants to know after a retraining.

    Args:
        result: The run; what it deployed still answers.
        tracking_uri: The registry's.
        question: A ticket to send to a version that was promoted; empty sends none.
        write: Takes one line.

    Returns:
        Whether there is a champion now.

    Raises:
        DeskGraphError: What was served did not answer.
    """
    from components.registry import CHAMPION, ModelRegistry

    name, reasons = result.outputs["model_name"], result.outputs["reasons"]
    champion = ModelRegistry(tracking_uri).with_alias(name, CHAMPION)
    for reason in reasons:
        write(f"changed     {reason}")
    if champion is None:
        write(f"refused     {name} has no champion still: the gate let nothing through")
    elif reasons:
        write(f"champion    {name} version {champion.version}, {champion.tags.get('reason', '')}")
        _served(result, question, write)
    else:
        write("unchanged   nothing changed: nothing was trained")
        write(f"champion    {name} version {champion.version}")
    write(f"findings    {result.outputs['findings']}")
    _took(result, write)
    return champion is not None


def _served(result: LocalResult, question: str, write: Write) -> None:
    served = result.deployment
    if not served:
        return
    write(f"registered  {served['name']} version {served['version']}, alias champion")
    if question:
        write(f"served      {served['url']} (KServe V1 and V2; gRPC {served['grpc_url']})")
        write("")
        write(f"> {question}")
        for line in answer_lines(ask_served(str(served["url"]), question)):
            write(line)
        write("")


def _took(result: LocalResult, write: Write) -> None:
    kept = f", {len(result.cached)} steps kept from an earlier run" if result.cached else ""
    write(f"took        {format_duration(result.seconds)}{kept}")


def candidate_lines(evaluation: Mapping[str, Any], selection: Mapping[str, Any]) -> list[str]:
    """Formats the candidates' table: validation decides, test is read once after."""
    metric = "accuracy" if evaluation["task"] == "intent" else "token acc."
    lines = [
        f"{'candidate':<20}{'parameters':>12}{'encoder':>10}{'validation':>12}{'test':>10}"
        f"{'lost':>8}{'CPU ms':>9}{'faster':>8}",
        f"{'':<20}{'':>12}{'':>10}{metric:>12}{metric:>10}{'points':>8}{'batch 1':>9}{'':>8}",
    ]
    for name, row in evaluation["candidates"].items():
        test = selection["test"][name]
        mark = " *" if name == selection["winner"] else ""
        lines.append(
            f"{SHOWN.get(name, name) + mark:<20}"
            f"{row['parameters']['total'] / 1e6:>11.2f}M"
            f"{row['parameters']['encoder'] / 1e6:>9.2f}M"
            f"{100 * row['accuracy']['value']:>11.2f}%"
            f"{100 * test['accuracy']['value']:>9.2f}%"
            f"{test['loss_points']['value']:>8.2f}"
            f"{row['latency']['cpu_median_ms']:>9.2f}"
            f"{row['speedup']:>7.1f}x"
        )
    return lines


def graph_lines(answers: Mapping[str, Any]) -> list[str]:
    """Formats what the graph adds to the answers, or why that was not measured."""
    if "skipped" in answers:
        return [f"answers     not compared: {answers['skipped']}"]
    overall = answers["overall"]
    without, with_graph = overall["without_graph"], overall["with_graph"]
    parts = ", ".join(
        f"{name} {100 * row['without_graph']['accuracy']['value']:.0f} -> "
        f"{100 * row['with_graph']['accuracy']['value']:.0f}"
        for name, row in answers["types"].items()
    )
    return [
        f"answers     {100 * without['accuracy']['value']:.1f}% right without the graph, "
        f"{100 * with_graph['accuracy']['value']:.1f}% with it, on {overall['questions']} gold "
        f"questions ({parts}); unsupported claims {with_graph['unsupported_claims']}"
    ]


def ask_served(url: str, question: str) -> dict[str, Any]:
    """Sends one ticket to a served model, V1, and returns its answer.

    Raises:
        DeskGraphError: No answer, or not of the contract.
    """
    import httpx

    try:
        response = httpx.post(
            f"{url}/v1/models/deskgraph:predict",
            json={"instances": [{"text": question}]},
            timeout=ASK_TIMEOUT_S,
            trust_env=False,
        )
        response.raise_for_status()
        answer: dict[str, Any] = response.json()["predictions"][0]
    except (httpx.HTTPError, ValueError, KeyError, IndexError) as error:
        raise DeskGraphError(f"the served model gave no answer: {error}", where=url) from error
    return answer


def _read(result: LocalResult, output: str, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(
        (Path(result.outputs[output]) / name).read_text(encoding="utf-8")
    )
    return content
