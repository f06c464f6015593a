"""Every graph test runs on both engines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kg_schema.connection import GraphSettings
from kg_schema.local import RunningServer
from kg_schema.migrate import migrate
from kg_schema.ontology import load_ontology
from kg_schema.writer import GraphWriter

FIXTURES = {"embedded": "graph_server", "neo4j": "neo4j_server"}


@pytest.fixture(params=["embedded", "neo4j"])
def engine_server(request: pytest.FixtureRequest) -> RunningServer:
    """A running server of each engine."""
    server: RunningServer = request.getfixturevalue(FIXTURES[request.param])
    return server


@pytest.fixture
def writer(engine_server: RunningServer) -> Iterator[GraphWriter]:
    """A writer on a migrated database with no data in it."""
    with GraphWriter(engine_server.settings()) as made:
        made.write("MATCH (n) WHERE NOT n:SchemaMigration DETACH DELETE n", what="empty")
        migrate(made, load_ontology())
        yield made


@pytest.fixture
def graph(writer: GraphWriter) -> GraphSettings:
    """How to reach a migrated database with no data in it."""
    return writer.settings


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[[str, list[Any]], Path]:
    """Writes rows as a JSON Lines file."""

    def write(name: str, rows: list[Any]) -> Path:
        path = tmp_path / name
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        return path

    return write
