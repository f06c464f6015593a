"""Migrations on real servers: once, in order, and never a changed one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kg_schema.connection import GraphQueryError
from kg_schema.engines import search_indexes
from kg_schema.migrate import MigrationError, migrate, read_migrations
from kg_schema.ontology import Ontology, load_ontology
from kg_schema.writer import GraphWriter

SEARCH = (
    "CALL db.index.fulltext.queryNodes($index, $query) YIELD node, score "
    "RETURN node.id AS id, score"
)


@pytest.fixture
def folder(writer: GraphWriter, tmp_path: Path) -> Iterator[Path]:
    """A folder with the package's migrations and one more, forgotten by the database after."""
    for migration in read_migrations():
        text = ";\n".join(migration.statements)
        (tmp_path / f"{migration.version}__{migration.name}.cypher").write_text(text)
    _forget(writer, "V")
    (tmp_path / "V900__batteries.cypher").write_text(
        "// Looks batteries up; not a statement.\n"
        "CREATE INDEX product_battery_mah IF NOT EXISTS FOR (n:Product) ON (n.battery_mah);\n"
        "CREATE INDEX product_weight_g IF NOT EXISTS\nFOR (n:Product) ON (n.weight_g);\n"
    )
    yield tmp_path
    for index in ("product_battery_mah", "product_weight_g"):
        writer.administer(f"DROP INDEX {index} IF EXISTS", what="clean")
    _forget(writer, "V")
    migrate(writer, load_ontology())


def _forget(writer: GraphWriter, first: str) -> None:
    writer.write(
        "MATCH (n:SchemaMigration) WHERE n.version STARTS WITH $first DELETE n",
        {"first": first},
        what="forget",
    )


def _indexed(writer: GraphWriter) -> set[str]:
    rows = writer.read("SHOW INDEXES YIELD properties", what="indexes")
    return {row["properties"][0] for row in rows if row["properties"]}


def test_each_is_applied_once(writer: GraphWriter, folder: Path) -> None:
    report = migrate(writer, load_ontology(), folder)
    assert report.applied == ("V001", "V900")
    assert {"battery_mah", "weight_g", "topic"} <= _indexed(writer)
    again = migrate(writer, load_ontology(), folder)
    assert again.applied == ()
    assert again.unchanged == ("R_constraints", "R_search", "R_vectors", "V001", "V900")


def test_a_changed_file_is_refused_and_nothing_applied(writer: GraphWriter, folder: Path) -> None:
    migrate(writer, load_ontology(), folder)
    with (folder / "V900__batteries.cypher").open("a") as stream:
        stream.write("// one more remark\n")
    (folder / "V901__more.cypher").write_text(
        "CREATE INDEX product_stock IF NOT EXISTS FOR (n:Product) ON (n.stock);"
    )
    with pytest.raises(MigrationError, match="V900__batteries was applied and has changed"):
        migrate(writer, load_ontology(), folder)
    assert "stock" not in _indexed(writer)


def test_a_database_ahead_of_the_files_is_refused(writer: GraphWriter, folder: Path) -> None:
    migrate(writer, load_ontology(), folder)
    (folder / "V900__batteries.cypher").unlink()
    with pytest.raises(MigrationError, match="V900, which is not among the files"):
        migrate(writer, load_ontology(), folder)


@pytest.mark.parametrize("name", ["V1__x.cypher", "V001_x.cypher", "V001__X.cypher"])
def test_misnamed_files_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("RETURN 1;")
    with pytest.raises(MigrationError, match="not named"):
        read_migrations(tmp_path)


def test_business_ids_are_unique(writer: GraphWriter) -> None:
    for label in load_ontology().labels:
        writer.write(f"CREATE (:{label} {{id: 'x', code: 'y'}})", what="first")
        with pytest.raises(GraphQueryError, match="ConstraintValidationFailed"):
            writer.write(f"CREATE (:{label} {{id: 'x'}})", what="second")
    with pytest.raises(GraphQueryError, match="ConstraintValidationFailed"):
        writer.write("CREATE (:Promotion {id: 'z', code: 'y'})", what="second")


def test_search_finds_names_bodies_and_aliases(writer: GraphWriter) -> None:
    writer.write(
        "CREATE (:Article {id: 'AR_1', name: 'Fast charging', body: 'Use a USB-C charger'}) "
        "CREATE (:Product {id: 'P_1', name: 'X-200', aliases: ['Turbo phone', 'x200']}) "
        "CREATE (:Product {id: 'P_2', name: 'Tab', aliases: []}) "
        "CREATE (:Product {id: 'P_3', name: 'Watch'})",
        what="fill",
    )
    for index, query, expected in (
        ("article_text", "charger", "AR_1"),
        ("article_text", "charging", "AR_1"),
        ("product_text", "tab", "P_2"),
        ("product_aliases_text", "turbo", "P_1"),
    ):
        rows = writer.read(SEARCH, {"index": index, "query": query}, what="search")
        assert [row["id"] for row in rows] == [expected], index


def test_a_grown_ontology_is_migrated_without_code(writer: GraphWriter, tmp_path: Path) -> None:
    grown = _ontology(tmp_path, "Invoice", "memo: {type: string, searchable: true}")
    try:
        assert migrate(writer, grown).applied == ("R_constraints", "R_search")
        writer.write("CREATE (:Invoice {id: 'I_1', name: 'one', memo: 'toner'})", what="fill")
        rows = writer.read(SEARCH, {"index": "invoice_text", "query": "toner"}, what="search")
        assert [row["id"] for row in rows] == ["I_1"]
        # One more searchable property: the index is made anew, not kept as it was.
        wider = _ontology(
            tmp_path,
            "Invoice",
            "memo: {type: string, searchable: true}",
            "city: {type: string, searchable: true}",
        )
        assert migrate(writer, wider).applied == ("R_search",)
        writer.write("MATCH (n:Invoice) SET n.city = 'Graz'", what="fill")
        rows = writer.read(SEARCH, {"index": "invoice_text", "query": "graz"}, what="search")
        assert [row["id"] for row in rows] == ["I_1"]
    finally:
        migrate(writer, load_ontology())


def _ontology(folder: Path, label: str, *properties: str) -> Ontology:
    path = folder / "ontology.yaml"
    path.write_text(
        f"extends: deskgraph\nlabels:\n  {label}:\n    properties:\n"
        + "".join(f"      {line}\n" for line in properties)
    )
    return load_ontology(path)


def test_every_searchable_property_is_in_an_index() -> None:
    indexed = {(i.label, key) for i in search_indexes(load_ontology()) for key in i.properties}
    assert ("Article", "body") in indexed
    assert ("Symptom", "aliases") in indexed
    wanted = {(label, key) for label, keys in load_ontology().searchable() for key in keys}
    assert indexed == wanted
