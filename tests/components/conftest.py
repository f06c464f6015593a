"""Shards and exported models that the stages after export are tested on."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from components.registry import ModelRegistry
from components.shard.sharding import ShardSettings, shard_tickets
from tests.components.word_models import write_answer_model, write_intent_model

WORDS = {
    **{f"battery{n}": "battery" for n in range(8)},
    **{f"price{n}": "price" for n in range(8)},
    **{f"return{n}": "return" for n in range(8)},
}
LABELS = ("battery", "price", "return")


def without(known: Mapping[str, str], *lost: str) -> dict[str, str]:
    """Returns the words less some."""
    return {word: label for word, label in known.items() if word not in lost}


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A registry's database with its tables: MLflow takes seconds to make them."""
    database = tmp_path_factory.mktemp("registry") / "mlflow.db"
    ModelRegistry(f"sqlite:///{database}").names()
    return database.read_bytes()


@pytest.fixture(scope="session")
def word_shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Shards of 1,200 tickets, each with the one word that tells its intent, and its answer."""
    folder = tmp_path_factory.mktemp("words")
    rows = [
        {
            "ticket_id": f"T{n}",
            "text": f"ticket {n} about {list(WORDS)[n % 24]} please",
            "intent": list(WORDS.values())[n % 24],
            "resolution": {"answer": f"look {list(WORDS)[n % 24]} up"},
        }
        for n in range(1200)
    ]
    (folder / "tickets.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shard_tickets(str(folder / "tickets.jsonl"), str(folder / "shards"), ShardSettings())
    return str(folder / "shards")


@pytest.fixture(scope="session")
def word_candidates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Four classifiers: a slow one that knows all, and ever faster ones that know less."""
    folder = tmp_path_factory.mktemp("candidates")
    shapes = {
        "teacher": (WORDS, 40, 1000),
        "pruned": (WORDS, 20, 400),
        "distilled": (without(WORDS, "return7"), 8, 100),
        "pruned_distilled": (without(WORDS, "price7", "return6", "return7"), 0, 50),
    }
    return {
        name: write_intent_model(folder / name, LABELS, words, cost=cost, parameters=size)
        for name, (words, cost, size) in shapes.items()
    }


@pytest.fixture(scope="session")
def word_writers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Four language models; only the last one does not know how an answer begins."""
    folder = tmp_path_factory.mktemp("writers")
    knows = {"please": "look", "up": "[END]"}
    knows |= dict.fromkeys(WORDS, "up")
    return {
        "teacher": write_answer_model(folder / "teacher", knows, cost=20),
        "pruned": write_answer_model(folder / "pruned", knows, cost=10),
        "distilled": write_answer_model(folder / "distilled", knows, cost=5),
        "pruned_distilled": write_answer_model(
            folder / "pruned_distilled", {**knows, "please": "up"}
        ),
    }
