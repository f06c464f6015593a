"""Brings the graph to its schema and loads a company's graph files into it."""

from __future__ import annotations

import asyncio
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from components.storage import localise, output_file
from kg_schema.client import GraphClient, GraphSettings
from kg_schema.load import LoadReport, load_graph_files
from kg_schema.migrate import migrate
from kg_schema.ontology import load_ontology
from kg_schema.policies import fingerprint
from kg_schema.writer import GraphWriter

ONTOLOGY_FILE = "ontology.yaml"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GraphLoad:
    """What the step did.

    Attributes:
        report: Counts and rates of the load.
        migrations: Versions of the schema's migrations applied now.
        fingerprint: Digest over policies, promotions and topics as they are today.
    """

    report: LoadReport
    migrations: tuple[str, ...]
    fingerprint: str

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            **self.report.as_json(),
            "migrations": list(self.migrations),
            "fingerprint": self.fingerprint,
        }


def load_graph(graph: str, graph_uri: str, out: str) -> GraphLoad:
    """Migrates the graph and loads its files; a second identical load writes nothing.

    Args:
        graph: Location of a folder or file of graph data; it names the source too. A folder may
            hold the company's own `ontology.yaml`, and a `mapping.yaml` for its CSV files.
        graph_uri: Bolt address; user, password and database come from the environment.
        out: Location of the report, a JSON file.

    Raises:
        InputError: The data cannot be read, too many rows are bad, or there is no address.
        GraphUnavailable: The graph cannot be reached.
        GraphQueryError: The graph refuses a write.
    """
    settings = GraphSettings.from_env(graph_uri)
    files = localise(graph)
    own = files / ONTOLOGY_FILE
    ontology = load_ontology(own if own.is_file() else None)
    with output_file(out) as report_path:
        with GraphWriter(settings) as writer:
            migrated = migrate(writer, ontology)
        report = load_graph_files(files, settings, source_id=source_name(graph), ontology=ontology)
        done = GraphLoad(report, migrated.applied, _fingerprint(settings))
        report_path.write_text(json.dumps(done.as_json(), indent=2) + "\n", encoding="utf-8")
    logger.info(
        "%s: %d nodes at %.0f/s, %d relationships at %.0f/s, %d written, %d quarantined",
        report.source_id,
        report.nodes.total,
        report.nodes.rows_per_s,
        report.relationships.total,
        report.relationships.rows_per_s,
        report.written,
        report.quarantined,
    )
    return done


def source_name(location: str) -> str:
    """The source id of a location: its last part, so that a moved folder is the same source."""
    last = location.rstrip("/").rsplit("/", 1)[-1]
    return last.replace(",", "_")[:100] or "graph"


def _fingerprint(settings: GraphSettings) -> str:
    async def read() -> str:
        async with GraphClient(settings) as client:
            return await fingerprint(client)

    # In a thread of its own: a notebook that calls this has an event loop running already.
    with ThreadPoolExecutor(max_workers=1) as executor:
        return executor.submit(lambda: asyncio.run(read())).result()
