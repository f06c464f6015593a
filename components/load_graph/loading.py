"""Brings the graph to its schema, loads a company's graph files and embeds its articles."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

from components.base_model import MINILM
from components.storage import localise, output_file
from kg_schema.client import GraphSettings
from kg_schema.embeddings import embed_nodes
from kg_schema.errors import InputError
from kg_schema.load import LoadReport, load_graph_files
from kg_schema.migrate import migrate
from kg_schema.ontology import Ontology, load_ontology
from kg_schema.policies import read_fingerprint
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
        encoder: Id of the model of the embeddings; empty where none was to be had.
        embedded: Embeddings written now.
    """

    report: LoadReport
    migrations: tuple[str, ...]
    fingerprint: str
    encoder: str = ""
    embedded: int = 0

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            **self.report.as_json(),
            "migrations": list(self.migrations),
            "fingerprint": self.fingerprint,
            "encoder": self.encoder,
            "embedded": self.embedded,
        }


def load_graph(graph: str, graph_uri: str, out: str, encoder: str = MINILM) -> GraphLoad:
    """Migrates the graph, loads its files, embeds articles; a second identical load writes nothing.

    Args:
        graph: Location of a folder or file of graph data; it names the source too. A folder may
            hold the company's own `ontology.yaml`, and a `mapping.yaml` for its CSV files.
        graph_uri: Bolt address; user, password and database come from the environment.
        out: Location of the report, a JSON file.
        encoder: Base encoder of the embeddings: `minilm`, or where its folder is. Where it is not
            to be had, articles are found by their words alone, and the log and the report say so.

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
        model, embedded = embed_articles(settings, ontology, encoder)
        done = GraphLoad(report, migrated.applied, read_fingerprint(settings), model, embedded)
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


def embed_articles(
    settings: GraphSettings, ontology: Ontology, encoder: str = MINILM
) -> tuple[str, int]:
    """Embeds what is new or has changed, for vector search.

    Args:
        settings: The graph.
        ontology: Says what is embedded.
        encoder: As `load_graph`.

    Returns:
        The encoder's id, empty where none is to be had, and how many embeddings were written.

    Raises:
        GraphUnavailable: The graph cannot be reached.
        GraphQueryError: The graph refuses a write.
    """
    if not any(ontology.embedded()):
        return "", 0
    try:
        # A base install has nothing that runs an encoder, and loads graphs all the same.
        from components.encoder import encoder_id, open_encoder

        model = encoder_id(encoder)
    except InputError as error:
        logger.warning("articles are found by their words alone: %s", error)
        return "", 0
    except ModuleNotFoundError as error:
        logger.warning("articles are found by their words alone: no %s is installed", error.name)
        return "", 0
    with GraphWriter(settings) as writer:
        return model, embed_nodes(writer, ontology, model, lambda: open_encoder(encoder))


def source_name(location: str) -> str:
    """The source id of a location: its last part, so that a moved folder is the same source."""
    last = location.rstrip("/").rsplit("/", 1)[-1]
    return last.replace(",", "_")[:100] or "graph"
