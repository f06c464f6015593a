"""Fixtures: real graph servers, started once a test session, and the sample company in one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from kg_schema.errors import InputError
from kg_schema.load import load_graph_files
from kg_schema.local import RunningServer, start_server
from kg_schema.migrate import migrate
from kg_schema.ontology import load_ontology
from kg_schema.recipes import Memory, neo4j_libraries, neo4j_missing
from kg_schema.writer import GraphWriter

SAMPLE_GRAPH = Path(__file__).parents[1] / "samples" / "data" / "graph"
REQUIRE_NEO4J = "DESKGRAPH_REQUIRE_NEO4J"


def started(engine: str, factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Runs an empty server of that engine, ended with the session."""
    with pytest.MonkeyPatch.context() as patch:
        # Compiles quickly rather than well: a test's server lives for a minute.
        patch.setenv("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1")
        server = start_server(
            engine, factory.mktemp(f"graph-{engine}"), memory=Memory(heap_mb=512, page_cache_mb=256)
        )
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def graph_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """An embedded server, empty: `uri`, `username`, `password`, `settings()`, `environment()`."""
    yield from started("embedded", tmp_path_factory)


@pytest.fixture(scope="session")
def sample_graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """An embedded server of its own with the sample company in it; tests only read it."""
    for server in started("embedded", tmp_path_factory):
        with GraphWriter(server.settings()) as writer:
            migrate(writer, load_ontology())
        load_graph_files(SAMPLE_GRAPH, server.settings(), source_id="samples")
        yield server


@pytest.fixture(scope="session")
def neo4j_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A Neo4j Community; where its parts are missing, a loud skip, or a failure if required."""
    reason = neo4j_missing()
    if not reason:
        try:
            neo4j_libraries()
        except InputError as error:
            reason = str(error)
    if reason:
        if os.environ.get(REQUIRE_NEO4J):
            pytest.fail(f"{REQUIRE_NEO4J} is set, and {reason}")
        warnings.warn(f"NOT TESTED ON NEO4J: {reason}", stacklevel=1)
        pytest.skip(f"NOT TESTED ON NEO4J: {reason}")
    yield from started("neo4j", tmp_path_factory)
