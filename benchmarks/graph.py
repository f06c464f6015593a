"""The graph table: how fast a large graph loads and answers, on each engine, as it grows."""

from __future__ import annotations

import asyncio
import hashlib
import json
import multiprocessing
import resource
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.company import (
    NODES_NAME,
    SMALLEST,
    Company,
    CompanyEncoder,
    write_company,
)
from benchmarks.questions import DRAWS, SEARCHES, TWO_HOP
from benchmarks.recall import vector_recall
from components.scoring.latency import machine, percentile
from components.storage import output_file
from kg_schema.client import FactRow, GraphClient
from kg_schema.connection import GraphSettings
from kg_schema.embeddings import embed_nodes
from kg_schema.engines import Engine
from kg_schema.errors import InputError
from kg_schema.load import load_graph_files
from kg_schema.local import RunningServer, start_server
from kg_schema.migrate import migrate
from kg_schema.ontology import load_ontology
from kg_schema.recipes import Memory, neo4j_missing
from kg_schema.writer import GraphWriter

RESULT_NAME = "result.json"
TABLE_NAME = "table.md"
PLOT_NAME = "graph.png"

SIZES = (10_000, 100_000, 1_000_000)
QUICK_SIZES = (SMALLEST, 10_000)
ENGINES = (Engine.NEO4J.value, Engine.EMBEDDED.value)
MEMORY = Memory(heap_mb=2_048, page_cache_mb=3_072)
SOURCE = "company"
READS, QUICK_READS = 400, 10
# The template that the bars speak of is read oftener: its 99th percentile wants many.
TWO_HOP_FACTOR = 5
# A whole catalogue or fingerprint is read at a start or by a clock, never for a ticket.
RARE = {"catalogue": 3, "policy_fingerprint": 3}
QUERIES = 100
WARM_UP, QUICK_WARM_UP = 50, 2
CLIENTS = 16
COMPARED = 10
DEADLINE_S = 60.0
MS = 1e3


@dataclass(frozen=True)
class Load:
    """One load of a company's files.

    Attributes:
        seconds: Wall time of all of it: checking, nodes, relationships.
        nodes_per_s: Nodes a second, while nodes were written.
        relationships_per_s: Relationships a second, while they were written.
        written: Nodes and relationships created or changed.
        peak_mb: Most memory of the loading process.
    """

    seconds: float
    nodes_per_s: float
    relationships_per_s: float
    written: int
    peak_mb: float


@dataclass(frozen=True)
class Read:
    """How long one template's reads took, in milliseconds.

    Attributes:
        reads: How many were timed.
        rows: Mean rows of a read.
        p50_ms: Median.
        p95_ms: 95th percentile.
        p99_ms: 99th percentile.
        p95_ms_16: 95th percentile with 16 clients at once.
        reads_per_s_16: Reads a second of those 16 together.
        digest: Of the rows of the first reads; equal on engines that answer the same.
    """

    reads: int
    rows: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    p95_ms_16: float
    reads_per_s_16: float
    digest: str


def bench_graph(
    out: Path,
    *,
    engines: Sequence[str] = ENGINES,
    sizes: Sequence[int] = (),
    quick: bool = False,
) -> Path:
    """Loads generated companies and reads every template; a measured cell is kept.

    Args:
        out: Folder of result.json, table.md and the plot; a repeated run goes on in it.
        engines: `neo4j`, `embedded`.
        sizes: Nodes of each company; 5 relationships a node.
        quick: Small and few, to see that it works.

    Returns:
        The path of `result.json`.

    Raises:
        InputError: An engine cannot run here, or a company is too small to have hubs.
    """
    sizes = tuple(sizes) or (QUICK_SIZES if quick else SIZES)
    if min(sizes) < SMALLEST:
        raise InputError(f"a company has at least {SMALLEST:,} nodes", where="--nodes")
    if Engine.NEO4J.value in engines and (lacking := neo4j_missing()):
        raise InputError(lacking, where="neo4j engine", fix="give --engine embedded")
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for size in sizes:
        for engine in engines:
            cell = out / f"{engine}-{size}{'-quick' if quick else ''}.json"
            if not cell.exists():
                measured = _measure(engine, Company(size), out, quick=quick)
                with output_file(str(cell)) as path:
                    path.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
            rows.append(json.loads(cell.read_text(encoding="utf-8")))
        shutil.rmtree(_files(out, size), ignore_errors=True)
    result = {**flat_result(rows), "quick": quick, "machine": machine(), "rows": rows}
    with output_file(str(out / RESULT_NAME)) as path:
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (out / TABLE_NAME).write_text(markdown_table(result), encoding="utf-8")
    _plot(rows, out / PLOT_NAME)
    return out / RESULT_NAME


def _files(out: Path, size: int) -> Path:
    return out / "companies" / str(size)


def _measure(engine: str, company: Company, out: Path, *, quick: bool) -> dict[str, Any]:
    files = _files(out, company.nodes)
    write_company(company, files)
    data = out / "servers" / f"{engine}-{company.nodes}"
    shutil.rmtree(data, ignore_errors=True)
    server = start_server(engine, data, memory=MEMORY)
    try:
        with GraphWriter(server.settings()) as writer:
            migrate(writer, load_ontology())
        first, second = (_load_apart(files, server.settings()) for _ in range(2))
        recall = _recall(server.settings(), files)
        reads = asyncio.run(_read_all(server.settings(), company, quick=quick))
        return {
            "engine": engine,
            "nodes": company.nodes,
            "relationships": company.relationships,
            "first_load": asdict(first),
            "second_load": asdict(second),
            "search_recall_at_10": recall,
            "reads": {name: asdict(read) for name, read in reads.items()},
            "server_peak_mb": _peak_mb(server),
            "memory": asdict(MEMORY),
            "seed": company.seed,
        }
    finally:
        server.stop()
        shutil.rmtree(data, ignore_errors=True)


def _peak_mb(server: RunningServer) -> float:
    for line in Path(f"/proc/{server.pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0


def _load_apart(files: Path, settings: GraphSettings) -> Load:
    """Loads in a process of its own, whose peak memory is the load's alone."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_load, (files, settings))


def _load(files: Path, settings: GraphSettings) -> Load:
    started = time.monotonic()
    report = load_graph_files(files, settings, source_id=SOURCE)
    return Load(
        seconds=round(time.monotonic() - started, 2),
        nodes_per_s=round(report.nodes.rows_per_s, 1),
        relationships_per_s=round(report.relationships.rows_per_s, 1),
        written=report.written,
        peak_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    )


def _recall(settings: GraphSettings, files: Path) -> float:
    """Embeds every article and says how many of the true nearest ten the index finds."""
    encoder = CompanyEncoder()
    with GraphWriter(settings) as writer:
        embed_nodes(writer, load_ontology(), encoder.model, lambda: encoder)
    texts = {}
    with (files / NODES_NAME).open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith('{"label":"Article"'):
                row = json.loads(line)
                texts[row["id"]] = "\n".join((row["props"]["name"], row["props"]["body"]))
    vectors = dict(zip(texts, encoder.encode(list(texts.values())), strict=True))
    queries = encoder.encode([f"{text} again" for text in list(texts.values())[:QUERIES]])

    async def measure() -> float:
        async with GraphClient(settings) as client:
            return await vector_recall(
                client, vectors, queries, encoder.model, deadline_s=DEADLINE_S
            )

    return round(asyncio.run(measure()), 4)


async def _read_all(settings: GraphSettings, company: Company, *, quick: bool) -> dict[str, Read]:
    reads = {}
    for name, draw in DRAWS.items():
        count = RARE.get(name, QUICK_READS if quick else READS)
        if name == TWO_HOP:
            count *= TWO_HOP_FACTOR
        generator = np.random.default_rng(company.seed + 2)
        warm = min(count, QUICK_WARM_UP if quick else WARM_UP)
        drawn = [draw(company, generator) for _ in range(warm + count)]
        async with GraphClient(settings) as client:
            reads[name] = await _time(client, name, drawn[warm:], drawn[:warm])
    return reads


async def _time(
    client: GraphClient,
    name: str,
    drawn: Sequence[dict[str, object]],
    warm: Sequence[dict[str, object]],
) -> Read:
    rows = [await client.read(name, given, deadline_s=DEADLINE_S) for given in warm]
    alone, counted = [], 0
    for given in drawn:
        started = time.perf_counter()
        counted += len(await client.read(name, given, deadline_s=DEADLINE_S))
        alone.append(MS * (time.perf_counter() - started))
    together: list[float] = []

    async def work(share: Sequence[dict[str, object]]) -> None:
        for given in share:
            started = time.perf_counter()
            await client.read(name, given, deadline_s=DEADLINE_S)
            together.append(MS * (time.perf_counter() - started))

    started = time.perf_counter()
    await asyncio.gather(*(work(drawn[first::CLIENTS]) for first in range(CLIENTS)))
    elapsed = time.perf_counter() - started
    return Read(
        reads=len(drawn),
        rows=round(counted / len(drawn), 1),
        p50_ms=round(percentile(alone, 0.50), 3),
        p95_ms=round(percentile(alone, 0.95), 3),
        p99_ms=round(percentile(alone, 0.99), 3),
        p95_ms_16=round(percentile(together, 0.95), 3),
        reads_per_s_16=round(len(drawn) / elapsed, 1),
        digest=_digest(rows[:COMPARED]),
    )


def _digest(reads: Sequence[Sequence[FactRow]]) -> str:
    """Of the rows, whatever their order: Cypher promises none but by rank."""
    texts = [sorted(json.dumps(list(asdict(row).values())) for row in rows) for rows in reads]
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:12]


def flat_result(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the table's keys: of Neo4j where it ran, the other engine's under `embedded`."""
    by_engine = {
        engine: sorted(
            (row for row in rows if row["engine"] == engine), key=lambda row: int(row["nodes"])
        )
        for engine in ENGINES
    }
    ran = [engine for engine in ENGINES if by_engine[engine]]
    result = _keys(by_engine[ran[0]])
    if len(ran) > 1:
        result["embedded"] = _keys(by_engine[ran[1]])
        result["differing_templates"] = sorted(
            {
                name
                for one, other in zip(*(by_engine[engine] for engine in ran), strict=True)
                for name, read in one["reads"].items()
                if name not in SEARCHES and read["digest"] != other["reads"][name]["digest"]
            }
        )
    return result


def _keys(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    largest = rows[-1]
    first, two_hop = largest["first_load"], largest["reads"][TWO_HOP]
    p95_by_nodes = {row["nodes"]: row["reads"][TWO_HOP]["p95_ms"] for row in rows}
    total = largest["nodes"] + largest["relationships"]
    return {
        "engine": largest["engine"],
        "nodes": largest["nodes"],
        "relationships": largest["relationships"],
        "ingest_rows_per_s": round(total / first["seconds"], 1),
        "nodes_per_s": first["nodes_per_s"],
        "relationships_per_s": first["relationships_per_s"],
        "second_load_writes": largest["second_load"]["written"],
        "loader_peak_mb": first["peak_mb"],
        "server_peak_mb": largest["server_peak_mb"],
        "two_hop_p50_ms": two_hop["p50_ms"],
        "two_hop_p95_ms": two_hop["p95_ms"],
        "two_hop_p99_ms": two_hop["p99_ms"],
        "two_hop_rows": two_hop["rows"],
        "two_hop_p95_ms_100k": p95_by_nodes.get(100_000),
        "search_recall_at_10": largest["search_recall_at_10"],
        "as_of_p95_ms": largest["reads"]["policy_as_of"]["p95_ms"],
    }


def markdown_table(result: Mapping[str, Any]) -> str:
    """Formats two tables: the loads, and every template on the largest company."""
    lines = ["**A smoke run: not to be quoted.**", ""] if result["quick"] else []
    lines += [
        "| engine | nodes | relationships | nodes/s | relationships/s | all rows/s "
        "| second load writes | loader MB | server MB | 2-hop p50 | p95 | p99 ms |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        keys = _keys([row])
        lines.append(
            f"| {row['engine']} | {keys['nodes']:,} | {keys['relationships']:,} "
            f"| {keys['nodes_per_s']:,.0f} | {keys['relationships_per_s']:,.0f} "
            f"| {keys['ingest_rows_per_s']:,.0f} | {keys['second_load_writes']:,} "
            f"| {keys['loader_peak_mb']:,.0f} | {keys['server_peak_mb']:,.0f} "
            f"| {keys['two_hop_p50_ms']:.1f} | {keys['two_hop_p95_ms']:.1f} "
            f"| {keys['two_hop_p99_ms']:.1f} |"
        )
    largest = [row for row in result["rows"] if row["nodes"] == result["nodes"]]
    lines += [
        "",
        "| template | engine | rows | p50 ms | p95 ms | p99 ms | p95 ms, 16 clients | reads/s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in DRAWS:
        for row in largest:
            read = row["reads"][name]
            lines.append(
                f"| {name} | {row['engine']} | {read['rows']:.0f} | {read['p50_ms']:.1f} "
                f"| {read['p95_ms']:.1f} | {read['p99_ms']:.1f} | {read['p95_ms_16']:.1f} "
                f"| {read['reads_per_s_16']:,.0f} |"
            )
    return "\n".join(lines) + "\n"


def _plot(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (loads, reads) = pyplot.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for engine in dict.fromkeys(row["engine"] for row in rows):
        own = [row for row in rows if row["engine"] == engine]
        sizes = [row["nodes"] for row in own]
        for key, style in (("nodes_per_s", "o-"), ("relationships_per_s", "s--")):
            rates = [row["first_load"][key] / 1e3 for row in own]
            what = key.removesuffix("_per_s")
            loads.plot(sizes, rates, style, label=f"{engine}: {what}")
        for key, style in (("p50_ms", "o-"), ("p95_ms", "s--"), ("p99_ms", "^:")):
            times = [row["reads"][TWO_HOP][key] for row in own]
            reads.plot(sizes, times, style, label=f"{engine}: {key.removesuffix('_ms')}")
    for axes, title, unit in (
        (loads, "Loading", "thousand a second"),
        (reads, f"Reading {TWO_HOP}, one client", "ms"),
    ):
        axes.set(title=title, xlabel="nodes (5 relationships each)", ylabel=unit, xscale="log")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
