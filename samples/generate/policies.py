"""Policies and their versions in time, promotions and their rules, and help articles.

A version holds from its first to its last day, both included; an open end is left out. A policy
that covers a product goes before one that covers its category, and that before one that covers
nothing by name and so everything.
"""

from __future__ import annotations

import hashlib
from datetime import date, timedelta

from samples.generate.tables import read_sections
from samples.generate.world import TODAY, Ref, World


def _covered(world: World, node_id: str) -> Ref:
    category: Ref = ("Category", node_id)
    return category if world.has(category) else ("Product", node_id)


def _days_before(day: str, days: int) -> str:
    return (date.fromisoformat(day) - timedelta(days=days)).isoformat()


def add_policies(world: World) -> None:
    """Add policies with their versions; products and categories must be there."""
    for policy_id, rows in read_sections("policies").items():
        (name, topic, rule, covers), versions = rows[0], rows[1:]
        ref = world.add("Policy", policy_id, name, topic=topic, rule=rule)
        for node_id in covers.split():
            world.link(ref, "COVERS", _covered(world, node_id))
        for number, (first, last, text) in enumerate(versions, start=1):
            version = world.add(
                "PolicyVersion",
                f"{policy_id}@{number}",
                f"{name}, version {number}",
                version=number,
                text=text,
                valid_from=first,
                valid_to=last or None,
                recorded_at=_days_before(first, 14),
                superseded_at=_days_before(versions[number][0], 14) if last else None,
                sha256=hashlib.sha256(text.encode()).hexdigest(),
            )
            world.link(ref, "HAS_VERSION", version)


def add_promotions(world: World) -> None:
    """Add promotions, what they cover and which combine; each rule is stored once."""
    sections = read_sections("promotions")
    for row in sections["promotions"]:
        promotion_id, name, code, aliases, percent, euro, first, last, covers, terms = row
        ref = world.add(
            "Promotion",
            promotion_id,
            name,
            code=code,
            aliases=[part.strip() for part in aliases.split(";")] + [code],
            discount_percent=int(percent) if percent else None,
            amount_eur=float(euro) if euro else None,
            valid_from=first,
            valid_to=last,
            terms=terms,
        )
        for node_id in covers.split():
            world.link(ref, "COVERS", _covered(world, node_id))
    for section, kind in (("combines", "COMBINES_WITH"), ("excludes", "EXCLUDES")):
        for promotion_id, others in sections[section]:
            for other in others.split():
                world.link(("Promotion", promotion_id), kind, ("Promotion", other))


def add_articles(world: World) -> None:
    """Add help articles and what they are about."""
    number = 0
    for topic, rows in read_sections("articles").items():
        for name, about, body in rows:
            number += 1
            ref = world.add("Article", f"AR_{number:03d}", name, topic=topic, body=body)
            for node_id in about.split():
                world.link(ref, "ABOUT", _covered(world, node_id))


def version_on(world: World, policy: Ref, day: str = TODAY) -> Ref | None:
    """The version of a policy that holds on a day, None where none does."""
    for edge in world.out(policy, "HAS_VERSION"):
        props = world.props(edge.end)
        if props["valid_from"] <= day <= props.get("valid_to", "9999-12-31"):
            return edge.end
    return None


def most_specific(world: World, label: str, topic: str, product: Ref | None) -> list[Ref]:
    """Policies (or articles) of a topic that apply to a product, most specific first.

    Args:
        world: The graph.
        label: `Policy` or `Article`.
        topic: An intent.
        product: What the question is about; None leaves the general ones only.
    """
    kind = "COVERS" if label == "Policy" else "ABOUT"
    ranked: list[tuple[int, Ref]] = []
    for ref in world.of(label):
        if world.props(ref)["topic"] != topic:
            continue
        targets = [edge.end for edge in world.out(ref, kind)]
        if not targets:
            ranked.append((2, ref))
        elif product is not None and product in targets:
            ranked.append((0, ref))
        elif product is not None and ("Category", world.props(product)["category"]) in targets:
            ranked.append((1, ref))
    return [ref for _, ref in sorted(ranked)]
