"""Which policy rules a case, and which version of it: by what it covers, and by the day."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from serving.composition import Composition
from serving.contracts import Fact
from serving.facts import FactSet
from serving.phrases import literal
from serving.retrieval import overlap

ORDER_DATE_RULE = "order_date"


@dataclass(frozen=True, slots=True)
class HeldVersion:
    """A version that held on some day asked for."""

    version: Fact
    text: Fact


@dataclass(frozen=True, slots=True)
class Ruling:
    """The policy that holds for one case.

    Attributes:
        policy: Its reference.
        name: Its name.
        versions: What it said on the days asked for, oldest first.
        why: The facts that make it this policy: what it covers, the product's category.
        dated_by_order: The day is that of an order.
        spans: The days are a period that the ticket names.
    """

    policy: str
    name: str
    versions: tuple[HeldVersion, ...]
    why: tuple[Fact, ...]
    dated_by_order: bool
    spans: bool


def rulings(c: Composition, order: str | None, placed: Fact | None) -> list[Ruling]:
    """One ruling a case: for each product asked about, or one where none is named."""
    found: dict[str, Ruling] = {}
    for product, category in _cases(c, order):
        chosen = most_specific(c.facts, product, category, c.text)
        if chosen is not None and (ruling := _dated(c, *chosen, placed)) is not None:
            found.setdefault(ruling.policy, ruling)
    return list(found.values())


def _cases(c: Composition, order: str | None) -> list[tuple[str | None, str | None]]:
    products = c.refs("Product")
    if not products and order:
        products = [fact.object for fact in c.facts.about(order, "CONTAINS")]
    if products:
        return [(product, _category_of(c, product)) for product in products]
    categories = c.refs("Category")
    return [(None, category) for category in categories] or [(None, None)]


def _category_of(c: Composition, product: str) -> str | None:
    member = c.facts.first(product, "IN_CATEGORY")
    if member is not None:
        return member.object
    node = c.catalogue.get(product)
    category = node.properties.get("category") if node else None
    return f"Category/{category}" if category else None


def most_specific(
    facts: FactSet, product: str | None, category: str | None, text: str
) -> tuple[str, tuple[Fact, ...]] | None:
    """The policy that covers the product, else its category, else everything.

    Among equals the one whose name the text fits best; among those, the one named shortest.

    Returns:
        The policy's reference and the facts that say that it covers the case; None where no
        policy was read.
    """
    ranked: list[tuple[tuple[int, float, int, str], str, tuple[Fact, ...]]] = []
    for policy in dict.fromkeys(fact.subject for fact in facts.matching("Policy", "HAS_VERSION")):
        covers = facts.about(policy, "COVERS")
        level, why = _level(facts, covers, product, category)
        if level:
            version = facts.first(policy, "HAS_VERSION")
            name = version.subject_name if version else policy
            said = overlap(name, text)
            ranked.append(((-level, -round(said, 3), len(name), policy), policy, why))
    if not ranked:
        return None
    _, policy, why = min(ranked)
    return policy, why


def _level(
    facts: FactSet, covers: Sequence[Fact], product: str | None, category: str | None
) -> tuple[int, tuple[Fact, ...]]:
    if not covers:
        return 1, ()
    for fact in covers:
        if product and fact.object == product:
            return 3, (fact,)
    for fact in covers:
        if category and fact.object == category:
            member = facts.between(product, category, "IN_CATEGORY") if product else None
            return 2, (fact, member) if member else (fact,)
    return 0, ()


def _dated(
    c: Composition, policy: str, why: tuple[Fact, ...], placed: Fact | None
) -> Ruling | None:
    by_order = literal(c.facts, policy, "rule") == ORDER_DATE_RULE
    first = last = c.as_of
    dated_by_order = spans = False
    if by_order and placed is not None:
        first = last = date.fromisoformat(placed.object[:10])
        dated_by_order = True
    elif c.period is not None and by_order:
        first, last, spans = c.period.start, c.period.end, True
    held = versions_between(c.facts, policy, first, last)
    if not held:
        return None
    return Ruling(policy, held[0].version.subject_name, held, why, dated_by_order, spans)


def versions_between(
    facts: FactSet, policy: str, first: date, last: date
) -> tuple[HeldVersion, ...]:
    """Versions in force on any day from `first` to `last`, oldest first.

    A day belongs to the newest version that has begun by then, so a version's last day may be
    written as the day before the next one begins or as that day itself.
    """
    days = _turning_days(facts.about(policy, "HAS_VERSION"), first, last)
    found: dict[str, HeldVersion] = {}
    for day in days:
        version = _version_on(facts.about(policy, "HAS_VERSION"), day.isoformat())
        text = facts.first(version.object, "text") if version else None
        if version is not None and text is not None:
            found[version.id] = HeldVersion(version, text)
    return tuple(found.values())


def _turning_days(versions: Iterable[Fact], first: date, last: date) -> list[date]:
    """The first day, and every later one on which the version in force can change."""
    days = {first}
    for fact in versions:
        if fact.valid_from:
            days.add(date.fromisoformat(fact.valid_from[:10]))
        if fact.valid_to:
            days.add(date.fromisoformat(fact.valid_to[:10]) + timedelta(days=1))
    return sorted(day for day in days if first <= day <= last)


def _version_on(versions: Iterable[Fact], day: str) -> Fact | None:
    held = [
        fact
        for fact in versions
        if (fact.valid_from or "") <= day and (not fact.valid_to or day <= fact.valid_to)
    ]
    return max(held, key=lambda fact: (fact.valid_from or "", fact.object), default=None)
