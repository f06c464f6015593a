"""What the company promises, in time: which version holds on a day, and whether that changed."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime

from kg_schema.client import GraphClient, GraphSettings

FINGERPRINT_TEMPLATE = "policy_fingerprint"
FINGERPRINT_DEADLINE_S = 30.0


def today() -> date:
    """The day that reads are as of where nobody says another: UTC's."""
    return datetime.now(UTC).date()


async def fingerprint(
    client: GraphClient,
    as_of: date | None = None,
    *,
    deadline_s: float = FINGERPRINT_DEADLINE_S,
) -> str:
    """16 hex digits over the policies in force, the promotions and the topics of a day.

    A version holds from `valid_from` through `valid_to`, both included. Order of rows, sources
    and load times do not enter; another text, rule, discount, combination, cover or topic does.
    A graph with none of these has a fingerprint too.

    Args:
        client: The graph.
        as_of: The day; today by default.
        deadline_s: Seconds the read may take.

    Raises:
        GraphUnavailable: The graph cannot be reached.
        GraphTimeout: The deadline passed.
        GraphQueryError: The graph refuses the read.
    """
    day = (as_of or today()).isoformat()
    rows = await client.raw_rows(FINGERPRINT_TEMPLATE, {"as_of": day}, deadline_s=deadline_s)
    return digest(rows)


def read_fingerprint(settings: GraphSettings) -> str:
    """`fingerprint` as of today, for callers that are not async.

    Raises:
        GraphUnavailable: The graph cannot be reached.
        GraphTimeout: The deadline passed.
        GraphQueryError: The graph refuses the read.
    """

    async def read() -> str:
        async with GraphClient(settings) as client:
            return await fingerprint(client)

    # In a thread of its own: a notebook that calls this has an event loop running already.
    with ThreadPoolExecutor(max_workers=1) as executor:
        return executor.submit(lambda: asyncio.run(read())).result()


def digest(rows: Iterable[Mapping[str, object]]) -> str:
    """The fingerprint of what FINGERPRINT_TEMPLATE yields, in whatever order."""
    said = sorted(
        json.dumps(
            [
                f"{row['subject_label']}/{row['subject_id']}",
                row["predicate"],
                f"{row['object_label']}/{row['object_id']}" if row["object_label"] else None,
                None if row["value"] is None else str(row["value"]),
            ]
        )
        for row in rows
    )
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]
