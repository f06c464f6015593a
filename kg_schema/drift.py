"""Compares a database with the ontology and the migrations, and says in words what drifted.

What somebody added for their own use, such as one more index, is no drift. What is missing, what
was changed, and data that the ontology does not know, is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kg_schema import statements
from kg_schema.engines import indexed_property, search_indexes, vector_indexes
from kg_schema.migrate import MigrationError, pending, read_migrations
from kg_schema.ontology import BOOKKEEPING, Label, Ontology, Relationship
from kg_schema.statements import EMBEDDING
from kg_schema.writer import GraphWriter

# The embedded engine lists the types of indexed properties among its constraints.
UNIQUE = "UNIQUENESS"
ONLINE = "ONLINE"
_CREATES = re.compile(r"\bCREATE\s+(?:[A-Z]+\s+)?INDEX\s+(\w+)")


@dataclass(frozen=True)
class _Index:
    label: str
    properties: frozenset[str]
    online: bool


def find_drift(writer: GraphWriter, ontology: Ontology, folder: Path | None = None) -> list[str]:
    """What differs, one line a difference; empty where all agree.

    Args:
        writer: The database.
        ontology: What it may hold.
        folder: The migration files; the package's own by default.

    Raises:
        MigrationError: A file of migrations has a wrong name.
        GraphUnavailable: The database cannot be reached.
        GraphQueryError: The database refuses a read.
    """
    return [
        *_migrations(writer, ontology, folder),
        *_constraints(writer, ontology),
        *_indexes(writer, ontology, folder),
        *_data(writer, ontology),
        *_versions(writer),
    ]


def _migrations(writer: GraphWriter, ontology: Ontology, folder: Path | None) -> Iterator[str]:
    try:
        missing, _ = pending(writer, ontology, folder)
    except MigrationError as changed:
        yield changed.what
        return
    for migration in missing:
        yield f"pending: {migration.version} {migration.name}"


def _constraints(writer: GraphWriter, ontology: Ontology) -> Iterator[str]:
    rows = writer.read(statements.standing_constraints(), what="read constraints")
    standing = {
        (row["labelsOrTypes"][0], row["properties"][0]) for row in rows if UNIQUE in row["type"]
    }
    wanted = {
        (label, key)
        for label, kind in ontology.labels.items()
        for key, value in kind.properties.items()
        if value.unique
    }
    for label, key in sorted(wanted - standing):
        yield f"no unique constraint on {label}.{key}"


def _indexes(writer: GraphWriter, ontology: Ontology, folder: Path | None) -> Iterator[str]:
    standing = {
        str(row["name"]): _Index(
            label=row["labelsOrTypes"][0],
            properties=frozenset(map(indexed_property, row["properties"])),
            online=row["state"] == ONLINE,
        )
        for row in writer.read(statements.standing_indexes(), what="read indexes")
        if row["labelsOrTypes"] and row["properties"]
    }
    searched = {
        **{i.name: (i.label, frozenset(i.properties)) for i in search_indexes(ontology)},
        **{i.name: (i.label, frozenset({EMBEDDING})) for i in vector_indexes(ontology)},
    }
    filed = {
        name
        for migration in read_migrations(folder)
        for statement in migration.statements
        for name in _CREATES.findall(statement)
    }
    for name in sorted(filed | set(searched)):
        found, search = standing.get(name), searched.get(name)
        if found is None:
            yield f"no index {name}"
        elif search and (found.label, found.properties) != search:
            covered = ", ".join(sorted(found.properties))
            yield f"index {name} covers {found.label} ({covered}), not what the ontology says"
        elif not found.online:
            yield f"index {name} does not answer yet, or failed"


def _data(writer: GraphWriter, ontology: Ontology) -> Iterator[str]:
    labels = writer.read(statements.labels_in_use(), what="read labels")
    known = set(ontology.labels) | statements.INTERNAL_LABELS
    for label in sorted({str(row["name"]) for row in labels} - known):
        yield f"label {label} is not in the ontology"
    types = writer.read(statements.types_in_use(), what="read types")
    for kind in sorted({str(row["name"]) for row in types} - set(ontology.relationships)):
        yield f"relationship {kind} is not in the ontology"
    for statement, declared in (
        (statements.node_properties_in_use(), _declared(ontology.labels)),
        (statements.relationship_properties_in_use(), _declared(ontology.relationships)),
    ):
        rows = writer.read(statement, what="read properties")
        for row in sorted(rows, key=lambda row: (row["name"], row["key"])):
            if row["name"] in declared and row["key"] not in declared[row["name"]]:
                yield (
                    f"property {row['name']}.{row['key']} is not in the ontology "
                    f"({row['total']:,} have it)"
                )


def _declared(kinds: Mapping[str, Label] | Mapping[str, Relationship]) -> dict[str, set[str]]:
    return {name: {*kind.properties, *BOOKKEEPING} for name, kind in kinds.items()}


def _versions(writer: GraphWriter) -> Iterator[str]:
    rows = writer.read(statements.overlapping_versions(), what="read policy versions")
    for row in rows:
        yield f"{row['policy']}: {row['one']} and {row['other']} hold on the same days"
