"""The same model answers without and with a real graph, and the difference is the graph's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.evaluate.answers import GraphMissing, evaluate_answers
from components.evaluate.rival import ResolvedTickets
from components.shard.sharding import ShardSettings, shard_tickets
from kg_schema.load import load_graph_files
from kg_schema.local import RunningServer
from kg_schema.migrate import migrate
from kg_schema.ontology import load_ontology
from kg_schema.writer import GraphWriter
from serving.manifest import verify_manifest
from tests.components.word_models import write_intent_model
from tests.serving.small_graph import node_rows, relationship_rows

INTENTS = {
    "cost": "product_price",
    "shipping": "shipping_policy",
    "status": "order_status",
    "weather": "out_of_scope",
}
ANSWERS = {
    "product_price": "It costs 799 EUR.",
    "shipping_policy": "Shipping is free above 50 EUR.",
    "order_status": "It is on its way.",
}


def _gold(number: int, text: str, intent: str, kind: str, **more: Any) -> dict[str, Any]:
    return {
        "question_id": f"G{number}",
        "text": text,
        "intent": intent,
        "problem_type": kind,
        "answerable": bool(more.get("answer")),
        **more,
    }


QUESTIONS = [
    _gold(1, "What does the X-200 phone cost", "product_price", "faq", answer={"must": ["499"]}),
    _gold(2, "Is shipping free", "shipping_policy", "policy", answer={"must": ["50 EUR"]}),
    _gold(3, "How is the weather today", "out_of_scope", "faq"),
    _gold(
        4,
        "What is the status of order 100001",
        "order_status",
        "multi_entity",
        customer_id="CU_0001",
        answer={"must": ["delivered"]},
    ),
    _gold(
        5,
        "What is the status of order 100001",
        "order_status",
        "multi_entity",
        customer_id="CU_0002",
    ),
]


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A model that knows each question's intent by one word."""
    return write_intent_model(tmp_path / "model", sorted(set(INTENTS.values())), INTENTS)


@pytest.fixture
def shards(tmp_path: Path) -> str:
    """Tickets of each intent, resolved except those out of scope."""
    rows = [
        {
            "text": f"Number {n} asks: {word} please",
            "intent": intent,
            "resolution": {"answer": ANSWERS.get(intent)},
        }
        for n in range(60)
        for word, intent in INTENTS.items()
    ]
    (tmp_path / "tickets.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shard_tickets(str(tmp_path / "tickets.jsonl"), str(tmp_path / "shards"), ShardSettings())
    return str(tmp_path / "shards")


@pytest.fixture
def gold(tmp_path: Path) -> str:
    path = tmp_path / "gold.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    return str(path)


@pytest.fixture
def graph_uri(
    graph_server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Address of a server that holds the small graph and nothing else."""
    for name, value in graph_server.environment().items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "graph"
    folder.mkdir()
    for name, rows in (("nodes", node_rows()), ("relationships", relationship_rows())):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text)
    with GraphWriter(graph_server.settings()) as writer:
        writer.write("MATCH (n) WHERE NOT n:SchemaMigration DETACH DELETE n", what="empty")
        migrate(writer, load_ontology())
    load_graph_files(folder, graph_server.settings(), source_id="small")
    yield graph_server.uri


def test_both_arms_answer_every_question(
    model: str, shards: str, gold: str, graph_uri: str, tmp_path: Path
) -> None:
    content = evaluate_answers(model, graph_uri, gold, shards, str(tmp_path / "answers"))
    verify_manifest(tmp_path / "answers", "answers")
    lines = (tmp_path / "answers" / "questions.jsonl").read_text().splitlines()
    said = {row["question_id"]: row for row in map(json.loads, lines)}
    with_graph = {name: row["with_graph"]["right"] for name, row in said.items()}
    without = {name: row["without_graph"]["right"] for name, row in said.items()}
    assert with_graph == dict.fromkeys(["G1", "G2", "G3", "G4", "G5"], True), said
    assert without == {"G1": False, "G2": True, "G3": True, "G4": False, "G5": False}
    overall = content["overall"]
    assert overall["gain_points"]["value"] == pytest.approx(60)
    assert overall["with_graph"]["unsupported_claims"] == 0
    assert overall["with_graph"]["intent_accuracy"] == 1.0
    assert overall["with_graph"]["abstention_recall"] == 1.0
    assert {name: row["questions"] for name, row in content["types"].items()} == {
        "faq": 2,
        "policy": 1,
        "multi_entity": 2,
    }
    assert "skipped" not in content
    assert json.loads((tmp_path / "answers" / "answers.json").read_text()) == content


def test_a_graph_that_does_not_answer_is_no_comparison(
    model: str, shards: str, gold: str, tmp_path: Path
) -> None:
    with pytest.raises(GraphMissing, match="answered none of the first 3"):
        evaluate_answers(model, "bolt://127.0.0.1:1", gold, shards, str(tmp_path / "answers"))
    assert not (tmp_path / "answers").exists()


@pytest.mark.parametrize(
    ("graph_uri", "gold", "reason"),
    [("", "samples:gold", "no graph was given"), ("bolt://x", "", "no gold questions were given")],
)
def test_what_cannot_be_compared_says_why(
    tmp_path: Path, graph_uri: str, gold: str, reason: str
) -> None:
    content = evaluate_answers("none", graph_uri, gold, "none", str(tmp_path / "answers"))
    assert content["skipped"] == reason
    written = json.loads((tmp_path / "answers" / "answers.json").read_text())
    assert written["skipped"] == reason
    verify_manifest(tmp_path / "answers", "answers")


def test_the_rival_says_what_was_said_to_the_most_similar_ticket(tmp_path: Path) -> None:
    rows = [
        {
            "text": f"{thing} number {n}",
            "intent": intent,
            "resolution": {"answer": answer},
        }
        for n in range(30)
        for thing, intent, answer in (
            ("the red lamp", "lamps", "Red."),
            ("the blue lamp", "lamps", "Blue."),
            ("another blue one", "lamps", "Blue."),
            ("a chair", "chairs", None),
        )
    ]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shard_tickets(str(tmp_path / "t.jsonl"), str(tmp_path / "shards"), ShardSettings())
    resolved = ResolvedTickets(tmp_path / "shards")
    assert resolved.answer("my red thing", "lamps") == "Red."
    assert resolved.answer("zzz", "lamps") == "Blue.", "the usual answer"
    assert resolved.answer("a chair", "chairs") is None
    assert resolved.answer("a table", "tables") is None
    assert len(resolved) > 0
