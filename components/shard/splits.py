"""Which tickets stay and in which split: duplicates out first, then a hash of the text decides."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from components.shards import SPLITS, Split
from components.tickets import Quarantined, Reason, Ticket, normalise_text
from kg_schema.errors import InputError

NAMED_LABELS = 5
"""How many labels an error message names before it counts the rest."""


@dataclass
class Partition:
    """Tickets a split, each list in an order that only seed and texts decide."""

    rows: dict[Split, list[Ticket]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    removed: list[Quarantined] = field(default_factory=list)

    def count(self, *reasons: Reason) -> int:
        """Counts the tickets that were removed for one of these reasons."""
        return sum(each.reason in reasons for each in self.removed)

    def labels(self) -> list[str]:
        """Returns the intents there are, sorted."""
        return sorted(
            {each.intent for rows in self.rows.values() for each in rows if each.intent is not None}
        )


def partition_tickets(
    tickets: Iterable[Ticket],
    test_tickets: Iterable[Ticket] | None,
    *,
    validation: float,
    test: float,
    seed: int,
    labelled_only: bool = True,
) -> Partition:
    """Removes repeated texts and splits what is left by the hash of the normalised text.

    Of equal texts the first stays, a labelled one before an unlabelled one; another label on a
    later one makes it a conflict. A test file is the test split as it stands, repeats and all,
    so that its numbers compare with others'; its texts leave the other two.

    Args:
        tickets: To be split.
        test_tickets: The test split, if there is one already.
        validation: Fraction of the texts that is for validation.
        test: Fraction that is for the test split; 0 with test tickets.
        seed: Another seed gives other splits.
        labelled_only: Whether only labelled tickets can be measured on: the others then go to
            train, whatever their hash.
    """
    partition = Partition()
    held_out: set[str] = set()
    if test_tickets is not None:
        partition.rows["test"] = list(test_tickets)
        held_out = {normalise_text(each.text) for each in partition.rows["test"]}
    first: dict[str, Ticket] = {}
    for ticket in sorted(tickets, key=lambda each: each.intent is None):  # stable: file order
        key = normalise_text(ticket.text)
        if key in held_out:
            partition.removed.append(_removed(ticket, "in test", "its text is in the test tickets"))
        elif key in first:
            partition.removed.append(_repeated(ticket, first[key]))
        else:
            first[key] = ticket
    scored = sorted((_score(key, seed), key) for key in first)
    for score, key in scored:
        ticket = first[key]
        split: Split = "train"
        if (ticket.intent or not labelled_only) and score >= 1.0 - validation - test:
            split = "validation" if score < 1.0 - test else "test"
        partition.rows[split].append(ticket)
    return partition


def require_classes(partition: Partition, where: str) -> None:
    """Refuses labels that nothing can be learned about, and splits that hold nothing.

    Raises:
        InputError: A label has no rows in train, there are fewer than two labels, or a split
            is empty.
    """
    labels = partition.labels()
    if len(labels) < 2:
        known = f"only {labels[0]!r}" if labels else "no label at all"
        raise InputError(f"{known}: two or more classes are needed", where=where)
    trained = Counter(each.intent for each in partition.rows["train"])
    empty = [label for label in labels if not trained[label]]
    if empty:
        named = ", ".join(repr(label) for label in empty[:NAMED_LABELS])
        more = f" and {len(empty) - NAMED_LABELS} more" if len(empty) > NAMED_LABELS else ""
        raise InputError(
            f"empty class: no training rows for {named}{more}",
            where=where,
            fix="add tickets of the class or leave it out",
        )
    require_rows(partition, where)


def require_rows(partition: Partition, where: str) -> None:
    """Refuses a partition with an empty split.

    Raises:
        InputError: A split holds no rows.
    """
    for split in SPLITS:
        if not partition.rows[split]:
            total = sum(len(rows) for rows in partition.rows.values())
            raise InputError(
                f"no rows for the {split} split, {total} usable in all",
                where=where,
                fix="add tickets",
            )


def _removed(ticket: Ticket, reason: Reason, detail: str) -> Quarantined:
    return Quarantined(ticket.file, ticket.line, reason, detail)


def _repeated(ticket: Ticket, kept: Ticket) -> Quarantined:
    where = f"{kept.file}:{kept.line}"
    if ticket.intent is None or ticket.intent == kept.intent:
        return _removed(ticket, "duplicate", f"the same text as {where}")
    return _removed(ticket, "conflict", f"the same text as {where}, labelled {kept.intent!r} there")


def _score(key: str, seed: int) -> float:
    """Returns a number in [0, 1) that only the normalised text and the seed decide."""
    digest = hashlib.sha256(f"{seed}\n{key}".encode()).digest()
    return int.from_bytes(digest[:6]) / (1 << 48)
