"""`deskgraph graph check` on real servers: each thing that can drift is said, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kg_schema import commands
from kg_schema.connection import GraphSettings
from kg_schema.drift import find_drift
from kg_schema.load import load_graph_files
from kg_schema.migrate import migrate, read_migrations
from kg_schema.ontology import load_ontology
from kg_schema.writer import GraphWriter
from tests.kg_schema.small_graph import EDGES, NODES

STANDING = "MATCH (n:SchemaMigration {version: $version}) "


@pytest.fixture
def loaded(graph: GraphSettings, write_rows: Callable[[str, list[Any]], Path]) -> GraphSettings:
    load_graph_files(write_rows("all.jsonl", [*NODES, *EDGES]), graph, source_id="one")
    return graph


@contextmanager
def without(writer: GraphWriter, statement: str, version: str) -> Iterator[None]:
    """Takes something away, and lets its migration make it again afterwards."""
    writer.administer(statement, what="drift")
    try:
        yield
    finally:
        writer.write(f"{STANDING} DELETE n", {"version": version}, what="forget")
        migrate(writer, load_ontology())


def checked(graph: GraphSettings, expected_code: int = 1) -> list[str]:
    said: list[str] = []
    assert commands.check(said.append, graph) == expected_code
    return said


def test_a_loaded_graph_agrees(loaded: GraphSettings) -> None:
    assert checked(loaded, 0) == ["database, ontology and migrations agree"]


def test_a_constraint_and_indexes_that_are_gone(loaded: GraphSettings, writer: GraphWriter) -> None:
    with without(writer, "DROP CONSTRAINT promotion_code_unique", "R_constraints"):
        assert checked(loaded) == ["no unique constraint on Promotion.code"]
    with without(writer, "DROP INDEX article_topic", "V001"):
        assert checked(loaded) == ["no index article_topic"]
    with without(writer, "DROP INDEX symptom_text", "R_search"):
        assert checked(loaded) == ["no index symptom_text"]
    with without(writer, "DROP INDEX article_vector", "R_vectors"):
        assert checked(loaded) == ["no index article_vector"]
    assert checked(loaded, 0)


def test_a_search_index_that_covers_less(
    loaded: GraphSettings, writer: GraphWriter, tmp_path: Path
) -> None:
    grown = tmp_path / "ontology.yaml"
    grown.write_text(
        "extends: deskgraph\nlabels:\n  Article:\n    properties:\n"
        "      keywords: {type: string, searchable: true}\n"
    )
    assert find_drift(writer, load_ontology(grown)) == [
        "pending: R_search full-text indexes",
        "index article_text covers Article (body, name), not what the ontology says",
    ]


def test_data_that_the_ontology_does_not_know(loaded: GraphSettings, writer: GraphWriter) -> None:
    writer.write(
        "CREATE (:Stranger {id: 'x'})-[:KNOWS]->(p:Product {id: 'P', name: 'a', smell: 'b'}) "
        "CREATE (p)-[:SUPPORTS_FEATURE {since: 'c'}]->(:Feature {id: 'F', name: 'f', kind: 'k'})",
        what="drift",
    )
    assert checked(loaded) == [
        "label Stranger is not in the ontology",
        "relationship KNOWS is not in the ontology",
        "property Product.smell is not in the ontology (1 have it)",
        "property SUPPORTS_FEATURE.since is not in the ontology (1 have it)",
    ]


def test_versions_that_overlap(loaded: GraphSettings, writer: GraphWriter) -> None:
    writer.write("MATCH (v:PolicyVersion {id: 'PO_RETURN@1'}) REMOVE v.valid_to", what="drift")
    assert checked(loaded) == ["PO_RETURN: PO_RETURN@1 and PO_RETURN@2 hold on the same days"]
    writer.write("MATCH (v:PolicyVersion {version: 1}) SET v.corrected_by = 'x'", what="mend")
    assert checked(loaded, 0)


def test_migrations_that_are_pending_changed_or_unknown(
    writer: GraphWriter, tmp_path: Path
) -> None:
    for migration in read_migrations():
        text = ";\n".join(migration.statements)
        (tmp_path / f"{migration.version}__{migration.name}.cypher").write_text(text)
    assert find_drift(writer, load_ontology(), tmp_path) == [
        "V001__lookup_indexes was applied and has changed since"
    ]
    (tmp_path / "V001__lookup_indexes.cypher").unlink()
    assert find_drift(writer, load_ontology(), tmp_path) == [
        "the database has V001, which is not among the files"
    ]
    writer.write(f"{STANDING} SET n.version = 'gone'", {"version": "V001"}, what="drift")
    try:
        assert "the database has gone" in checked(writer.settings)[0]
    finally:
        given = {"version": "gone"}
        writer.write(f"{STANDING} SET n.version = 'V001'", given, what="mend")
