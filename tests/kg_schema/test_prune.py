"""Pruning on real servers: what a source says no more goes, what another says never does."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kg_schema import commands
from kg_schema.connection import GraphSettings, GraphUnavailable
from kg_schema.load import LoadOptions, LoadReport, load_graph_files
from kg_schema.local import RunningServer
from kg_schema.prune import PruneCounts, Pruner, withdraw_source
from kg_schema.writer import GraphWriter
from tests.kg_schema.small_graph import EDGES, NODES, edge, graph_digest

WriteRows = Callable[[str, list[Any]], Path]
ALL = "MATCH (n) WHERE n.source_ids IS NOT NULL RETURN n.id AS id, n.source_ids AS sources"
PRUNE = LoadOptions(prune=True)
DRY = LoadOptions(prune=True, dry_run=True)


class Company:
    """Loads rows as a source; every load prunes unless told otherwise."""

    def __init__(self, graph: GraphSettings, write_rows: WriteRows) -> None:
        self.graph, self._write_rows = graph, write_rows

    def load(
        self, nodes: list[Any], edges: list[Any], source: str, options: LoadOptions = PRUNE
    ) -> LoadReport:
        files = [self._write_rows(f"{source}.jsonl", [*nodes, *edges])]
        return load_graph_files(files, self.graph, source_id=source, options=options)


@pytest.fixture
def company(graph: GraphSettings, write_rows: WriteRows) -> Company:
    return Company(graph, write_rows)


def sources(writer: GraphWriter) -> dict[str, list[str]]:
    return {row["id"]: row["sources"] for row in writer.read(ALL, what="read")}


def test_what_a_source_says_no_more_goes(company: Company, writer: GraphWriter) -> None:
    company.load(NODES[:-1], EDGES[:-1], "one")
    expected = graph_digest(writer)
    company.load(NODES, EDGES, "one", LoadOptions())
    dry = company.load(NODES[:-1], EDGES[:-1], "one", DRY).pruned
    report = company.load(NODES[:-1], EDGES[:-1], "one").pruned
    assert report is not None
    assert dry is not None
    assert (report.nodes.removed, report.relationships.removed) == (1, 1)
    assert (dry.nodes, dry.relationships) == (report.nodes, report.relationships)
    assert graph_digest(writer) == expected
    before = graph_digest(writer, with_times=True)
    again = company.load(NODES[:-1], EDGES[:-1], "one")
    assert again.written == 0
    assert again.pruned is not None
    assert again.pruned.written == 0
    assert graph_digest(writer, with_times=True) == before


def test_what_another_source_says_stays(company: Company, writer: GraphWriter) -> None:
    company.load(NODES, EDGES, "two")
    company.load(NODES, EDGES, "one")
    company.load(NODES[:1], [], "one")
    said = sources(writer)
    assert said.pop(NODES[0]["id"]) == ["one", "two"]
    assert set(map(tuple, said.values())) == {("two",)}
    report = withdraw_source(company.graph, "one")
    assert report.nodes == PruneCounts(removed=0, shared=1)
    said = sources(writer)
    assert len(said) == len(NODES)
    assert set(map(tuple, said.values())) == {("two",)}


def test_a_node_that_anothers_relationship_needs_is_held(
    company: Company, writer: GraphWriter
) -> None:
    company.load(NODES, [], "one")
    company.load([], [edge("ABOUT", "Article/AR_1", "Product/P_X300")], "two", LoadOptions())
    gone = [row for row in NODES if row["id"] not in ("P_X300", "P_X200")]
    dry = company.load(gone, [], "one", DRY).pruned
    report = company.load(gone, [], "one").pruned
    assert report is not None
    assert dry is not None
    assert report.nodes == dry.nodes == PruneCounts(removed=1, held=1)
    assert report.held == dry.held == ("Product/P_X300",)
    assert sources(writer)["P_X300"] == []
    said: list[str] = []
    assert commands.withdraw(said.append, company.graph, "two", dry_run=True) == 0
    assert said[0].startswith("nodes that two no longer says: 1 would be removed, 0 stay")
    commands.withdraw(said.append, company.graph, "two", dry_run=False)
    assert "P_X300" not in sources(writer), "it goes with what held it"


def test_the_files_own_relationships_hold_too(company: Company) -> None:
    company.load(NODES, EDGES, "one")
    rest = [row for row in NODES if row["id"] != "F_PD30"]
    for options in (DRY, PRUNE):
        report = company.load(rest, EDGES, "one", options).pruned
        assert report is not None
        assert report.held == ("Feature/F_PD30",)


def test_nothing_is_pruned_where_a_row_was_bad(company: Company, writer: GraphWriter) -> None:
    company.load(NODES, EDGES, "one")
    before = graph_digest(writer)
    bad = {**NODES[0], "props": {}}
    report = company.load(
        [bad, *NODES[1:-1]], EDGES[:-1], "one", LoadOptions(1_000, 1.0, prune=True)
    )
    assert report.quarantined == 1
    assert report.pruned is not None
    assert "quarantine" in report.pruned.refused
    assert graph_digest(writer) == before


def test_a_refused_pruning_is_told_by_the_exit_code(
    graph: GraphSettings, tmp_path: Path, writer: GraphWriter
) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    said: list[str] = []
    options = LoadOptions(prune=True)
    assert commands.load(said.append, graph, [tmp_path], source_id="one", options=options) == 1
    assert said[-1].startswith("nothing of one was pruned: the files say nothing at all")


def test_a_withdrawn_source_leaves_nothing(company: Company, writer: GraphWriter) -> None:
    empty = graph_digest(writer)
    company.load(NODES, EDGES, "one")
    report = withdraw_source(company.graph, "one")
    assert (report.nodes.removed, report.relationships.removed) == (len(NODES), len(EDGES))
    assert graph_digest(writer) == empty
    assert withdraw_source(company.graph, "one").written == 0


PRODUCTS = [f"P_{number}" for number in range(5)]
PAIRS = [(a, b) for a in PRODUCTS[:3] for b in PRODUCTS[:3]]


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]),
            st.sets(st.sampled_from(PRODUCTS), min_size=1),
            st.sets(st.sampled_from(PAIRS), max_size=4),
        ),
        max_size=5,
    )
)
def test_the_graph_is_what_the_sources_say_now(
    company: Company, writer: GraphWriter, loads: list[tuple[str, set[str], set[tuple[str, str]]]]
) -> None:
    writer.write("MATCH (n) WHERE n.source_ids IS NOT NULL DETACH DELETE n", what="empty")
    nodes: dict[str, set[str]] = {}
    edges: dict[str, set[tuple[str, str]]] = {}
    for source, products, pairs in loads:
        said = {pair for pair in pairs if set(pair) <= products}
        options = [DRY, PRUNE] if nodes else [PRUNE]
        reports = [
            company.load(
                [
                    {"label": "Product", "id": one, "props": {"name": one}}
                    for one in sorted(products)
                ],
                [edge("COMPATIBLE_WITH", f"Product/{a}", f"Product/{b}") for a, b in sorted(said)],
                source,
                how,
            ).pruned
            for how in options
        ]
        assert len({(r.nodes, r.relationships, r.held) for r in reports if r is not None}) == 1
        nodes[source], edges[source] = products, said
    spoken = sources(writer)
    for one in PRODUCTS:
        by = sorted(source for source, held in nodes.items() if one in held)
        assert spoken.get(one, []) == by
    rows = writer.read(
        "MATCH (a)-[r:COMPATIBLE_WITH]->(b) RETURN a.id AS a, b.id AS b, r.source_ids AS s",
        what="read",
    )
    assert {(row["a"], row["b"]): row["s"] for row in rows} == {
        pair: sorted(source for source, held in edges.items() if pair in held)
        for pair in set().union(*edges.values())
    }


def test_a_pruning_cut_off_anywhere_and_repeated_ends_in_the_same_graph(
    company: Company, writer: GraphWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kg_schema.prune.BATCH", 2)
    rest = [row for row in NODES if row["label"] in ("Policy", "PolicyVersion")]
    company.load(NODES, EDGES, "one")
    company.load(NODES[:4], [], "two")
    company.load(rest, [], "one")
    expected = graph_digest(writer)
    for cut in range(1, 20, 3):
        writer.write("MATCH (n) WHERE n.source_ids IS NOT NULL DETACH DELETE n", what="empty")
        company.load(NODES, EDGES, "one")
        company.load(NODES[:4], [], "two")
        left = iter(range(cut))
        write = Pruner._write

        def failing(self: Pruner, *given: Any, **more: Any) -> int:
            if next(left, None) is None:  # noqa: B023  used in this turn alone
                raise GraphUnavailable("cut off")
            return write(self, *given, **more)  # noqa: B023

        with monkeypatch.context() as patch:
            patch.setattr(Pruner, "_write", failing)
            with contextlib.suppress(GraphUnavailable):
                company.load(rest, [], "one")
        company.load(rest, [], "one")
        assert graph_digest(writer) == expected, cut


WITHDRAW = """
from kg_schema.connection import GraphSettings
from kg_schema import prune
prune.BATCH = 100
prune.withdraw_source(GraphSettings.from_env(), "one")
"""


def test_a_pruning_killed_half_way_is_repeated(
    company: Company, writer: GraphWriter, engine_server: RunningServer
) -> None:
    size = 1_500
    empty = graph_digest(writer)
    company.load(
        [{"label": "Product", "id": f"P_{i}", "props": {"name": f"n{i}"}} for i in range(size)],
        [edge("COMPATIBLE_WITH", f"Product/P_{i}", f"Product/P_{i + 1}") for i in range(size - 1)],
        "one",
    )
    process = subprocess.Popen(
        [sys.executable, "-c", WITHDRAW],
        env={**os.environ, **engine_server.environment()},
        stderr=subprocess.DEVNULL,
    )
    count = "MATCH ()-[r:COMPATIBLE_WITH]->() RETURN count(r) AS total"
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until and process.poll() is None:
            if writer.read(count, what="count")[0]["total"] < size - 1:
                break
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    report = withdraw_source(company.graph, "one")
    assert 0 < report.written < 2 * size - 1
    assert graph_digest(writer) == empty
