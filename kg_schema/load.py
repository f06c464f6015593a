"""Loads files into the graph: all checked first, then nodes, then relationships, in batches.

What was written before is written again nowhere: a node or relationship changes only where its
content does or where a source says it for the first time. So a load that was killed is simply
repeated, and ends in the same graph.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kg_schema import statements
from kg_schema.checking import Checked, Checker, Source, open_source
from kg_schema.connection import GraphSettings
from kg_schema.engines import parallel_writes
from kg_schema.errors import InputError
from kg_schema.migrate import pending
from kg_schema.ontology import Ontology, load_ontology
from kg_schema.policy_overlap import require_one_version_a_day
from kg_schema.progress import Progress
from kg_schema.prune import Pruner, PruneReport
from kg_schema.rows import BadRow
from kg_schema.spool import Kind, Spool
from kg_schema.write_lock import WriteLock
from kg_schema.writer import GraphWriter

MIN_BATCH, MAX_BATCH = 1_000, 10_000
LOOKUP_BATCH = 5_000
SHOWN_BAD_ROWS = 20
_SOURCE_ID = re.compile(r"^[^\s,][^,\n]{0,99}$")


@dataclass(frozen=True)
class LoadOptions:
    """How a load goes.

    Args:
        batch_size: Rows a transaction, 1,000 to 10,000.
        bad_share: Share of bad rows above which nothing is loaded.
        dry_run: Counts what would be written and writes nothing.
        prune: Takes back, after the load, what the source no longer says: the files are then all
            that it says. Nothing is taken back where a row was bad, for a row that cannot be
            read may be one that stands in the graph.
        quarantine: File for the bad rows, JSON Lines; None keeps them in the report alone.
    """

    batch_size: int = 2_000
    bad_share: float = 0.01
    dry_run: bool = False
    prune: bool = False
    quarantine: Path | None = None

    def __post_init__(self) -> None:
        """Checks the bounds.

        Raises:
            InputError: A value lies outside them.
        """
        if not MIN_BATCH <= self.batch_size <= MAX_BATCH:
            raise InputError(f"batch_size lies outside {MIN_BATCH:,}..{MAX_BATCH:,}")
        if not 0 <= self.bad_share <= 1:
            raise InputError("bad_share lies outside 0..1")


@dataclass(frozen=True)
class Counts:
    """What became of the nodes, or of the relationships, of a load.

    Attributes:
        total: How many the files give.
        created: New ones.
        changed: Those whose properties or sources changed.
        unchanged: Those that stood already.
        seconds: Wall time of writing them.
    """

    total: int = 0
    created: int = 0
    changed: int = 0
    unchanged: int = 0
    seconds: float = 0.0

    @property
    def rows_per_s(self) -> float:
        """Rows a second."""
        return self.total / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class LoadReport:
    """What a load did.

    Attributes:
        source_id: Who says it.
        batch_id: 12 hex digits, the same for the same source and files.
        files: Names of the files.
        nodes: What became of the nodes.
        relationships: What became of the relationships.
        duplicates: Rows that only repeated another.
        quarantined: How many rows could not be loaded.
        bad_rows: The first 20 of them.
        dry_run: Whether it only counted.
        pruned: What was taken back; None where that was not asked for.
    """

    source_id: str
    batch_id: str
    files: tuple[str, ...]
    nodes: Counts
    relationships: Counts
    duplicates: int
    quarantined: int
    bad_rows: tuple[BadRow, ...]
    dry_run: bool
    pruned: PruneReport | None = None

    @property
    def written(self) -> int:
        """Nodes and relationships created or changed by the rows."""
        both = (self.nodes, self.relationships)
        return sum(counts.created + counts.changed for counts in both)

    def as_json(self) -> dict[str, Any]:
        """As plain values, rates included."""
        return {
            **asdict(self),
            "nodes": {**asdict(self.nodes), "rows_per_s": round(self.nodes.rows_per_s, 1)},
            "relationships": {
                **asdict(self.relationships),
                "rows_per_s": round(self.relationships.rows_per_s, 1),
            },
            "bad_rows": [row.as_json() for row in self.bad_rows],
        }


def load_graph_files(
    paths: str | Path | Sequence[str | Path],
    settings: GraphSettings,
    *,
    source_id: str,
    ontology: Ontology | None = None,
    mapping: Path | None = None,
    options: LoadOptions | None = None,
) -> LoadReport:
    """Loads graph files into a migrated database.

    Args:
        paths: `.jsonl` and `.csv` files, or folders of them.
        settings: The database.
        source_id: Who says it; kept with every node and relationship.
        ontology: What the graph may hold; the built-in one by default.
        mapping: What the columns of the CSV files mean.
        options: How it goes.

    Raises:
        InputError: A file cannot be read, too many rows are bad, a policy would have two versions
            on one day, or the database is not migrated. Nothing was written.
        WriteLockError: Another process writes to the database, or took over from this one.
        GraphUnavailable: The database cannot be reached; loading again takes up where it ended.
        GraphQueryError: The database refuses a write.
    """
    options = options or LoadOptions()
    ontology = ontology or load_ontology()
    if not _SOURCE_ID.match(source_id):
        raise InputError("a source id is 1 to 100 characters with no comma", where=source_id)
    given = [paths] if isinstance(paths, (str, Path)) else list(paths)
    source = open_source(given, ontology, mapping)
    with GraphWriter(settings) as writer, Spool() as spool:
        _require_migrated(writer, ontology)
        batch_id = _batch_id(source, source_id)
        checked = Checker(source, lambda label, ids: _existing(writer, label, ids), spool).check()
        _quarantine(checked, options)
        with nullcontext() if options.dry_run else WriteLock(settings) as lock:
            prunes = options.prune and not _unprunable(checked)
            require_one_version_a_day(writer, spool, ontology, pruned=source_id if prunes else "")
            loader = _Loader(writer, spool, checked, options, source_id, batch_id, lock, ontology)
            nodes, relationships = loader.load()
            pruned = loader.prune() if options.prune else None
    return LoadReport(
        source_id=source_id,
        batch_id=batch_id,
        files=tuple(file.name for file in source.files),
        nodes=nodes,
        relationships=relationships,
        duplicates=checked.duplicates,
        quarantined=len(checked.bad),
        bad_rows=tuple(checked.bad[:SHOWN_BAD_ROWS]),
        dry_run=options.dry_run,
        pruned=pruned,
    )


def _require_migrated(writer: GraphWriter, ontology: Ontology) -> None:
    missing, _ = pending(writer, ontology)
    if missing:
        raise InputError(
            f"the database wants {len(missing)} migrations first",
            where=writer.settings.address,
            fix="run `deskgraph graph migrate`",
        )


def _existing(writer: GraphWriter, label: str, ids: Sequence[str]) -> Iterator[str]:
    for first in range(0, len(ids), LOOKUP_BATCH):
        chunk = list(ids[first : first + LOOKUP_BATCH])
        rows = writer.read(statements.existing_ids(label), {"ids": chunk}, what="look ends up")
        yield from (str(row["id"]) for row in rows)


def _quarantine(checked: Checked, options: LoadOptions) -> None:
    """Writes the bad rows down.

    Raises:
        InputError: They are too many.
    """
    if not checked.bad:
        return
    if options.quarantine is not None:
        lines = "".join(f"{json.dumps(row.as_json())}\n" for row in checked.bad)
        options.quarantine.write_text(lines, encoding="utf-8")
    if len(checked.bad) > options.bad_share * checked.lines:
        first = checked.bad[0]
        raise InputError(
            f"{len(checked.bad):,} of {checked.lines:,} rows cannot be loaded, more than "
            f"{options.bad_share:.1%}; the first: {first.reason}",
            where=str(first.place),
            fix="mend them; nothing was loaded",
        )


@dataclass
class _Tally:
    total: int = 0
    created: int = 0
    changed: int = 0
    started: float = field(default_factory=time.monotonic)

    def add(self, other: _Tally) -> int:
        """Adds a batch's; returns how many rows it had."""
        self.total += other.total
        self.created += other.created
        self.changed += other.changed
        return other.total

    def counts(self) -> Counts:
        return Counts(
            total=self.total,
            created=self.created,
            changed=self.changed,
            unchanged=self.total - self.created - self.changed,
            seconds=round(time.monotonic() - self.started, 3),
        )


class _Loader:
    """Writes the rows that a check found good."""

    def __init__(
        self,
        writer: GraphWriter,
        spool: Spool,
        checked: Checked,
        options: LoadOptions,
        source_id: str,
        batch_id: str,
        lock: WriteLock | None,
        ontology: Ontology,
    ) -> None:
        self._writer = writer
        self._lock = lock
        self._spool = spool
        self._checked = checked
        self._options = options
        self._stamp = {
            "source_id": source_id,
            "batch_id": batch_id,
            "loaded_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self._ontology = ontology
        self._statements: dict[Kind, str] = {}

    def load(self) -> tuple[Counts, Counts]:
        if not self._options.dry_run:
            self._statements = {
                kind: _statement(kind, self._ontology, new=self._is_new(kind))
                for kind in self._spool.kinds()
            }
        nodes = self._write(self._checked.nodes, "nodes")
        edges = self._write(self._checked.edges, "relationships")
        return nodes, edges

    def _is_new(self, kind: Kind) -> bool:
        """Whether the graph holds nothing of a kind: then nothing need be looked up.

        A load that was cut off has written some, so its repetition looks everything up.
        """
        any_there = (
            statements.any_node(kind[0]) if len(kind) == 1 else statements.any_relationship(kind[0])
        )
        return not self._writer.read(any_there, what="look at what there is")

    def prune(self) -> PruneReport:
        """Takes back what the source no longer says; only after a load that is whole."""
        refused = _unprunable(self._checked)
        if refused:
            return PruneReport(
                self._stamp["source_id"], refused=refused, dry_run=self._options.dry_run
            )
        pruner = Pruner(self._writer, self._stamp, dry_run=self._options.dry_run)
        return pruner.prune(self._checked.hashes.keys(), self._checked.outside)

    def _write(self, expected: int, what: str) -> Counts:
        tally = _Tally()
        verb = "comparing" if self._options.dry_run else "loading"
        writers = parallel_writes(self._writer.engine())
        with (
            Progress(expected, f"{verb} {what}", what) as progress,
            ThreadPoolExecutor(writers) as pool,
        ):
            under_way: deque[Future[_Tally]] = deque()
            for kind in self._spool.kinds():
                if (len(kind) == 1) is not (what == "nodes"):
                    continue
                for batch in self._spool.batches(kind, self._options.batch_size):
                    under_way.append(pool.submit(self._flush, kind, batch, what))
                    # One batch waits ready for each that is being written, and no more.
                    if len(under_way) >= 2 * writers:
                        progress.advance(tally.add(under_way.popleft().result()))
            while under_way:
                progress.advance(tally.add(under_way.popleft().result()))
        return tally.counts()

    def _flush(self, kind: Kind, batch: list[list[Any]], what: str) -> _Tally:
        """Writes a batch, or compares it."""
        if self._options.dry_run:
            compare = (
                statements.compare_nodes if len(kind) == 1 else statements.compare_relationships
            )
            given = {"rows": batch, "source_id": self._stamp["source_id"]}
            (row,) = self._writer.read(compare(*kind), given, what=f"compare {what}")
            return _Tally(len(batch), row["created"], row["changed"])
        if self._lock is not None:
            self._lock.require_soon(self._writer)
        given = {"rows": batch, **self._stamp}
        rows, created = self._writer.write(self._statements[kind], given, what=f"load {what}")
        return _Tally(len(batch), created, rows[0]["written"] - created)


def _unprunable(checked: Checked) -> str:
    """Why nothing is pruned after such files; empty where it is."""
    if checked.bad:
        return "rows in quarantine may say what the graph holds; mend them first"
    if not checked.hashes:
        return "the files say nothing at all; use `deskgraph graph withdraw` if that is meant"
    return ""


def _statement(kind: Kind, ontology: Ontology, *, new: bool) -> str:
    if len(kind) == 1:
        make_nodes = statements.create_nodes if new else statements.merge_nodes
        return make_nodes(*kind, ontology.node_columns[kind[0]])
    make = statements.create_relationships if new else statements.merge_relationships
    return make(*kind, ontology.relationship_columns[kind[0]])


def _batch_id(source: Source, source_id: str) -> str:
    digest = hashlib.sha256(source_id.encode())
    for file in source.files:
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:12]
