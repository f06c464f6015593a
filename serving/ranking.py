"""Recommendations: which nodes of the facts deserve the customer's attention, best first."""

from __future__ import annotations

from collections.abc import Container

from serving.composition import Composition
from serving.contracts import Fact, Recommendation
from serving.facts import FactSet
from serving.phrases import literal, select
from serving.retrieval import overlap

PLACE_FACTOR = 0.9
UNAVAILABLE_FACTOR = 0.5
MAX_RECOMMENDATIONS = 20


def recommend(c: Composition, cited: Container[str]) -> list[Recommendation]:
    """Takes one end of the facts that the plan names, each node once.

    Args:
        c: What was read.
        cited: Ids of the facts that the claims cite.

    The score starts from the surest link that led here and falls by a tenth a place; what cannot
    be bought counts half and goes after what can.

    Returns:
        At most twenty, by falling score.
    """
    why: dict[str, list[Fact]] = {}
    names: dict[str, str] = {}
    for source in c.plan.recommend:
        for fact in select(source, c.facts, c.linked):
            if source.cited and fact.id not in cited:
                continue
            ref = fact.subject if source.take == "subject" else fact.object
            name = fact.subject_name if source.take == "subject" else fact.object_name
            why.setdefault(ref, []).append(fact)
            names.setdefault(ref, name)
    base = max((link.score for links in c.links.values() for link in links), default=0.8)
    ordered = sorted(why, key=lambda ref: not in_stock(c.facts, ref))
    found = []
    for place, ref in enumerate(ordered[:MAX_RECOMMENDATIONS]):
        label, _, node_id = ref.partition("/")
        factor = 1.0 if in_stock(c.facts, ref) else UNAVAILABLE_FACTOR
        found.append(
            Recommendation(
                id=node_id,
                kind=label.casefold(),
                title=names[ref],
                score=round(base * factor * PLACE_FACTOR**place, 4),
                why=tuple(fact.id for fact in why[ref]),
            )
        )
    return found


def in_stock(facts: FactSet, ref: str) -> bool:
    """Whether a product or an accessory can be bought; true where nothing is known."""
    return literal(facts, ref, "stock") in (None, "in_stock")


def choose_articles(
    facts: FactSet, text: str, about: set[str], count: int, minimum: float | None = None
) -> list[str]:
    """References of the articles that fit best: about what is linked, then about nothing special.

    Args:
        facts: Facts with `body` and `ABOUT` of articles.
        text: The ticket's text.
        about: References of linked entities and of their categories.
        count: Articles at most.
        minimum: Share of the ticket's telling words that an article must say; given it, an
            article about something that the ticket does not name may fit too.
    """
    ranked = []
    for place, body in enumerate(facts.matching("Article", "body")):
        said = overlap(text, f"{body.subject_name} {body.object}")
        subjects = {fact.object for fact in facts.about(body.subject, "ABOUT")}
        level = 2 if subjects & about else 0 if subjects else 1
        if (said >= minimum) if minimum is not None else level:
            ranked.append((-level, -round(said, 3), place, body.subject))
    return [ref for *_, ref in sorted(ranked)[:count]]
