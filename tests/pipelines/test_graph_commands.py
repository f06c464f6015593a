"""The `deskgraph graph` subcommands reach what they name, and end with one line where they fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from kg_schema.local import RunningServer
from kg_schema.migrate import migrate
from kg_schema.ontology import load_ontology
from kg_schema.writer import GraphWriter
from pipelines.cli import main

ROWS = """\
{"label": "Policy", "id": "PO_A", "props": {"name": "a", "topic": "t"}}
{"label": "Category", "id": "C_A", "props": {"name": "c"}}
{"label": "Article", "id": "A_A", "props": {"name": "a", "body": "b"}}
"""


@pytest.fixture
def data(graph_server: RunningServer) -> str:
    """The data folder of a migrated server with nothing in it."""
    with GraphWriter(graph_server.settings()) as writer:
        writer.write("MATCH (n) WHERE NOT n:SchemaMigration DETACH DELETE n", what="empty")
        migrate(writer, load_ontology())
    return str(graph_server.data_dir)


def test_loading_pruning_policies_and_withdrawing(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, text = tmp_path / "rows.jsonl", tmp_path / "text.txt"
    rows.write_text(ROWS)
    text.write_text("Within 14 days.")

    def said(*arguments: str) -> str:
        assert main(["graph", *arguments, "--data", data]) == 0
        return capsys.readouterr().out

    embedded = "articles were embedded with all-MiniLM-L6-v2@53aa51172d14"
    assert f"1 {embedded}" in said("load", str(rows), "--source", "one")
    assert f"0 {embedded}" in said("load", str(rows), "--source", "one")
    rows.write_text(ROWS.splitlines()[0])
    assert "2 would be removed" in said("load", str(rows), "--prune-source", "one", "--dry-run")
    assert "2 were removed" in said("load", str(rows), "--prune-source", "one")
    set_policy = ("policy", "set", "PO_A", "--text-file", str(text), "--valid-from", "2026-01-01")
    assert said(*set_policy, "--dry-run").startswith("would be written: PO_A@1 begins, valid")
    assert said(*set_policy).startswith("PO_A@1 begins, valid 2026-01-01..")
    assert "Within 14 days." in said("policy", "history", "PO_A")
    assert "PO_A@1 begins" in said("policy", "changes")
    assert "agree" in said("check")
    assert "Policy/PO_A" in said("withdraw", "one")


def test_what_cannot_be_is_one_line(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(ROWS)
    for arguments, reason in (
        (["load", str(rows), "--source", "a", "--prune-source", "b"], "--source names another"),
        (["policy", "history", "PO_GONE"], "PO_GONE: no such policy; load it first"),
        (["policy", "set", "PO_A", "--text-file", str(tmp_path / "gone")], "cannot read it"),
    ):
        assert main(["graph", *arguments, "--data", data]) == 2
        error = capsys.readouterr().err
        assert reason in error
        assert error.count("\n") == 1


def test_drawing_needs_no_graph(tmp_path: Path) -> None:
    out = tmp_path / "ontology.svg"
    assert main(["graph", "draw", "--out", str(out)]) == 0
    assert out.read_text().startswith("<svg ")
