"""What differs between the engines that speak Bolt: here, and nowhere else."""

from __future__ import annotations

import http.client
import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from kg_schema import statements
from kg_schema.connection import GraphSettings
from kg_schema.ontology import Ontology

HTTP_TIMEOUT_S = 120.0


class Engine(StrEnum):
    """A database engine that the official driver reaches over Bolt."""

    EMBEDDED = "embedded"
    NEO4J = "neo4j"


class Refused(Exception):
    """A server answers and does not do what was asked; says why."""


def engine_of(agent: str) -> Engine:
    """The engine behind a server's agent string; the embedded one says it is compatible."""
    return Engine.EMBEDDED if "arcadedb" in agent.lower() else Engine.NEO4J


def parallel_writes(engine: Engine) -> int:
    """How many transactions a load may have open at once.

    Neo4j makes those wait that touch the same nodes; the embedded engine refuses them.
    """
    return 2 if engine is Engine.NEO4J else 1


@dataclass(frozen=True)
class SearchIndex:
    """A full-text index, read with `db.index.fulltext.queryNodes(name, …)` on both engines."""

    name: str
    label: str
    properties: tuple[str, ...]
    lists: bool


def search_indexes(ontology: Ontology) -> Iterator[SearchIndex]:
    """The full-text indexes of an ontology.

    `<label>_text` covers a label's searchable strings. A list has an index of its own,
    `<label>_<property>_text`, because the embedded engine indexes the items of one list alone.
    """
    for label, keys in ontology.searchable():
        kinds = ontology.labels[label].properties
        texts = tuple(key for key in keys if kinds[key].type == "string")
        if texts:
            yield SearchIndex(f"{label.lower()}_text", label, texts, lists=False)
        for key in keys:
            if kinds[key].type == "strings":
                yield SearchIndex(f"{label.lower()}_{key}_text", label, (key,), lists=True)


def search_statements(engine: Engine, index: SearchIndex) -> list[str]:
    """What makes an index anew: Cypher on Neo4j, SQL on the embedded engine (over HTTP).

    It is dropped first: `IF NOT EXISTS` would keep one that covers fewer properties.
    """
    label = statements.name(index.label)
    keys = [statements.name(key) for key in index.properties]
    if engine is Engine.NEO4J:
        return [
            statements.drop_index(index.name),
            statements.full_text_index(index.name, index.label, index.properties),
        ]
    kind = "LIST OF STRING" if index.lists else "STRING"
    item = " BY ITEM" if index.lists else ""
    return [
        f"CREATE VERTEX TYPE {label} IF NOT EXISTS",
        *(f"CREATE PROPERTY {label}.{key} IF NOT EXISTS {kind}" for key in keys),
        f"DROP INDEX {statements.name(index.name)} IF EXISTS",
        f"CREATE INDEX {statements.name(index.name)} IF NOT EXISTS ON {label} "
        f"({', '.join(keys)}{item}) FULL_TEXT",
    ]


def indexed_property(shown: str) -> str:
    """A property as `SHOW INDEXES` names it; the embedded engine says that a list is split."""
    return shown.removesuffix(" by item")


@dataclass(frozen=True)
class VectorIndex:
    """A cosine index, read with `db.index.vector.queryNodes(name, …)` on both engines."""

    name: str
    label: str
    dimensions: int


def vector_indexes(ontology: Ontology) -> Iterator[VectorIndex]:
    """The vector indexes of an ontology, `<label>_vector` each."""
    for label, embedding in ontology.embedded():
        yield VectorIndex(f"{label.lower()}_vector", label, embedding.dimensions)


def vector_statements(engine: Engine, index: VectorIndex) -> list[str]:
    """What makes a vector index anew; languages and the reason to drop as `search_statements`."""
    if engine is Engine.NEO4J:
        return [
            statements.drop_index(index.name),
            statements.vector_index(index.name, index.label, index.dimensions),
        ]
    label, made = statements.name(index.label), statements.name(index.name)
    key = statements.EMBEDDING
    return [
        f"CREATE VERTEX TYPE {label} IF NOT EXISTS",
        f"CREATE PROPERTY {label}.{key} IF NOT EXISTS ARRAY_OF_FLOATS",
        f"DROP INDEX {made} IF EXISTS",
        f"CREATE INDEX {made} IF NOT EXISTS ON {label} ({key}) LSM_VECTOR "
        f"METADATA {{dimensions: {index.dimensions:d}, similarity: 'COSINE'}}",
    ]


class ArcadeHttp:
    """The embedded engine's HTTP side, for the few things that its Bolt side refuses."""

    def __init__(self, settings: GraphSettings) -> None:
        self._host, self._port = settings.http_address
        self._database = settings.database
        secret = b64encode(f"{settings.username}:{settings.password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {secret}", "Content-Type": "application/json"}

    def command(self, command: str) -> dict[str, object]:
        """Runs a server command.

        Raises:
            Refused: The server answers with an error.
            OSError: It cannot be reached.
        """
        return self._post("/api/v1/server", {"command": command})

    def sql(self, statement: str) -> dict[str, object]:
        """Runs one SQL statement on the database; errors as `command`."""
        body = {"language": "sql", "command": statement}
        return self._post(f"/api/v1/command/{self._database}", body)

    def _post(self, path: str, body: dict[str, str]) -> dict[str, object]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=HTTP_TIMEOUT_S)
        try:
            connection.request("POST", path, json.dumps(body), self._headers)
            response = connection.getresponse()
            answer = json.loads(response.read() or b"{}")
        except (http.client.HTTPException, json.JSONDecodeError) as error:
            raise ConnectionError(type(error).__name__) from error
        finally:
            connection.close()
        if response.status >= http.client.BAD_REQUEST:
            raise Refused(str(answer.get("detail") or answer.get("error") or response.status))
        return dict(answer)
