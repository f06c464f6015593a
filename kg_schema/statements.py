"""Makes every Cypher statement that writes: from names of the checked ontology, and only here.

Values travel as parameters. A label or a type cannot be a parameter in Cypher, so `name` lets
none through that is no identifier.
"""

from __future__ import annotations

from collections.abc import Sequence

from kg_schema.ontology import IDENTIFIER, Ontology

MIGRATION_LABEL = "SchemaMigration"
EMBEDDING = "embedding"
EMBEDDING_MODEL = "embedding_model"

# A row is written only where it is new, differs, or is news from this source; so a second equal
# load writes nothing. The list stays sorted because the source goes in at its place.
_WHERE_NEWS = """WHERE {v}.content_hash IS NULL OR {v}.content_hash <> row.content_hash
   OR NOT $source_id IN {v}.source_ids"""
_STAMP = """SET {v} = row.props
SET {v}.content_hash = row.content_hash, {v}.loaded_at = $loaded_at, {v}.batch_id = $batch_id,
    {v}.source_ids = [x IN sources WHERE x < $source_id] + [$source_id]
                     + [x IN sources WHERE x > $source_id]
RETURN count({v}) AS written"""
# The same comparison without a write, for a dry run.
_COMPARE = """RETURN count(row) AS total,
       sum(CASE WHEN {v} IS NULL THEN 1 ELSE 0 END) AS created,
       sum(CASE WHEN {v} IS NULL THEN 0
                WHEN {v}.content_hash <> row.content_hash THEN 1
                WHEN NOT $source_id IN {v}.source_ids THEN 1 ELSE 0 END) AS changed"""


def name(identifier: str) -> str:
    """A label, type or property name as a statement may hold it.

    Raises:
        ValueError: It is no identifier; nothing else ever gets into a statement's text.
    """
    if not IDENTIFIER.fullmatch(identifier) or not identifier.isascii():
        raise ValueError(f"no identifier: {identifier!r}")
    return identifier


def merge_nodes(label: str) -> str:
    """Writes `$rows` of {id, content_hash, props} as nodes of a label; returns how many."""
    return "\n".join(
        (
            "UNWIND $rows AS row",
            f"MERGE (n:{name(label)} {{id: row.id}})",
            f"WITH n, row {_WHERE_NEWS.format(v='n')}",
            "WITH n, row, coalesce(n.source_ids, []) AS sources",
            _STAMP.format(v="n"),
        )
    )


def merge_relationships(kind: str, start: str, end: str) -> str:
    """Writes `$rows` of {start, end, content_hash, props} between two labels; returns how many."""
    return "\n".join(
        (
            "UNWIND $rows AS row",
            f"MATCH (a:{name(start)} {{id: row.start}})",
            f"MATCH (b:{name(end)} {{id: row.end}})",
            f"MERGE (a)-[r:{name(kind)}]->(b)",
            f"WITH r, row {_WHERE_NEWS.format(v='r')}",
            "WITH r, row, coalesce(r.source_ids, []) AS sources",
            _STAMP.format(v="r"),
        )
    )


def compare_nodes(label: str) -> str:
    """Counts, of `$rows` as for `merge_nodes`, those it would create and change."""
    return "\n".join(
        (
            "UNWIND $rows AS row",
            f"OPTIONAL MATCH (n:{name(label)} {{id: row.id}})",
            _COMPARE.format(v="n"),
        )
    )


def compare_relationships(kind: str, start: str, end: str) -> str:
    """Counts, of `$rows` as for `merge_relationships`, those it would create and change."""
    return "\n".join(
        (
            "UNWIND $rows AS row",
            f"OPTIONAL MATCH (:{name(start)} {{id: row.start}})-[r:{name(kind)}]->"
            f"(:{name(end)} {{id: row.end}})",
            _COMPARE.format(v="r"),
        )
    )


def existing_ids(label: str) -> str:
    """Which of `$ids` are there, of a label."""
    return f"UNWIND $ids AS id MATCH (n:{name(label)} {{id: id}}) RETURN n.id AS id"


def constraints(ontology: Ontology) -> list[str]:
    """Unique constraints of every unique property, named `<label>_<property>_unique`."""
    return [
        f"CREATE CONSTRAINT {name(label.lower())}_{name(key)}_unique IF NOT EXISTS "
        f"FOR (n:{name(label)}) REQUIRE n.{name(key)} IS UNIQUE"
        for label, held in ontology.labels.items()
        for key, kind in held.properties.items()
        if kind.unique
    ]


def full_text_index(index: str, label: str, properties: Sequence[str]) -> str:
    """A full-text index over a label's properties."""
    keys = ", ".join(f"n.{name(key)}" for key in properties)
    return (
        f"CREATE FULLTEXT INDEX {name(index)} IF NOT EXISTS FOR (n:{name(label)}) ON EACH [{keys}]"
    )


def vector_index(index: str, label: str, dimensions: int) -> str:
    """A cosine index over the embeddings of a label's nodes."""
    return (
        f"CREATE VECTOR INDEX {name(index)} IF NOT EXISTS FOR (n:{name(label)}) ON (n.{EMBEDDING}) "
        f"OPTIONS {{indexConfig: {{`vector.dimensions`: {int(dimensions)}, "
        "`vector.similarity_function`: 'cosine'}}"
    )


def unembedded(label: str, properties: Sequence[str]) -> str:
    """Ids after `$after` and texts of `$limit` nodes that `$model` has not embedded."""
    texts = ", ".join(f"n.{name(key)}" for key in properties)
    return (
        f"MATCH (n:{name(label)}) WHERE n.id > $after "
        f"AND coalesce(n.{EMBEDDING_MODEL}, '') <> $model "
        f"RETURN n.id AS id, [{texts}] AS texts ORDER BY n.id LIMIT $limit"
    )


def store_embeddings(label: str) -> str:
    """Writes `$rows` of {id, vector} to nodes, and which model made them; returns how many.

    A changed row loses both again: `merge_nodes` puts its properties in the place of all others.
    """
    return "\n".join(
        (
            "UNWIND $rows AS row",
            f"MATCH (n:{name(label)} {{id: row.id}})",
            f"SET n.{EMBEDDING} = row.vector, n.{EMBEDDING_MODEL} = $model",
            "RETURN count(n) AS written",
        )
    )


def drop_index(index: str) -> str:
    """Takes an index away, if it is there."""
    return f"DROP INDEX {name(index)} IF EXISTS"


def await_indexes() -> str:
    """Waits until new indexes answer; Neo4j fills them behind the statement's back."""
    return "CALL db.awaitIndexes(300)"


def standing_constraints() -> str:
    """Kind, labels and properties of the constraints there are."""
    return "SHOW CONSTRAINTS YIELD type, labelsOrTypes, properties"


def labels_in_use() -> str:
    """Labels of the nodes there are, each with their number."""
    return "MATCH (n) UNWIND labels(n) AS label RETURN label AS name, count(n) AS total"


def types_in_use() -> str:
    """Types of the relationships there are, each with their number."""
    return "MATCH ()-[r]->() RETURN type(r) AS name, count(r) AS total"


def migration_constraint() -> str:
    """Keeps two processes from recording one migration twice."""
    return (
        f"CREATE CONSTRAINT {MIGRATION_LABEL.lower()}_version_unique IF NOT EXISTS "
        f"FOR (n:{MIGRATION_LABEL}) REQUIRE n.version IS UNIQUE"
    )


def applied_migrations() -> str:
    """Version, name and checksum of the migrations that were applied."""
    return (
        f"MATCH (n:{MIGRATION_LABEL}) RETURN n.version AS version, n.name AS name, "
        "n.checksum AS checksum, n.applied_at AS applied_at ORDER BY version"
    )


def record_migration() -> str:
    """Records an applied migration; a repeatable one again, with its new checksum."""
    return (
        f"MERGE (n:{MIGRATION_LABEL} {{version: $version}}) "
        "SET n.name = $name, n.checksum = $checksum, n.applied_at = $applied_at"
    )
