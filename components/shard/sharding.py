"""The shard stage: reads tickets, splits them and writes Parquet shards with a manifest."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from components.shard.splits import (
    Partition,
    partition_tickets,
    require_classes,
    require_rows,
)
from components.shards import SHARDS_KIND, SPLITS, UNLABELLED, shard_schema
from components.storage import localise, output_dir
from components.tickets import Quarantined, Ticket, TicketColumns, TicketReader
from kg_schema.errors import InputError
from serving.manifest import content_sha256, file_sha256, write_manifest

QUARANTINE_NAME = "quarantine.jsonl"
DATASET_ID_CHARACTERS = 12

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShardSettings:
    """How tickets are read and split.

    Attributes:
        task: `intent` needs labels, `answer` needs answers.
        text_column: Column of the ticket's words.
        label_column: Column of the intent.
        validation_fraction: Share of the texts for validation.
        test_fraction: Share of the texts for the test split, where no test file is given.
        validation_fraction_beside_test: Share for validation where a test file is given.
        seed: Another seed gives other splits.
        rows_per_shard: Most rows of a Parquet file.
        bad_share: Largest share of unreadable rows of a file; 0 refuses the first one.
        unlabelled: Location of more tickets for task `intent`, of which a student learns what its
            teacher says; empty for none. They go to train alone and a label in them is not read.
    """

    task: Literal["intent", "answer"] = "intent"
    text_column: str = "text"
    label_column: str = "intent"
    validation_fraction: float = 0.20
    test_fraction: float = 0.15
    validation_fraction_beside_test: float = 0.10
    seed: int = 17
    rows_per_shard: int = 5000
    bad_share: float = 0.01
    unlabelled: str = ""

    def __post_init__(self) -> None:
        if self.unlabelled and self.task == "answer":
            raise InputError(
                "tickets without an answer teach no answers",
                where=self.unlabelled,
                fix="leave unlabelled empty for task answer",
            )
        held_out = self.validation_fraction + self.test_fraction
        beside = self.validation_fraction_beside_test
        if min(self.validation_fraction, self.test_fraction) <= 0 or held_out >= 1:
            raise InputError("validation and test fractions must leave something to train on")
        if not 0 < beside < 1 or self.rows_per_shard < 1 or not 0 <= self.bad_share <= 1:
            raise InputError("a shard setting is out of its range", where=str(self))


@dataclass(frozen=True)
class ShardResult:
    """What was written.

    Attributes:
        out: Location of the shards.
        rows: Rows a split.
        labels: Intents, sorted; a row's label is the index here.
        duplicates_removed: Tickets whose text stood there before, with the same label or none.
        conflicts: Tickets whose text stood there before with another label.
        removed_for_test: Tickets whose text is in the test file.
        quarantined: Rows that could not be used.
        unlabelled: Rows of the train split without a label.
        dataset_id: Short hash of the sources' contents.
        sha256: Digest of all shards.
    """

    out: str
    rows: dict[str, int]
    labels: tuple[str, ...]
    duplicates_removed: int
    conflicts: int
    removed_for_test: int
    quarantined: int
    unlabelled: int
    dataset_id: str
    sha256: str


def shard_tickets(
    tickets: str,
    out: str,
    settings: ShardSettings | None = None,
    test_tickets: str = "",
) -> ShardResult:
    """Turns tickets into train, validation and test shards.

    The same sources and settings give the same bytes. Every row that was left out stands in
    `quarantine.jsonl` with its file, line and reason.

    Args:
        tickets: Location of a JSON Lines or CSV file, or of a folder of them.
        out: Location of the shards directory.
        settings: How to read and split.
        test_tickets: Location of tickets that are to be the test split as they stand.

    Returns:
        Counts and digests.

    Raises:
        InputError: The tickets cannot be used; what stood at `out` stays.
    """
    settings = settings or ShardSettings()
    columns = TicketColumns(
        settings.text_column, settings.label_column, label_needed=settings.task == "intent"
    )
    reader = TicketReader(localise(tickets), columns, settings.bad_share)
    test_reader = (
        TicketReader(localise(test_tickets), columns, settings.bad_share) if test_tickets else None
    )
    more = _unlabelled_reader(settings)
    removed: list[Quarantined] = []
    partition = partition_tickets(
        # A text that is labelled, or in the test tickets, stays there and nowhere else.
        [*_usable(reader, settings.task, removed), *_without_labels(more)],
        _usable(test_reader, settings.task, removed, scored=True) if test_reader else None,
        validation=settings.validation_fraction_beside_test
        if test_reader
        else settings.validation_fraction,
        test=0.0 if test_reader else settings.test_fraction,
        seed=settings.seed,
        labelled_only=settings.task == "intent",
    )
    partition.removed += reader.quarantined + removed
    sources = _sources(tickets, reader)
    if test_reader:
        partition.removed += test_reader.quarantined
        sources += _sources(test_tickets, test_reader)
    if more:
        partition.removed += more.quarantined
        sources += _sources(settings.unlabelled, more)
    (require_classes if settings.task == "intent" else require_rows)(partition, tickets)
    with output_dir(out) as folder:
        manifest = _write(folder, partition, settings, sources)
    logger.info("%s rows in shards at %s", manifest["rows"], out)
    return ShardResult(
        out=out,
        rows=manifest["rows"],
        labels=tuple(manifest["labels"]),
        duplicates_removed=manifest["duplicates_removed"],
        conflicts=manifest["conflicts"],
        removed_for_test=manifest["removed_for_test"],
        quarantined=manifest["quarantined"],
        unlabelled=manifest["unlabelled"],
        dataset_id=manifest["dataset_id"],
        sha256=content_sha256(manifest),
    )


def _usable(
    reader: TicketReader, task: str, removed: list[Quarantined], *, scored: bool = False
) -> list[Ticket]:
    """Reads the tickets the task can use: with an answer, or with a label where it is scored."""
    kept: list[Ticket] = []
    for ticket in reader:
        if task == "answer" and ticket.answer is None:
            removed.append(Quarantined(ticket.file, ticket.line, "no answer", "no answer to learn"))
        elif task == "intent" and scored and ticket.intent is None:
            removed.append(Quarantined(ticket.file, ticket.line, "no label", "no label to score"))
        else:
            kept.append(ticket)
    return kept


def _unlabelled_reader(settings: ShardSettings) -> TicketReader | None:
    if not settings.unlabelled:
        return None
    columns = TicketColumns(settings.text_column, settings.label_column, label_needed=False)
    return TicketReader(localise(settings.unlabelled), columns, settings.bad_share)


def _without_labels(reader: TicketReader | None) -> list[Ticket]:
    return [replace(ticket, intent=None) for ticket in reader or ()]


def _sources(location: str, reader: TicketReader) -> list[dict[str, str]]:
    """Names every file read with its digest, by the location given and the name below it."""
    base = location.rstrip("/")
    return [
        {
            "uri": base if path == reader.path else f"{base}/{path.name}",
            "sha256": file_sha256(path),
        }
        for path in reader.files()
    ]


def _write(
    folder: Path, partition: Partition, settings: ShardSettings, sources: list[dict[str, str]]
) -> dict[str, Any]:
    labels = partition.labels()
    shards: list[dict[str, Any]] = []
    for split in SPLITS:
        shards += _write_split(folder, split, partition.rows[split], labels, settings)
    with (folder / QUARANTINE_NAME).open("w", encoding="utf-8") as stream:
        for each in sorted(partition.removed, key=lambda row: (row.file, row.line)):
            stream.write(json.dumps(asdict(each), ensure_ascii=False) + "\n")
    digest = hashlib.sha256("\n".join(each["sha256"] for each in sources).encode())
    return write_manifest(
        folder,
        SHARDS_KIND,
        task=settings.task,
        source=sources,
        dataset_id=digest.hexdigest()[:DATASET_ID_CHARACTERS],
        rows={split: len(partition.rows[split]) for split in SPLITS},
        shards=shards,
        labels=labels,
        duplicates_removed=partition.count("duplicate"),
        conflicts=partition.count("conflict"),
        removed_for_test=partition.count("in test"),
        quarantined=partition.count("unreadable", "too short", "no label", "no answer"),
        unlabelled=sum(each.intent is None for each in partition.rows["train"]),
        seed=settings.seed,
        fractions=_fractions(partition),
    )


def _fractions(partition: Partition) -> dict[str, float]:
    total = sum(len(rows) for rows in partition.rows.values())
    return {split: round(len(partition.rows[split]) / total, 4) for split in SPLITS}


def _write_split(
    folder: Path,
    split: str,
    rows: Sequence[Ticket],
    labels: Sequence[str],
    settings: ShardSettings,
) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    index = {label: position for position, label in enumerate(labels)}
    count = max(1, math.ceil(len(rows) / settings.rows_per_shard))
    shards = []
    for number in range(count):
        part = rows[number * len(rows) // count : (number + 1) * len(rows) // count]
        path = folder / f"{split}-{number:05d}-of-{count:05d}.parquet"
        table = pa.Table.from_pylist([_record(each, index) for each in part], shard_schema())
        pq.write_table(table, path, compression="zstd")
        shards.append(
            {
                "split": split,
                "path": path.name,
                "rows": len(part),
                "bytes": path.stat().st_size,
                "sha256": file_sha256(path),
            }
        )
    return shards


def _record(ticket: Ticket, index: dict[str, int]) -> dict[str, Any]:
    return {
        "ticket_id": ticket.ticket_id,
        "text": ticket.text,
        "intent": ticket.intent,
        "label": UNLABELLED if ticket.intent is None else index[ticket.intent],
        "answer": ticket.answer,
        "solution_ids": list(ticket.solution_ids),
        "language": ticket.language,
        "created_at": ticket.created_at,
    }
