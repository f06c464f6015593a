"""Makes every Cypher statement that no file holds: from checked names, and only here.

Values travel as parameters. A label or a type cannot be a parameter in Cypher, so `name` lets
none through that is no identifier.
"""

from __future__ import annotations

from collections.abc import Sequence

from kg_schema.ontology import IDENTIFIER, Ontology

MIGRATION_LABEL = "SchemaMigration"
LOCK_LABEL = "WriteLock"
# Labels of ours that no ontology names.
INTERNAL_LABELS = frozenset({MIGRATION_LABEL, LOCK_LABEL})
EMBEDDING = "embedding"
EMBEDDING_MODEL = "embedding_model"

# A row is written only where it is new, differs, or is news from this source; so a second equal
# load writes nothing. The list stays sorted because the source goes in at its place.
_WHERE_NEWS = """WHERE {v}.content_hash IS NULL OR {v}.content_hash <> row[{h}]
   OR NOT $source_id IN {v}.source_ids"""
# Only another content replaces what is there: the end that `policy set` gave a version and an
# article's embedding outlive a source that says the same.
_STAMP = """SET {v}.source_ids = [x IN sources WHERE x < $source_id] + [$source_id]
                     + [x IN sources WHERE x > $source_id],
    {v}.loaded_at = $loaded_at, {v}.batch_id = $batch_id
RETURN count({v}) AS written"""
_FIRST = "source_ids: [$source_id], loaded_at: $loaded_at, batch_id: $batch_id"
# Takes a source off; `shared` is how many are still said by another.
_UNSAY = """WHERE $source_id IN {v}.source_ids
WITH {v}, [x IN {v}.source_ids WHERE x <> $source_id] AS rest
SET {v}.source_ids = rest, {v}.loaded_at = $loaded_at, {v}.batch_id = $batch_id
RETURN sum(CASE size(rest) WHEN 0 THEN 0 ELSE 1 END) AS shared"""
# The same comparison without a write, for a dry run.
_COMPARE = """RETURN count(row) AS total,
       sum(CASE WHEN {v} IS NULL THEN 1 ELSE 0 END) AS created,
       sum(CASE WHEN {v} IS NULL THEN 0
                WHEN {v}.content_hash <> row[{h}] THEN 1
                WHEN NOT $source_id IN {v}.source_ids THEN 1 ELSE 0 END) AS changed"""


def name(identifier: str) -> str:
    """A label, type or property name as a statement may hold it.

    Raises:
        ValueError: It is no identifier; nothing else ever gets into a statement's text.
    """
    if not IDENTIFIER.fullmatch(identifier) or not identifier.isascii():
        raise ValueError(f"no identifier: {identifier!r}")
    return identifier


def merge_nodes(label: str, keys: Sequence[str]) -> str:
    """Writes `$rows` of [id, content hash, a value for each key] as nodes of a label.

    Values travel in columns and the load's stamps once a batch: with all of it in a map for each
    row the client takes more than twice the time to send, and the server a tenth more to write.

    Args:
        label: Of the nodes.
        keys: Their properties, less `id`; null stands for one that a node lacks.

    Returns:
        A statement that says how many it wrote.
    """
    return "\n".join(
        (
            "UNWIND $rows AS row",
            f"MERGE (n:{name(label)} {{id: row[0]}})",
            f"WITH n, row {_WHERE_NEWS.format(v='n', h=1)}",
            "WITH n, row, coalesce(n.source_ids, []) AS sources",
            "SET n = CASE WHEN n.content_hash = row[1] THEN properties(n) "
            f"ELSE {_values(0, ('id', 'content_hash', *keys))} END",
            _STAMP.format(v="n"),
        )
    )


def merge_relationships(kind: str, start: str, end: str, keys: Sequence[str]) -> str:
    """Writes `$rows` of [start, end, content hash, a value for each key] as `merge_nodes`."""
    return "\n".join(
        (
            "UNWIND $rows AS row",
            f"MATCH (a:{name(start)} {{id: row[0]}})",
            f"MATCH (b:{name(end)} {{id: row[1]}})",
            f"MERGE (a)-[r:{name(kind)}]->(b)",
            f"WITH r, row {_WHERE_NEWS.format(v='r', h=2)}",
            "WITH r, row, coalesce(r.source_ids, []) AS sources",
            "SET r = CASE WHEN r.content_hash = row[2] THEN properties(r) "
            f"ELSE {_values(2, ('content_hash', *keys))} END",
            _STAMP.format(v="r"),
        )
    )


def create_nodes(label: str, keys: Sequence[str]) -> str:
    """As `merge_nodes`, of a label that has no nodes yet: nothing is looked up."""
    return "\n".join(
        (
            "UNWIND $rows AS row",
            f"CREATE (n:{name(label)} {_values(0, ('id', 'content_hash', *keys), _FIRST)})",
            "RETURN count(n) AS written",
        )
    )


def create_relationships(kind: str, start: str, end: str, keys: Sequence[str]) -> str:
    """As `merge_relationships`, of a type that there is none of yet."""
    return "\n".join(
        (
            "UNWIND $rows AS row",
            f"MATCH (a:{name(start)} {{id: row[0]}})",
            f"MATCH (b:{name(end)} {{id: row[1]}})",
            f"CREATE (a)-[r:{name(kind)} {_values(2, ('content_hash', *keys), _FIRST)}]->(b)",
            "RETURN count(r) AS written",
        )
    )


def _values(first: int, keys: Sequence[str], *others: str) -> str:
    """A map of a row's values from its place `first` on, and of other entries."""
    held = [f"{name(key)}: row[{int(place)}]" for place, key in enumerate(keys, first)]
    return "{" + ", ".join((*held, *others)) + "}"


def any_node(label: str) -> str:
    """Whether there is a node of a label."""
    return f"MATCH (n:{name(label)}) RETURN n.id AS id LIMIT 1"


def any_relationship(kind: str) -> str:
    """Whether there is a relationship of a type."""
    return f"MATCH ()-[r:{name(kind)}]->() RETURN type(r) AS type LIMIT 1"


def compare_nodes(label: str) -> str:
    """Counts, of `$rows` as for `merge_nodes`, those it would create and change."""
    return "\n".join(
        (
            "UNWIND $rows AS row",
            f"OPTIONAL MATCH (n:{name(label)} {{id: row[0]}})",
            _COMPARE.format(v="n", h=1),
        )
    )


def compare_relationships(kind: str, start: str, end: str) -> str:
    """Counts, of `$rows` as for `merge_relationships`, those it would create and change."""
    return "\n".join(
        (
            "UNWIND $rows AS row",
            f"OPTIONAL MATCH (:{name(start)} {{id: row[0]}})-[r:{name(kind)}]->"
            f"(:{name(end)} {{id: row[1]}})",
            _COMPARE.format(v="r", h=2),
        )
    )


def nodes_of_source() -> str:
    """Label and id of the nodes that `$source_id` says, and of those that nobody says any more."""
    return (
        "MATCH (n) WHERE $source_id IN n.source_ids OR size(n.source_ids) = 0 "
        "RETURN labels(n)[0] AS label, n.id AS id"
    )


def relationships_of_source() -> str:
    """Type and ends of the relationships that `$source_id` says."""
    return (
        "MATCH (a)-[r]->(b) WHERE $source_id IN r.source_ids "
        "RETURN type(r) AS type, labels(a)[0] AS start_label, a.id AS start, "
        "labels(b)[0] AS end_label, b.id AS end"
    )


def delete_relationships(kind: str, start: str, end: str) -> str:
    """Deletes what of `$rows` of {start, end} `$source_id` alone says; returns how many."""
    return "\n".join(
        (
            _match_relationship(kind, start, end),
            "WHERE r.source_ids = [$source_id]",
            "DELETE r",
            "RETURN count(r) AS removed",
        )
    )


def sole_relationships(kind: str, start: str, end: str) -> str:
    """Which of `$rows` of {start, end} `$source_id` alone says."""
    return "\n".join(
        (
            _match_relationship(kind, start, end),
            "WHERE r.source_ids = [$source_id]",
            "RETURN row.start AS start, row.end AS end",
        )
    )


def unsay_relationships(kind: str, start: str, end: str) -> str:
    """Takes `$source_id` off `$rows` of {start, end}; returns how many others still say."""
    return f"{_match_relationship(kind, start, end)}\n{_UNSAY.format(v='r')}"


def _match_relationship(kind: str, start: str, end: str) -> str:
    return (
        "UNWIND $rows AS row\n"
        f"MATCH (:{name(start)} {{id: row.start}})-[r:{name(kind)}]->(:{name(end)} {{id: row.end}})"
    )


def unsay_nodes(label: str) -> str:
    """Takes `$source_id` off the nodes of `$ids`; returns how many others still say."""
    return f"UNWIND $ids AS id\nMATCH (n:{name(label)} {{id: id}})\n{_UNSAY.format(v='n')}"


def delete_nodes(label: str) -> str:
    """Deletes those of `$ids` that nobody says and no relationship holds; returns how many."""
    return "\n".join(
        (
            f"UNWIND $ids AS id\nMATCH (n:{name(label)} {{id: id}})",
            "WHERE size(n.source_ids) = 0 AND NOT EXISTS { (n)--() }",
            "DELETE n",
            "RETURN count(n) AS removed",
        )
    )


def degrees(label: str) -> str:
    """Of `$ids`, those that nobody but `$source_id` says, with their number of relationships."""
    return "\n".join(
        (
            f"UNWIND $ids AS id\nMATCH (n:{name(label)} {{id: id}})",
            "WHERE size(n.source_ids) = 0 OR n.source_ids = [$source_id]",
            "OPTIONAL MATCH (n)-[r]-()",
            "RETURN n.id AS id, count(DISTINCT r) AS degree",
        )
    )


def unsaid_nodes(label: str) -> str:
    """Which of `$ids` nobody says."""
    return (
        f"UNWIND $ids AS id\nMATCH (n:{name(label)} {{id: id}})\n"
        "WHERE size(n.source_ids) = 0 RETURN n.id AS id"
    )


def existing_ids(label: str) -> str:
    """Which of `$ids` are there, of a label."""
    return f"UNWIND $ids AS id MATCH (n:{name(label)} {{id: id}}) RETURN n.id AS id"


def lock_policy() -> str:
    """Finds a policy and makes others that change it wait: what is set anew is locked."""
    return "MATCH (o:Policy {id: $policy}) SET o.name = o.name RETURN o.name AS name"


def policy_name() -> str:
    """The name of a policy."""
    return "MATCH (o:Policy {id: $policy}) RETURN o.name AS name"


def policy_versions() -> str:
    """All versions of a policy, those that were corrected included, in the order recorded."""
    return (
        "MATCH (:Policy {id: $policy})-[:HAS_VERSION]->(v:PolicyVersion) "
        "RETURN v.id AS id, v.version AS version, v.text AS text, v.valid_from AS valid_from, "
        "v.valid_to AS valid_to, v.recorded_at AS recorded_at, "
        "v.superseded_at AS superseded_at, v.corrected_by AS corrected_by "
        "ORDER BY version, valid_from"
    )


def versions_by_id() -> str:
    """Hash and days of the versions of `$ids` that there are.

    A row for each policy that one is of, with the sources that say so; one with nulls for none.
    """
    return (
        "UNWIND $ids AS id MATCH (v:PolicyVersion {id: id}) "
        "OPTIONAL MATCH (o:Policy)-[r:HAS_VERSION]->(v) "
        "RETURN v.id AS id, v.content_hash AS content_hash, v.valid_from AS valid_from, "
        "v.valid_to AS valid_to, v.corrected_by AS corrected_by, o.id AS policy, "
        "r.source_ids AS said_by"
    )


def versions_of_policies() -> str:
    """Days of all versions of the policies of `$ids`, as `versions_by_id`."""
    return (
        "UNWIND $ids AS id MATCH (o:Policy {id: id})-[r:HAS_VERSION]->(v:PolicyVersion) "
        "RETURN v.id AS id, v.valid_from AS valid_from, v.valid_to AS valid_to, "
        "v.corrected_by AS corrected_by, o.id AS policy, r.source_ids AS said_by"
    )


def create_policy_version() -> str:
    """A new version `$props` of a policy; one that is there already is refused by its id."""
    return (
        "MATCH (o:Policy {id: $policy}) CREATE (v:PolicyVersion) SET v = $props "
        "CREATE (o)-[r:HAS_VERSION]->(v) SET r = $edge RETURN v.id AS id"
    )


def close_policy_version() -> str:
    """A version's last day; its `content_hash` stays that of what its source said."""
    return (
        "MATCH (v:PolicyVersion {id: $id}) "
        "SET v.valid_to = $valid_to, v.superseded_at = $recorded_at"
    )


def correct_policy_version() -> str:
    """Marks a version as corrected by another; as-of reads pass it over."""
    return (
        "MATCH (v:PolicyVersion {id: $id}) "
        "SET v.corrected_by = $corrected_by, v.superseded_at = $recorded_at"
    )


def record_change() -> str:
    """A change event of `$props`."""
    return "CREATE (e:ChangeEvent) SET e = $props"


def change_events() -> str:
    """The latest `$limit` changes of policies, of `$policy` alone where it is not null."""
    return (
        "MATCH (e:ChangeEvent) WHERE $policy IS NULL OR e.policy = $policy "
        "RETURN e.recorded_at AS recorded_at, e.kind AS kind, e.version AS version, "
        "e.previous AS previous, e.valid_from AS valid_from, e.fingerprint AS fingerprint "
        "ORDER BY recorded_at DESC, version DESC LIMIT $limit"
    )


def overlapping_versions() -> str:
    """Pairs of versions of one policy that are both in force on some day."""
    return (
        "MATCH (o:Policy)-[:HAS_VERSION]->(a:PolicyVersion) "
        "MATCH (o)-[:HAS_VERSION]->(b:PolicyVersion) "
        "WHERE a.id < b.id AND a.corrected_by IS NULL AND b.corrected_by IS NULL "
        "AND a.valid_from <= coalesce(b.valid_to, '9999') "
        "AND b.valid_from <= coalesce(a.valid_to, '9999') "
        "RETURN o.id AS policy, a.id AS one, b.id AS other ORDER BY policy, one, other"
    )


def gathered(text: str, columns: Sequence[str]) -> str:
    """A reviewed read's statement with all its rows in one record, a list of lists `facts`.

    The driver waits twice for every record that it receives: 80 facts as 80 records took it
    10 ms, as one record 4.
    """
    keys = ", ".join(map(name, columns))
    return "\n".join(("CALL {", text, "}", f"RETURN collect([{keys}]) AS facts"))


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
    """A cosine index over the embeddings of a label's nodes.

    Its graph has twice the links that Neo4j gives one: with 16 it finds 93% of the true nearest
    ten among 3,000. Neo4j compares in 8 bits, in which equally near ones change places; the read
    template compares what it found once more, exactly.
    """
    return (
        f"CREATE VECTOR INDEX {name(index)} IF NOT EXISTS FOR (n:{name(label)}) ON (n.{EMBEDDING}) "
        f"OPTIONS {{indexConfig: {{`vector.dimensions`: {int(dimensions)}, "
        "`vector.similarity_function`: 'cosine', `vector.hnsw.m`: 32, "
        "`vector.hnsw.ef_construction`: 200}}"
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


def standing_indexes() -> str:
    """Name, labels, properties and state of the indexes there are."""
    return "SHOW INDEXES YIELD name, labelsOrTypes, properties, state"


def node_properties_in_use() -> str:
    """Labels and the properties that their nodes have, each with its number."""
    return (
        "MATCH (n) UNWIND labels(n) AS name UNWIND keys(n) AS key "
        "RETURN name, key, count(n) AS total"
    )


def relationship_properties_in_use() -> str:
    """Types and the properties that their relationships have, each with its number."""
    return (
        "MATCH ()-[r]->() WITH r, type(r) AS name UNWIND keys(r) AS key "
        "RETURN name, key, count(r) AS total"
    )


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


def lock_constraint() -> str:
    """Keeps the write lock single."""
    return (
        f"CREATE CONSTRAINT {LOCK_LABEL.lower()}_name_unique IF NOT EXISTS "
        f"FOR (n:{LOCK_LABEL}) REQUIRE n.name IS UNIQUE"
    )


def take_lock() -> str:
    """Takes the write lock for `$owner` if it is free, `$gone`'s, or its time is over.

    Writing comes first: it makes others wait before they read whose it is.
    """
    return "\n".join(
        (
            f"MERGE (n:{LOCK_LABEL} {{name: 'schema'}})",
            "SET n.asked_by = $owner",
            "WITH n WHERE n.owner IS NULL OR n.owner = $gone OR n.until < timestamp()",
            "SET n.owner = $owner, n.until = timestamp() + $lease_ms",
            "RETURN n.owner AS owner",
        )
    )


def keep_lock() -> str:
    """Prolongs the lock of `$owner`; no row where it is another's."""
    return (
        f"MATCH (n:{LOCK_LABEL} {{name: 'schema'}}) WHERE n.owner = $owner "
        "SET n.until = timestamp() + $lease_ms RETURN n.owner AS owner"
    )


def release_lock() -> str:
    """Takes the lock of `$owner` away, and nobody else's.

    The node stays: of one that is deleted while they wait for it, two might read that it is free.
    """
    return (
        f"MATCH (n:{LOCK_LABEL} {{name: 'schema'}}) WHERE n.owner = $owner REMOVE n.owner, n.until"
    )


def lock_owner() -> str:
    """Whose the lock is."""
    return f"MATCH (n:{LOCK_LABEL} {{name: 'schema'}}) RETURN n.owner AS owner"
