"""Loading on real servers: checked first, written once, and the same again after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kg_schema.connection import GraphSettings
from kg_schema.errors import InputError
from kg_schema.load import LoadOptions, LoadReport, load_graph_files
from kg_schema.local import RunningServer
from kg_schema.ontology import load_ontology
from kg_schema.writer import GraphWriter
from tests.kg_schema.small_graph import EDGES, NODES, edge, graph_digest

WriteRows = Callable[[str, list[Any]], Path]
COUNT = "MATCH (n:Product) RETURN count(n) AS total"
NEIGHBOURS = "MATCH ()-[r:COMPATIBLE_WITH]->() RETURN count(r) AS total"


def load(graph: GraphSettings, *paths: Path, source: str = "one", **options: Any) -> LoadReport:
    return load_graph_files(
        paths, graph, source_id=source, options=LoadOptions(**options) if options else None
    )


def bookkeeping(writer: GraphWriter) -> dict[str, Any]:
    (row,) = writer.read(
        "MATCH (n:Product {id: 'P_X200'}) RETURN properties(n) AS props", what="read"
    )
    return dict(row["props"])


def test_a_second_identical_load_writes_nothing(
    graph: GraphSettings, writer: GraphWriter, write_rows: WriteRows
) -> None:
    # Relationships in the file that sorts first: nodes are written before them all the same.
    files = write_rows("a.jsonl", EDGES), write_rows("b.jsonl", NODES)
    first = load(graph, *files)
    assert (first.nodes.created, first.relationships.created) == (len(NODES), len(EDGES))
    before = graph_digest(writer, with_times=True)
    second = load(graph, *files)
    assert second.written == 0
    assert second.nodes.unchanged == len(NODES)
    assert second.relationships.unchanged == len(EDGES)
    assert second.batch_id == first.batch_id
    assert graph_digest(writer, with_times=True) == before


def test_sources_add_up_and_stay_sorted(
    graph: GraphSettings, writer: GraphWriter, write_rows: WriteRows
) -> None:
    file = write_rows("nodes.jsonl", NODES)
    for source in ("m", "z", "a"):
        assert load(graph, file, source=source).written == len(NODES)
    assert bookkeeping(writer)["source_ids"] == ["a", "m", "z"]
    assert load(graph, file, source="m").written == 0


def test_a_changed_row_is_replaced_and_no_other(
    graph: GraphSettings, writer: GraphWriter, write_rows: WriteRows
) -> None:
    load(graph, write_rows("nodes.jsonl", NODES), write_rows("edges.jsonl", EDGES))
    before = bookkeeping(writer)
    changed = {"label": "Product", "id": "P_X200", "props": {"name": "X-200", "weight_g": 180}}
    edges = [edge("RESOLVED_BY", "ErrorCode/E1001", "Solution/S_005", priority=2), *EDGES[2:]]
    report = load(
        graph, write_rows("nodes.jsonl", [changed, *NODES[1:]]), write_rows("edges.jsonl", edges)
    )
    assert (report.nodes.changed, report.nodes.unchanged) == (1, len(NODES) - 1)
    assert (report.relationships.changed, report.relationships.created) == (1, 0)
    after = bookkeeping(writer)
    assert "price_eur" not in after
    assert after["weight_g"] == 180
    assert after["content_hash"] != before["content_hash"]
    assert after["batch_id"] != before["batch_id"]


def test_a_dry_run_counts_and_writes_nothing(
    graph: GraphSettings, writer: GraphWriter, write_rows: WriteRows
) -> None:
    files = write_rows("nodes.jsonl", NODES), write_rows("edges.jsonl", EDGES)
    empty = graph_digest(writer)
    dry = load(graph, *files, dry_run=True)
    assert (dry.nodes.created, dry.relationships.created) == (len(NODES), len(EDGES))
    assert graph_digest(writer) == empty
    load(graph, *files)
    assert load(graph, *files, dry_run=True).written == 0
    assert load(graph, *files, source="two", dry_run=True).nodes.changed == len(NODES)


def test_bad_rows_are_named_and_the_rest_is_loaded(
    graph: GraphSettings, writer: GraphWriter, write_rows: WriteRows, tmp_path: Path
) -> None:
    nodes = [
        *NODES,
        {"label": "Vehicle", "id": "V_1", "props": {"name": "van"}},
        {"label": "Product", "id": "P_1", "props": {}},
        {"label": "Product", "id": "P_2", "props": {"name": "a", "price_eur": "cheap"}},
        {"label": "Product", "id": "P_3", "props": {"name": "a", "smell": "sour"}},
        {"label": "Product", "id": "P_X200", "props": {"name": "another"}},
    ]
    edges = [
        *EDGES,
        edge("SUPPORTS_FEATURE", "Product/P_GONE", "Feature/F_PD30"),
        edge("SUPPORTS_FEATURE", "Feature/F_PD30", "Product/P_X200"),
        edge("LIKES", "Product/P_X200", "Product/P_X300"),
        edge("APPLIES_TO", "Solution/S_005", "Product/P_1"),
    ]
    quarantine = tmp_path / "quarantine.jsonl"
    report = load(
        graph,
        write_rows("nodes.jsonl", nodes),
        write_rows("edges.jsonl", edges),
        bad_share=1.0,
        quarantine=quarantine,
    )
    rows = [json.loads(line) for line in quarantine.read_text().splitlines()]
    said = {(row["file"], row["line"]): row["reason"] for row in rows}
    first_node, first_edge = len(NODES) + 1, len(EDGES) + 1
    assert said == {
        ("nodes.jsonl", first_node): "unknown label 'Vehicle'",
        ("nodes.jsonl", first_node + 1): "Product lacks name",
        ("nodes.jsonl", first_node + 2): "price_eur is no float",
        ("nodes.jsonl", first_node + 3): "Product has no property 'smell'",
        (
            "nodes.jsonl",
            first_node + 4,
        ): "Product/P_X200 was given before with other properties",
        ("edges.jsonl", first_edge): "its end Product/P_GONE is nowhere",
        ("edges.jsonl", first_edge + 1): "SUPPORTS_FEATURE does not go from Feature to Product",
        ("edges.jsonl", first_edge + 2): "unknown relationship type 'LIKES'",
        ("edges.jsonl", first_edge + 3): "its end Product/P_1 is nowhere",
    }
    assert report.quarantined == len(said)
    assert (report.nodes.created, report.relationships.created) == (len(NODES), len(EDGES))
    assert bookkeeping(writer)["name"] == "X-200"


def test_too_many_bad_rows_load_nothing(
    graph: GraphSettings, writer: GraphWriter, tmp_path: Path
) -> None:
    empty = graph_digest(writer)
    lines = [json.dumps(row) for row in NODES]
    lines[6] = '{"label": "Product", '
    file = tmp_path / "nodes.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(InputError, match=r"nodes\.jsonl:7: .*broken JSON at column") as caught:
        load(graph, file)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert graph_digest(writer) == empty


def test_ends_may_stand_in_the_database_alone(graph: GraphSettings, write_rows: WriteRows) -> None:
    load(graph, write_rows("nodes.jsonl", NODES))
    report = load(graph, write_rows("edges.jsonl", EDGES))
    assert (report.relationships.created, report.quarantined) == (len(EDGES), 0)


def test_triples_and_a_mapped_csv(
    graph: GraphSettings, writer: GraphWriter, tmp_path: Path
) -> None:
    (tmp_path / "facts.csv").write_text(
        "subject,predicate,object\n"
        "ErrorCode E1001,name,E1001\n"
        "ErrorCode/E1001,aliases,1001\n"
        "ErrorCode/E1001,aliases,E-1001\n"
        "Solution/S_005,name,Use a PD charger\n"
        "ErrorCode E1001,RESOLVED_BY,S_005\n"
    )
    (tmp_path / "products.csv").write_text(
        "sku,title,price,kind,old\nP_1,Phone,99.5,C_PHONE,\nP_2,Case,,C_PHONE,P_1\n"
    )
    (tmp_path / "mapping.yaml").write_text(
        "files:\n"
        "  products.csv:\n"
        "    nodes:\n"
        "      - {label: Product, id: sku, properties: {name: title, price_eur: price}}\n"
        "      - {label: Category, id: kind, properties: {name: kind}}\n"
        "    relationships:\n"
        "      - {type: IN_CATEGORY, start: {label: Product, id: sku},\n"
        "         end: {label: Category, id: kind}}\n"
        "      - {type: COMPATIBLE_WITH, start: {label: Product, id: sku},\n"
        "         end: {label: Product, id: old}}\n"
    )
    report = load(graph, tmp_path)
    assert (report.nodes.created, report.relationships.created) == (5, 4)
    assert (report.duplicates, report.quarantined) == (1, 0)
    (code,) = writer.read("MATCH (n:ErrorCode)-->(s) RETURN n.aliases AS a, s.id AS s", what="x")
    assert code == {"a": ["1001", "E-1001"], "s": "S_005"}
    assert load(graph, tmp_path).written == 0


def test_a_killed_load_repeated_ends_in_the_same_graph(
    graph: GraphSettings,
    writer: GraphWriter,
    write_rows: WriteRows,
    engine_server: RunningServer,
) -> None:
    size = 1_500
    nodes = [{"label": "Product", "id": f"P_{i}", "props": {"name": f"n{i}"}} for i in range(size)]
    edges = [
        edge("COMPATIBLE_WITH", f"Product/P_{i}", f"Product/P_{i + 1}") for i in range(size - 1)
    ]
    files = write_rows("nodes.jsonl", nodes), write_rows("edges.jsonl", edges)
    process = subprocess.Popen(
        [sys.executable, "-c", LOADER, *map(str, files)],
        env={**os.environ, **engine_server.environment()},
        stderr=subprocess.DEVNULL,
    )
    try:
        written = _wait_for_some(writer, process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 0 < written < len(nodes) + len(edges)
    repeated = load(graph, *files)
    assert 0 < repeated.written < len(nodes) + len(edges)
    after_kill = graph_digest(writer)
    writer.write("MATCH (n:Product) DETACH DELETE n", what="empty")
    assert load(graph, *files).written == len(nodes) + len(edges)
    assert graph_digest(writer) == after_kill


LOADER = """
import sys
from kg_schema.connection import GraphSettings
from kg_schema.load import LoadOptions, load_graph_files
settings = GraphSettings.from_env()
load_graph_files(sys.argv[1:], settings, source_id="one", options=LoadOptions(batch_size=1000))
"""


def _wait_for_some(writer: GraphWriter, process: subprocess.Popen[bytes]) -> int:
    """Waits until a part is written and the load still runs."""
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        total = sum(writer.read(count, what="count")[0]["total"] for count in (COUNT, NEIGHBOURS))
        if total:
            return int(total)
        time.sleep(0.03)
    pytest.fail("the load wrote nothing, or ended before it could be killed")


def test_an_unmigrated_ontology_is_refused(graph: GraphSettings, tmp_path: Path) -> None:
    grown = tmp_path / "ontology.yaml"
    grown.write_text("extends: deskgraph\nlabels:\n  Vehicle: {}\n")
    (tmp_path / "v.jsonl").write_text('{"label":"Vehicle","id":"V","props":{"name":"van"}}\n')
    with pytest.raises(InputError, match="deskgraph graph migrate"):
        load_graph_files(
            tmp_path / "v.jsonl", graph, source_id="one", ontology=load_ontology(grown)
        )


@pytest.mark.parametrize("source", ["", "a,b", " a", "x" * 101])
def test_source_ids_that_could_not_be_told_apart_are_refused(source: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="source id"):
        load_graph_files(tmp_path, GraphSettings("bolt://127.0.0.1:1"), source_id=source)
