"""The graph commands, as the command line calls them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from kg_schema import commands
from kg_schema.client import GraphClient
from kg_schema.connection import GraphSettings
from kg_schema.errors import InputError
from kg_schema.load import LoadOptions
from kg_schema.local import RunningServer
from kg_schema.policies import fingerprint
from tests.kg_schema.small_graph import EDGES, NODES, edge

WriteRows = Callable[[str, list[Any]], Path]


def test_load_status_and_check(graph: GraphSettings, write_rows: WriteRows) -> None:
    said: list[str] = []
    files = [write_rows("nodes.jsonl", NODES), write_rows("edges.jsonl", EDGES)]
    dry = LoadOptions(dry_run=True)
    assert commands.load(said.append, graph, files, source_id="one", options=dry) == 0
    assert said[0].startswith(f"{len(NODES)} nodes: {len(NODES)} would be created, 0 changed")
    assert commands.load(said.append, graph, files, source_id="one") == 0
    assert said[3].startswith(f"{len(EDGES)} relationships: {len(EDGES)} were created")
    said.clear()
    assert commands.status(said.append, graph) == 0
    text = "\n".join(said)
    assert "4 applied, 0 pending" in text
    assert "Product                       2" in text
    said.clear()
    assert commands.check(said.append, graph) == 0
    assert said == ["database, ontology and migrations agree"]


def test_bad_rows_are_said(graph: GraphSettings, write_rows: WriteRows) -> None:
    said: list[str] = []
    file = write_rows("nodes.jsonl", [*NODES, {"label": "Product", "id": "P_9"}])
    commands.load(said.append, graph, [file], options=LoadOptions(bad_share=0.5))
    assert said[-1] == f"  nodes.jsonl:{len(NODES) + 1}: Product lacks name"


def test_a_graph_is_found_by_folder_or_address(
    graph_server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert commands.find_graph(data_dir=graph_server.data_dir) == graph_server.settings()
    with pytest.raises(InputError, match="no server runs on this folder"):
        commands.find_graph(data_dir=tmp_path)
    for key, value in graph_server.environment().items():
        monkeypatch.setenv(key, value)
    assert commands.find_graph() == graph_server.settings()


def test_start_says_how_to_reach_it_and_not_the_password(graph_server: RunningServer) -> None:
    said: list[str] = []
    assert commands.start(said.append, data_dir=graph_server.data_dir) == 0
    assert f"export NEO4J_URI={graph_server.uri}" in said
    assert graph_server.password not in "\n".join(said)


def test_stopping_what_does_not_run_is_fine(tmp_path: Path) -> None:
    said: list[str] = []
    assert commands.stop(said.append, data_dir=tmp_path) == 0
    assert said == [f"no graph server runs on {tmp_path}"]


async def test_the_fingerprint_changes_with_promises_alone(
    graph: GraphSettings, write_rows: WriteRows
) -> None:
    def load(nodes: list[Any], edges: list[Any], source: str) -> None:
        files = [write_rows("nodes.jsonl", nodes), write_rows("edges.jsonl", edges)]
        commands.load(lambda line: None, graph, files, source_id=source)

    day = date(2026, 3, 1)
    async with GraphClient(graph) as client:
        seen = [await fingerprint(client, day)]
        load(NODES, EDGES, "one")
        seen.append(await fingerprint(client, day))
        assert seen[0] != seen[1], "an empty graph promises nothing"
        load([*NODES[::-1]], EDGES[::-1], "two")
        assert await fingerprint(client, day) == seen[1], "order and source do not enter"
        priced = {"label": "Product", "id": "P_X200", "props": {"name": "X-200", "price_eur": 9}}
        load([priced, *NODES[1:]], EDGES, "one")
        assert await fingerprint(client, day) == seen[1], "a price is no promise"
        assert await fingerprint(client, date(2025, 3, 1)) != seen[1], "another version held then"
        text = {**NODES[-1], "props": {**NODES[-1]["props"], "text": "Within 60 days."}}
        load([*NODES[:-1], text], EDGES, "one")
        seen.append(await fingerprint(client, day))
        covered = [*EDGES, edge("COVERS", "Policy/PO_RETURN", "Product/P_X200")]
        load([*NODES[:-1], text], covered, "one")
        seen.append(await fingerprint(client, day))
        assert len(set(seen)) == len(seen)
