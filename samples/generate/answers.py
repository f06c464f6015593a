"""What an agent answered: the resolution of a ticket, true on the day it was written."""

from __future__ import annotations

from collections.abc import Callable

from samples.generate.answers_orders import ORDER_ANSWERS
from samples.generate.cases import INTENTS, Case
from samples.generate.catalogue import protocols_of
from samples.generate.faults import solutions_for, steps_of
from samples.generate.policies import most_specific, version_on
from samples.generate.world import Ref, World

STOCK = {
    "in_stock": "is in stock",
    "out_of_stock": "is out of stock at the moment",
    "discontinued": "is no longer made",
}

Answer = Callable[[World, Case, str], str]


def features_of(world: World, product: Ref, *kinds: str) -> list[str]:
    """Names of a product's features, of some kinds only where kinds are given."""
    refs = [edge.end for edge in world.out(product, "SUPPORTS_FEATURE")]
    return [world.name(r) for r in refs if not kinds or world.props(r)["kind"] in kinds]


def _features(world: World, case: Case, _day: str) -> str:
    name = world.name(case.product)
    names = features_of(world, case.product)
    if case.feature is not None and world.name(case.feature) in names:
        return f"Yes, the {name} supports {world.name(case.feature)}."
    missing = f"{world.name(case.feature)} is not among them. " if case.feature else ""
    return f"The {name} supports {', '.join(names)}. {missing}".strip()


def _protocols(world: World, case: Case, _day: str) -> str:
    names = [world.name(ref) for ref in protocols_of(world, case.product)]
    return f"The {world.name(case.product)} charges by {', '.join(names)}."


def _specification(world: World, case: Case, _day: str) -> str:
    props = world.props(case.product)
    battery = f", has a battery of {props['battery_mah']} mAh" if "battery_mah" in props else ""
    shown = ", ".join(features_of(world, case.product, "display", "connectivity"))
    return (
        f"The {props['name']} weighs {props['weight_g']} g{battery} and was released on "
        f"{props['released']}. Built in: {shown}."
    )


def _price(world: World, case: Case, _day: str) -> str:
    props = world.props(case.product)
    return f"The {props['name']} costs {props['price_eur']:.0f} euro."


def _availability(world: World, case: Case, _day: str) -> str:
    props = world.props(case.product)
    return f"The {props['name']} {STOCK[props['stock']]}."


def _warranty_length(world: World, case: Case, _day: str) -> str:
    props = world.props(case.product)
    return f"The {props['name']} comes with {props['warranty_months']} months of warranty."


def _accessories(world: World, case: Case, _day: str) -> str:
    edges = world.out(case.product, "COMPATIBLE_WITH")[:6]
    names = ", ".join(world.name(edge.end) for edge in edges)
    return f"These fit the {world.name(case.product)}: {names}."


def _water(world: World, case: Case, _day: str) -> str:
    names = features_of(world, case.product, "protection")
    if not names:
        return f"The {world.name(case.product)} has no protection rating; please keep it dry."
    return f"The {world.name(case.product)} has {' and '.join(names)}."


def _firmware(world: World, case: Case, _day: str) -> str:
    props = world.props(case.product)
    return f"The latest firmware of the {props['name']} is {props['latest_firmware']}."


def _colors(world: World, case: Case, _day: str) -> str:
    props = world.props(case.product)
    return f"The {props['name']} comes in {', '.join(props['colors'])}."


def _article(world: World, case: Case, _day: str) -> str:
    article = most_specific(world, "Article", case.intent, case.product)
    if not article:
        return f"We have no guide of that kind for the {world.name(case.product)}."
    return str(world.props(article[0])["body"])


def _policy(world: World, case: Case, day: str) -> str:
    policies = most_specific(world, "Policy", case.intent, case.product)
    for policy in policies:
        version = version_on(world, policy, case.day or day)
        if version is not None:
            return str(world.props(version)["text"])
    return "No rule of ours covers that; a colleague will get back to you."


def _mend(world: World, case: Case, cause: Ref, opening: str) -> tuple[list[str], str]:
    solutions = solutions_for(world, cause, case.product)
    if not solutions:
        return [], "Please send the device in, we will have a look at it."
    steps = " ".join(world.props(s)["text"] for s in steps_of(world, solutions[0]))
    return [ref[1] for ref in solutions], f"{opening}{steps}"


_FAQ: dict[str, Answer] = {
    "product_features": _features,
    "charging_protocols": _protocols,
    "product_specification": _specification,
    "product_price": _price,
    "product_availability": _availability,
    "warranty_length": _warranty_length,
    "compatible_accessories": _accessories,
    "water_resistance": _water,
    "firmware_latest": _firmware,
    "color_options": _colors,
}


def resolve(world: World, case: Case, created: str) -> tuple[list[str], str]:
    """Solution ids and the answer an agent gave.

    Args:
        world: The graph.
        case: What the ticket is about.
        created: When it was written, ISO; policies are read as of that day.
    """
    day = created[:10]
    if case.code is not None:
        meaning = f"{case.code[1]} means: {world.props(case.code)['meaning']}. "
        return _mend(world, case, case.code, meaning)
    if case.symptom is not None and case.intent in INTENTS["troubleshooting"]:
        return _mend(world, case, case.symptom, "")
    if case.intent in INTENTS["policy"]:
        return [], _policy(world, case, day)
    handler = _FAQ.get(case.intent) or ORDER_ANSWERS.get(case.intent) or _article
    return [], handler(world, case, day)
