"""Shards as every later stage reads them: Parquet files a split, described by a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from kg_schema.errors import InputError
from serving.manifest import verify_manifest

if TYPE_CHECKING:
    import pyarrow as pa

SHARDS_KIND = "shards"
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
UNLABELLED = -1


def shard_schema() -> pa.Schema:
    """Returns the columns of every shard.

    `label` is the index of `intent` in the manifest's `labels`, -1 where there is none.
    """
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("ticket_id", pa.string(), nullable=False),
            pa.field("text", pa.string(), nullable=False),
            pa.field("intent", pa.string()),
            pa.field("label", pa.int32(), nullable=False),
            pa.field("answer", pa.string()),
            pa.field("solution_ids", pa.list_(pa.string()), nullable=False),
            pa.field("language", pa.string()),
            pa.field("created_at", pa.string()),
        ]
    )


def read_manifest(shards: Path) -> dict[str, Any]:
    """Returns the manifest of a shards directory whose files are all whole.

    Raises:
        ManifestError: It is missing, of another kind, or does not hold.
    """
    return verify_manifest(shards, SHARDS_KIND)


def read_split(shards: Path, split: str) -> pa.Table:
    """Returns the rows of one split, shard by shard, in the order they were written.

    Raises:
        InputError: There is no such split.
        ManifestError: The directory is not whole.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if split not in SPLITS:
        raise InputError(
            f"no split {split!r}", where=str(shards), fix=f"one of {', '.join(SPLITS)}"
        )
    paths = sorted(
        each["path"] for each in read_manifest(shards)["shards"] if each["split"] == split
    )
    schema = shard_schema()
    tables = [pq.read_table(shards / path, schema=schema) for path in paths]
    return pa.concat_tables(tables) if tables else schema.empty_table()
