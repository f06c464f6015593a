"""The graph table: its company is what it says, every template is read, engines agree."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.company import SMALLEST, Company, write_company
from benchmarks.graph import bench_graph
from benchmarks.questions import TWO_HOP, unmeasured


def test_every_template_is_measured() -> None:
    assert unmeasured() == set()


def test_a_company_has_exactly_its_nodes_and_relationships_and_the_same_bytes(
    tmp_path: Path,
) -> None:
    company = Company(3_000)
    nodes, edges = write_company(company, tmp_path / "one")
    again = write_company(company, tmp_path / "other")
    assert [path.read_bytes() for path in again] == [nodes.read_bytes(), edges.read_bytes()]
    ids = [(row["label"], row["id"]) for row in map(json.loads, nodes.open())]
    assert len(set(ids)) == len(ids) == company.nodes
    rows = [json.loads(line) for line in edges.open()]
    pairs = {(row["type"], *(tuple(row[end].values()) for end in ("start", "end"))) for row in rows}
    assert len(pairs) == len(rows) == company.relationships
    assert {tuple(row[end].values()) for row in rows for end in ("start", "end")} <= set(ids)


def test_a_company_has_hubs() -> None:
    company = Company(100_000)
    drawn = company.popular("Product", 100_000, np.random.default_rng(1))
    counts = Counter(drawn.tolist()).most_common()
    assert counts[0][1] > 50 * counts[-1][1]
    assert drawn.min() >= 0 and drawn.max() < company.counts["Product"]


@pytest.mark.timeout(280)
def test_the_table_is_whole_and_a_second_run_measures_nothing_again(tmp_path: Path) -> None:
    # One engine: that both yield the same rows is the templates' own test.
    engines = ("embedded",)
    result = bench_graph(tmp_path, engines=engines, sizes=(SMALLEST,), quick=True)
    content = json.loads(result.read_text())
    assert content["second_load_writes"] == 0
    assert content["search_recall_at_10"] >= 0.95
    assert content["rows"][0]["first_load"]["written"] == SMALLEST * 6
    assert content["rows"][0]["reads"][TWO_HOP]["rows"] > 20
    assert "smoke run" in (tmp_path / "table.md").read_text()
    assert (tmp_path / "graph.png").stat().st_size > 10_000
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob(f"*-{SMALLEST}-quick.json")}
    bench_graph(tmp_path, engines=engines, sizes=(SMALLEST,), quick=True)
    assert before == {path: path.stat().st_mtime_ns for path in before}
