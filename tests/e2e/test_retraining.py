"""Four passes of retraining by the command a person types; the second training is mostly kept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from components.registry import CHAMPION, ModelRegistry
from tests.e2e.commands import deskgraph

PRODUCT = {"label": "Product", "id": "P_1", "props": {"name": "Mira phone"}}
POLICY = {"label": "Policy", "id": "PO_RETURN", "props": {"name": "returns", "topic": "returns"}}
VERSION = {
    "label": "PolicyVersion",
    "id": "PO_RETURN@1",
    "props": {
        "name": "returns, version 1",
        "version": 1,
        "text": "Goods go back in 14 days.",
        "valid_from": "2024-01-01",
    },
}
# What the models are worth is not asked here, only when they are trained and what is recorded.
ONCE = {"ranks": 1, "batch_size": 8, "epochs": 1}
CUT = {"ranks": 1, "recovery_epochs": 0, "vocabulary": 0, "multiple": 8}
PROFILE = {
    "description": "Trained as little as can be.",
    "settings": {
        "finetune": {**ONCE, "learning_rate": 0.01, "freeze_embeddings": False},
        "prune": CUT,
        "prune_small": CUT,
        "distill": {**ONCE, "layers": 0.5, "multiple": 8},
        "distill_pruned": ONCE,
        "evaluate": {"latency_repeats": 5, "resamples": 100},
        "select": {"resamples": 100, "budget_points": 100.0},
    },
}


@pytest.fixture(scope="module")
def out(site: Path) -> Iterator[Path]:
    """The run's folder, over a small graph of its own that stays up between the passes."""
    graph = site / "company"
    graph.mkdir()
    nodes = "".join(json.dumps(node) + "\n" for node in (PRODUCT, POLICY, VERSION))
    (graph / "nodes.jsonl").write_text(nodes, encoding="utf-8")
    edge = {"type": "HAS_VERSION", "props": {}}
    ends = {"start": {"label": "Policy", "id": "PO_RETURN"}}
    ends |= {"end": {"label": "PolicyVersion", "id": "PO_RETURN@1"}}
    (graph / "relationships.jsonl").write_text(json.dumps(edge | ends) + "\n", encoding="utf-8")
    (site / "once.yaml").write_text(yaml.safe_dump(PROFILE), encoding="utf-8")
    yield site / "retrained"
    deskgraph("graph", "stop", "--data", site / "retrained" / "graph")


def retrain(site: Path, out: Path) -> str:
    done = deskgraph(
        "run", "--pipeline", "retraining", "--profile", site / "once.yaml",
        "--base-model", site / "encoder", "--tickets", site / "tickets.jsonl",
        "--graph", site / "company", "--out", out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def champion(out: Path) -> tuple[str, dict[str, str]]:
    registry = ModelRegistry(f"sqlite:///{out / 'registry' / 'mlflow.db'}")
    (name,) = registry.names()
    found = registry.with_alias(name, CHAMPION)
    assert found is not None
    return found.version, dict(found.tags)


@pytest.mark.minutes
@pytest.mark.timeout(900)
def test_it_trains_for_a_reason_and_only_then(site: Path, out: Path, tmp_path: Path) -> None:
    assert "has no champion yet" in retrain(site, out)
    assert champion(out)[0] == "1"

    assert "nothing changed: nothing was trained" in retrain(site, out)

    text = tmp_path / "returns.txt"
    text.write_text("Goods go back in 30 days.", encoding="utf-8")
    for arguments in (
        ("start", "--data", out / "graph"),
        ("policy", "set", "PO_RETURN", "--text-file", text, "--data", out / "graph"),
    ):
        done = deskgraph("graph", *arguments)
        assert done.returncode == 0, done.stderr
    said = retrain(site, out)
    assert "new since: PO_RETURN@2" in said
    assert re.search(r"version 1, re-stamped because the candidate was no better", said)
    version, tags = champion(out)
    assert version == "1"
    assert tags["graph_stamp"] != tags["graph"]
    assert "nothing changed: nothing was trained" in retrain(site, out)
