"""Brings a database to the schema: numbered files once, the ontology's constraints on change.

A `V<number>__<name>.cypher` file is applied once and never changed again: its checksum stands in
a `:SchemaMigration` node. What the ontology implies (unique constraints, search indexes) is made
again whenever the ontology changes. A lock lets one process at a time migrate. Every statement
says `IF NOT EXISTS`, so that a migration which was cut off is simply applied again.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from kg_schema import statements
from kg_schema.connection import GraphUnavailable
from kg_schema.engines import (
    ArcadeHttp,
    Engine,
    Refused,
    search_indexes,
    search_statements,
    vector_indexes,
    vector_statements,
)
from kg_schema.errors import DeskGraphError, InputError
from kg_schema.ontology import Ontology
from kg_schema.write_lock import WriteLock
from kg_schema.writer import GraphWriter

_FILE = re.compile(r"^(V\d{3,})__([a-z][a-z0-9_]*)\.cypher$")
CONSTRAINTS = "R_constraints"
SEARCH = "R_search"
VECTORS = "R_vectors"


class MigrationError(InputError):
    """The database and the migration files do not belong together."""


@dataclass(frozen=True)
class Migration:
    """One step of the schema.

    Attributes:
        version: `V001` for a file; `R_…` for what the ontology implies.
        name: What it does.
        statements: Its statements, in order.
        checksum: SHA-256 of what it holds.
    """

    version: str
    name: str
    statements: tuple[str, ...]
    checksum: str

    @property
    def repeatable(self) -> bool:
        """Whether a changed one is applied again, instead of refused."""
        return not self.version.startswith("V")


@dataclass(frozen=True)
class MigrationReport:
    """What a migration did.

    Attributes:
        engine: Which engine it is.
        applied: Versions applied now.
        unchanged: Versions that stood already.
    """

    engine: Engine
    applied: tuple[str, ...]
    unchanged: tuple[str, ...]


def read_migrations(folder: Path | None = None) -> list[Migration]:
    """The migration files, in order.

    Args:
        folder: Where they are; the package's own by default.

    Raises:
        MigrationError: A file's name has another form, or two have one version.
    """
    place = files("kg_schema").joinpath("migrations") if folder is None else folder
    found: dict[str, Migration] = {}
    for entry in place.iterdir():
        if not entry.name.endswith(".cypher"):
            continue
        match = _FILE.match(entry.name)
        if match is None:
            raise MigrationError("not named V001__what_it_does.cypher", where=entry.name)
        version, name = match.groups()
        if version in found:
            raise MigrationError(f"{version} is there twice", where=entry.name)
        text = entry.read_text(encoding="utf-8").replace("\r\n", "\n")
        checksum = hashlib.sha256(text.encode()).hexdigest()
        found[version] = Migration(version, name, tuple(_split(text)), checksum)
    return sorted(found.values(), key=lambda migration: int(migration.version[1:]))


def _split(text: str) -> list[str]:
    """Statements end with `;` at a line's end; lines of remarks begin with `//`."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("//")]
    parts = re.split(r";[ \t]*(?:\n|$)", "\n".join(lines))
    return [part.strip() for part in parts if part.strip()]


def ontology_migrations(ontology: Ontology, engine: Engine) -> list[Migration]:
    """What an ontology implies on an engine: unique constraints and search indexes."""
    indexes = [
        statement
        for index in search_indexes(ontology)
        for statement in search_statements(engine, index)
    ]
    vectors = [
        statement
        for vector_index in vector_indexes(ontology)
        for statement in vector_statements(engine, vector_index)
    ]
    return [
        _generated(CONSTRAINTS, "unique constraints", statements.constraints(ontology)),
        _generated(SEARCH, "full-text indexes", indexes),
        _generated(VECTORS, "vector indexes", vectors),
    ]


def _generated(version: str, name: str, made: list[str]) -> Migration:
    checksum = hashlib.sha256("\n".join(made).encode()).hexdigest()
    return Migration(version, name, tuple(made), checksum)


def pending(
    writer: GraphWriter, ontology: Ontology, folder: Path | None = None
) -> tuple[list[Migration], list[Migration]]:
    """The migrations a database still wants, and those it has.

    Raises:
        MigrationError: An applied file was changed since, or is not here.
        GraphUnavailable: The database cannot be reached.
    """
    wanted = [*ontology_migrations(ontology, writer.engine()), *read_migrations(folder)]
    rows = writer.read(statements.applied_migrations(), what="read migrations")
    applied = {str(row["version"]): str(row["checksum"]) for row in rows}
    unknown = sorted(set(applied) - {migration.version for migration in wanted})
    if unknown:
        raise MigrationError(
            f"the database has {unknown[0]}, which is not among the files",
            where=writer.settings.address,
            fix="use the release that applied it, or a newer one",
        )
    missing, standing = [], []
    for migration in wanted:
        checksum = applied.get(migration.version)
        if checksum == migration.checksum:
            standing.append(migration)
        elif checksum is None or migration.repeatable:
            missing.append(migration)
        else:
            raise MigrationError(
                f"{migration.version}__{migration.name} was applied and has changed since",
                where=writer.settings.address,
                fix="put the file back as it was and write a new one",
            )
    return missing, standing


def migrate(writer: GraphWriter, ontology: Ontology, folder: Path | None = None) -> MigrationReport:
    """Applies what is pending, one process at a time; with nothing pending it writes nothing.

    Args:
        writer: The database.
        ontology: Whose constraints and search indexes to make.
        folder: The migration files; the package's own by default.

    Raises:
        MigrationError: An applied file was changed since; nothing was applied.
        WriteLockError: Another process migrates it, for longer than one waits.
        GraphUnavailable: The database cannot be reached.
        GraphQueryError: The database refuses a statement.
    """
    engine = writer.engine()
    missing, standing = pending(writer, ontology, folder)
    if missing:
        with WriteLock(writer.settings) as lock:
            # Who waited for another finds done what that one did.
            missing, standing = pending(writer, ontology, folder)
            _apply_all(writer, engine, missing, lock)
    return MigrationReport(
        engine=engine,
        applied=tuple(migration.version for migration in missing),
        unchanged=tuple(migration.version for migration in standing),
    )


def _apply_all(
    writer: GraphWriter, engine: Engine, missing: list[Migration], lock: WriteLock
) -> None:
    writer.administer(statements.migration_constraint(), what="prepare migrations")
    for migration in missing:
        lock.require(writer)
        _apply(writer, engine, migration)
        lock.require(writer)
        writer.write(
            statements.record_migration(),
            {
                "version": migration.version,
                "name": migration.name,
                "checksum": migration.checksum,
                "applied_at": datetime.now(UTC).isoformat(timespec="seconds"),
            },
            what=f"record {migration.version}",
        )
    if missing and engine is Engine.NEO4J:
        writer.administer(statements.await_indexes(), what="wait for indexes")


def _apply(writer: GraphWriter, engine: Engine, migration: Migration) -> None:
    if migration.version in (SEARCH, VECTORS) and engine is Engine.EMBEDDED:
        _apply_over_http(writer, migration)
        return
    for statement in migration.statements:
        writer.administer(statement, what=f"apply {migration.version}")


def _apply_over_http(writer: GraphWriter, migration: Migration) -> None:
    server = ArcadeHttp(writer.settings)
    host, port = writer.settings.http_address
    try:
        for statement in migration.statements:
            server.sql(statement)
    except OSError as error:
        raise GraphUnavailable(
            f"no answer on the engine's HTTP port ({type(error).__name__})",
            where=f"{host}:{port}",
            fix="set NEO4J_HTTP_URI to it",
        ) from None
    except Refused as refusal:
        raise DeskGraphError(
            f"apply {migration.version}: the engine refuses an index: {refusal}",
            where=f"{host}:{port}",
        ) from None
