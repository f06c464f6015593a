import json
from collections.abc import Iterator

import pytest

from kg_schema.client import FactRow, GraphSettings
from kg_schema.embeddings import embed_nodes
from kg_schema.load import load_graph_files
from kg_schema.local import RunningServer
from kg_schema.migrate import migrate
from kg_schema.ontology import load_ontology
from kg_schema.writer import GraphWriter
from serving.catalogue import Catalogue
from serving.linking import Linker
from tests.graph_server import started
from tests.kg_schema.stub_encoder import MODEL, Encoder
from tests.serving.small_graph import NODES, node_rows, relationship_rows


def load_small_graph(server: RunningServer, folder) -> GraphSettings:
    settings = server.settings()
    for name, rows in (("nodes", node_rows()), ("relationships", relationship_rows())):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    with GraphWriter(settings) as writer:
        writer.write("MATCH (n) WHERE NOT n:SchemaMigration DETACH DELETE n", what="empty")
        migrate(writer, load_ontology())
    load_graph_files(folder, settings, source_id="small")
    with GraphWriter(settings) as writer:
        embed_nodes(writer, load_ontology(), MODEL, Encoder)
    return settings


@pytest.fixture(scope="session")
def small_graph(tmp_path_factory) -> Iterator[GraphSettings]:
    """A server of its own: the other tests' shared one is emptied and filled by them."""
    for server in started("embedded", tmp_path_factory):
        yield load_small_graph(server, tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def small_neo4j(neo4j_server, tmp_path_factory) -> Iterator[GraphSettings]:
    """As `small_graph`; `neo4j_server` decides whether Neo4j can be had here."""
    for server in started("neo4j", tmp_path_factory):
        yield load_small_graph(server, tmp_path_factory.mktemp("small-neo4j"))


def catalogue_rows() -> Iterator[FactRow]:
    """What the template `catalogue` yields of the small graph."""
    for label in ("Product", "Accessory", "Category", "ErrorCode", "Feature", "Promotion"):
        yield from _rows(label)
    yield from _rows("Policy")
    yield from _rows("Symptom")


def _rows(label: str) -> Iterator[FactRow]:
    for node_id, props in NODES[label].items():
        values = [("name", props["name"])]
        values += [("aliases", alias) for alias in props.get("aliases", [])]
        keys = ("code", "topic", "kind", "category", "description")
        values += [(key, props[key]) for key in keys if key in props]
        for key, value in values:
            yield fact_row(label, node_id, key, value=value, name=props["name"])


def fact_row(label, node_id, predicate, target=None, *, value=None, name="", **columns) -> FactRow:
    """A row as a template yields it; `target` is `Label/id` or `Label/id/name`."""
    object_label, object_id, object_name = (*(target or "").split("/"), None, None)[:3]
    known = {"rank": 0, "source": "s", "valid_from": None, "valid_to": None} | columns
    return FactRow(
        subject_label=label,
        subject_id=node_id,
        subject_name=name or NODES.get(label, {}).get(node_id, {}).get("name", node_id),
        predicate=predicate,
        object_label=object_label or None,
        object_id=object_id if target else None,
        object_name=(object_name or object_id) if target else None,
        value=value,
        **known,
    )


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return Catalogue.from_rows(catalogue_rows())


@pytest.fixture(scope="session")
def linker(catalogue) -> Linker:
    return Linker(catalogue)
