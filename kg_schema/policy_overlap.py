"""Keeps a load from giving a policy two versions for one day, whatever was set or loaded before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import combinations
from typing import Any, NamedTuple

from kg_schema import statements
from kg_schema.errors import InputError
from kg_schema.ontology import Ontology
from kg_schema.spool import Kind, Spool
from kg_schema.writer import GraphWriter

VERSION = "PolicyVersion"
HAS_VERSION = ("HAS_VERSION", "Policy", VERSION)
BATCH = 2_000
UNTOLD = "9999"

Read = Callable[..., list[dict[str, Any]]]


class Span(NamedTuple):
    """The days of a version; None as their end where no last one is known."""

    valid_from: str
    valid_to: str | None
    corrected_by: str | None

    def meets(self, other: Span) -> bool:
        """Whether reads find both on some day; a corrected version is read no more."""
        return (
            self.corrected_by is None
            and other.corrected_by is None
            and self.valid_from <= (other.valid_to or UNTOLD)
            and other.valid_from <= (self.valid_to or UNTOLD)
        )


def require_one_version_a_day(
    writer: GraphWriter, spool: Spool, ontology: Ontology, *, pruned: str = ""
) -> None:
    """Compares what a load would write with what stands; call it under the write lock.

    Versions that overlapped before are left to `graph check`: only what the load would add to or
    change in the graph can be refused.

    Args:
        writer: The database.
        spool: The rows of the load.
        ontology: What they hold.
        pruned: The source that is pruned after the load: a version that is a policy's by its word
            alone, and that the files do not say, is on its way out. Empty for none.

    Raises:
        InputError: A policy would have two versions on one day; names it, both, and the day.
        GraphUnavailable: The database cannot be reached.
    """
    said = dict(_said(spool, ontology))
    pairs = {(row[0], row[1]) for row in _rows(spool, HAS_VERSION)}
    if not said and not pairs:
        return

    def read(statement: str, ids: Collection[str]) -> Iterator[dict[str, Any]]:
        ordered = sorted(ids)
        for first in range(0, len(ordered), BATCH):
            given = {"ids": ordered[first : first + BATCH]}
            yield from writer.read(statement, given, what="read policy versions")

    named = set(said) | {version for _, version in pairs}
    rows = list(read(statements.versions_by_id(), named))
    standing = {row["id"]: row["content_hash"] for row in rows}
    policies = {policy for policy, _ in pairs}
    policies.update(row["policy"] for row in rows if row["policy"] is not None)
    spans = {}
    of_policy = defaultdict(set)
    for row in (*rows, *read(statements.versions_of_policies(), policies)):
        spans[row["id"]] = Span(row["valid_from"], row["valid_to"], row["corrected_by"])
        stays = row["said_by"] != [pruned] or (row["policy"], row["id"]) in pairs
        if row["policy"] is not None and stays:
            of_policy[row["policy"]].add(row["id"])
    new = {pair for pair in pairs if pair[1] not in of_policy[pair[0]]}
    for policy, version in new:
        of_policy[policy].add(version)
    changed = {one: span for one, (digest, span) in said.items() if standing.get(one) != digest}
    _refuse_overlap(of_policy, spans | changed, new, changed)


def _refuse_overlap(
    of_policy: Mapping[str, Collection[str]],
    spans: Mapping[str, Span],
    new: Collection[tuple[str, str]],
    changed: Collection[str],
) -> None:
    for policy, versions in of_policy.items():
        held = sorted(one for one in versions if one in spans)
        for one, other in combinations(held, 2):
            ours = {one, other} & set(changed) or {(policy, one), (policy, other)} & set(new)
            if ours and spans[one].meets(spans[other]):
                day = max(spans[one].valid_from, spans[other].valid_from)
                raise InputError(
                    f"{one} and {other} would both hold on {day}",
                    where=policy,
                    fix="end the one on the day before the other begins; what was set since is in "
                    f"`deskgraph graph policy history {policy}`. Nothing was loaded",
                )


def _said(spool: Spool, ontology: Ontology) -> Iterator[tuple[str, tuple[str, Span]]]:
    """Content hash and days of the versions that a load's files give."""
    keys = ontology.node_columns.get(VERSION, ())
    if not set(Span._fields) <= set(keys):
        return
    places = [2 + keys.index(key) for key in Span._fields]
    for row in _rows(spool, (VERSION,)):
        yield row[0], (row[1], Span(*(row[place] for place in places)))


def _rows(spool: Spool, kind: Kind) -> Iterable[list[Any]]:
    if kind in spool.kinds():
        for batch in spool.batches(kind, BATCH):
            yield from batch
