"""A language model goes the same road as an encoder, by the same command."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.commands import deskgraph


@pytest.mark.timeout(600)
def test_a_language_model_goes_the_same_road(site: Path) -> None:
    done = deskgraph(
        "run", "--profile", site / "tiny.yaml", "--base-model", site / "decoder",
        "--tickets", site / "tickets.jsonl", "--task", "answer", "--out", site / "answers",
        "--ask", "my phone battery drains fast",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "deskgraph-answer-tickets" in done.stdout
    assert "answers     not compared" in done.stdout
