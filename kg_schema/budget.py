"""A bound on how much is told: facts in their order, as many as a number of tokens holds."""

from __future__ import annotations

from collections.abc import Iterable

from kg_schema.client import FactRow

# Of English in the usual subword vocabularies; other languages get fewer facts, never more tokens
# than about twice the budget.
CHARACTERS_A_TOKEN = 4


def tokens_of(row: FactRow) -> int:
    """About how many tokens a language model reads for a fact, names and value in words."""
    said = (row.subject_name, row.predicate, row.object_name, row.value)
    return 1 + sum(len(part) for part in said if part) // CHARACTERS_A_TOKEN


def within_budget(rows: Iterable[FactRow], tokens: int) -> list[FactRow]:
    """The rows that a budget holds, in their order.

    A fact is told whole or not at all: half a sentence of a policy is another policy. One that is
    too long for what is left is passed over, and shorter ones behind it still find room.

    Args:
        rows: What there is to tell, the most telling first.
        tokens: How many tokens all of it may take.
    """
    kept = []
    for row in rows:
        cost = tokens_of(row)
        if cost <= tokens:
            kept.append(row)
            tokens -= cost
    return kept
