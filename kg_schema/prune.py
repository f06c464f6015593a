"""Takes out of the graph what a source no longer says, and nothing that another still says.

A relationship or node loses the source's id, and goes when that was its last. A node that nobody
says stays as long as a relationship ends at it, for deleting it would take away what another
source says; it is reported as held, and goes with the first pruning that finds it free. All is
found in one pass over what the source says. A pruning that was killed is simply repeated.

Where two sources gave a node different properties, those written last stay until the other is
loaded again.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from kg_schema import statements
from kg_schema.connection import GraphSettings
from kg_schema.write_lock import WriteLock
from kg_schema.writer import GraphWriter

BATCH = 2_000
SHOWN_HELD = 20

Row = TypeVar("Row")
Kind = tuple[str, str, str]


@dataclass(frozen=True)
class PruneCounts:
    """What became of the nodes, or of the relationships, that a source no longer says.

    Attributes:
        removed: Those nobody else says.
        shared: Those another source still says; they only lost this one's id.
        held: Nodes nobody says that a relationship still ends at.
    """

    removed: int = 0
    shared: int = 0
    held: int = 0


@dataclass(frozen=True)
class PruneReport:
    """What a pruning did, or on a dry run would do.

    Attributes:
        source_id: Whose word was taken back.
        nodes: What became of nodes.
        relationships: What became of relationships.
        held: The first 20 nodes that are held, as `Label/id`.
        refused: Why nothing was pruned; empty where it was.
        dry_run: Whether it only counted.
    """

    source_id: str
    nodes: PruneCounts = PruneCounts()
    relationships: PruneCounts = PruneCounts()
    held: tuple[str, ...] = ()
    refused: str = ""
    dry_run: bool = False

    @property
    def written(self) -> int:
        """Nodes and relationships that were removed or lost the source's id."""
        both = (self.nodes, self.relationships)
        return sum(counts.removed + counts.shared for counts in both)


def withdraw_source(
    settings: GraphSettings, source_id: str, *, dry_run: bool = False
) -> PruneReport:
    """Takes back everything that a source says; again, it finds nothing to do.

    Args:
        settings: The database.
        source_id: Who says it.
        dry_run: Counts what would go and writes nothing.

    Raises:
        WriteLockError: Another process writes to the database, for longer than one waits.
        GraphUnavailable: The database cannot be reached; repeating takes up where it ended.
        GraphQueryError: The database refuses a write.
    """
    stamp = {
        "source_id": source_id,
        "batch_id": hashlib.sha256(f"withdraw {source_id}".encode()).hexdigest()[:12],
        "loaded_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    # A load of the same source under way would write what is taken back here.
    with GraphWriter(settings) as writer, nullcontext() if dry_run else WriteLock(settings):
        return Pruner(writer, stamp, dry_run=dry_run).prune(said={}, outside=())


@dataclass
class _Stale:
    """What the database holds of a source and its files do not say."""

    nodes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    edges: dict[Kind, list[dict[str, str]]] = field(default_factory=lambda: defaultdict(list))


class Pruner:
    """Takes a source's id off what it no longer says.

    Args:
        writer: The database.
        stamp: source_id, batch_id and loaded_at; the last two mark what loses the id.
        dry_run: Counts and writes nothing.
    """

    def __init__(self, writer: GraphWriter, stamp: Mapping[str, str], *, dry_run: bool) -> None:
        self._writer = writer
        self._stamp = dict(stamp)
        self._source = {"source_id": stamp["source_id"]}
        self._dry_run = dry_run
        self._held: list[str] = []

    def prune(self, said: Collection[int], outside: Collection[int]) -> PruneReport:
        """Prunes all but what is said; relationships first, so that they hold no node.

        Args:
            said: Identities of the rows that the source's files hold.
            outside: Identities of nodes that the files do not hold and their relationships
                reach; a dry run counts them as held.

        Raises:
            GraphUnavailable: The database cannot be reached.
            GraphQueryError: The database refuses a write.
        """
        stale = self._find(said)
        if self._dry_run:
            nodes, edges = self._count(stale, outside)
        else:
            edges = self._remove_edges(stale)
            nodes = self._remove_nodes(stale)
        return PruneReport(
            source_id=self._source["source_id"],
            nodes=nodes,
            relationships=edges,
            held=tuple(self._held[:SHOWN_HELD]),
            dry_run=self._dry_run,
        )

    def _find(self, said: Collection[int]) -> _Stale:
        stale = _Stale()
        what = "read what a source says"
        for row in self._writer.stream(statements.nodes_of_source(), self._source, what=what):
            if hash((row["label"], row["id"])) not in said:
                stale.nodes[row["label"]].append(row["id"])
        for row in self._writer.stream(
            statements.relationships_of_source(), self._source, what=what
        ):
            ends = (row["start_label"], row["start"], row["end_label"], row["end"])
            if hash((row["type"], *ends)) not in said:
                kind = (row["type"], row["start_label"], row["end_label"])
                stale.edges[kind].append({"start": row["start"], "end": row["end"]})
        return stale

    def _remove_edges(self, stale: _Stale) -> PruneCounts:
        removed = shared = 0
        for kind, rows in stale.edges.items():
            for batch in _batches(rows):
                removed += self._write(
                    statements.delete_relationships(*kind), "removed", rows=batch
                )
                shared += self._write(statements.unsay_relationships(*kind), "shared", rows=batch)
        return PruneCounts(removed=removed, shared=shared)

    def _remove_nodes(self, stale: _Stale) -> PruneCounts:
        removed = shared = held = 0
        for label, ids in stale.nodes.items():
            for batch in _batches(ids):
                shared += self._write(statements.unsay_nodes(label), "shared", ids=batch)
                removed += self._write(statements.delete_nodes(label), "removed", ids=batch)
                held += self._hold(label, self._read(statements.unsaid_nodes(label), ids=batch))
        return PruneCounts(removed=removed, shared=shared, held=held)

    def _hold(self, label: str, rows: Sequence[Mapping[str, object]]) -> int:
        self._held.extend(f"{label}/{row['id']}" for row in rows)
        return len(rows)

    def _count(self, stale: _Stale, outside: Collection[int]) -> tuple[PruneCounts, PruneCounts]:
        """What writing would do: a node goes if all its relationships go."""
        going: Counter[tuple[str, str]] = Counter()
        edges = 0
        for (kind, start, end), rows in stale.edges.items():
            for ends in _batches(rows):
                found = self._read(statements.sole_relationships(kind, start, end), rows=ends)
                edges += len(found)
                for row in found:
                    going.update({(start, row["start"]), (end, row["end"])})
        removed = held = 0
        for label, ids in stale.nodes.items():
            for batch in _batches(ids):
                for row in self._read(statements.degrees(label), ids=batch):
                    key = (label, str(row["id"]))
                    if row["degree"] == going[key] and hash(key) not in outside:
                        removed += 1
                    else:
                        held += self._hold(label, [row])
        all_edges = sum(map(len, stale.edges.values()))
        all_nodes = sum(map(len, stale.nodes.values()))
        return (
            PruneCounts(removed=removed, shared=all_nodes - removed - held, held=held),
            PruneCounts(removed=edges, shared=all_edges - edges),
        )

    def _write(self, statement: str, counted: str, **given: object) -> int:
        rows, _ = self._writer.write(statement, {**given, **self._stamp}, what="prune")
        return int(rows[0][counted])

    def _read(self, statement: str, **given: object) -> list[dict[str, Any]]:
        return self._writer.read(statement, {**given, **self._source}, what="prune")


def _batches(rows: Sequence[Row]) -> Iterator[list[Row]]:
    for first in range(0, len(rows), BATCH):
        yield list(rows[first : first + BATCH])
