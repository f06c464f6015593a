"""Answers about orders, promotions, and products beside each other."""

from __future__ import annotations

from collections.abc import Callable

from samples.generate.cases import Case, covering_promotions, ticket_products
from samples.generate.policies import most_specific, version_on
from samples.generate.world import Ref, World


def rule_between(world: World, one: Ref, other: Ref) -> str | None:
    """`COMBINES_WITH` or `EXCLUDES`, whichever way round it is stored; None without a rule."""
    for kind in ("COMBINES_WITH", "EXCLUDES"):
        if world.edge(one, kind, other) or world.edge(other, kind, one):
            return kind
    return None


def alternatives(world: World, product: Ref, pool: list[Ref]) -> list[Ref]:
    """Up to three products in stock of the same category, the nearest in price first."""
    props = world.props(product)
    others = [
        ref
        for ref in pool
        if ref != product
        and world.props(ref)["category"] == props["category"]
        and world.props(ref)["stock"] == "in_stock"
    ]
    others.sort(key=lambda ref: (abs(world.props(ref)["price_eur"] - props["price_eur"]), ref[1]))
    return others[:3]


def discount(world: World, promotion: Ref) -> str:
    """What a promotion takes off, in words."""
    props = world.props(promotion)
    if "discount_percent" in props:
        return f"{props['discount_percent']} percent"
    return f"{props['amount_eur']:.0f} euro"


def _known(ref: Ref | None) -> Ref:
    if ref is None:
        raise ValueError("the case lacks a node that its intent needs")
    return ref


def _combine(world: World, case: Case, _day: str) -> str:
    one, other = _known(case.promotion), _known(case.promotion2)
    verb = "can" if rule_between(world, one, other) == "COMBINES_WITH" else "cannot"
    return f"The {world.name(one)} {verb} be combined with the {world.name(other)}."


def _promotion(world: World, case: Case, _day: str) -> str:
    promotion = _known(case.promotion)
    name, product = world.name(promotion), world.name(case.product)
    if promotion not in covering_promotions(world, case.product):
        return f"The {name} does not cover the {product}."
    props = world.props(promotion)
    return (
        f"The {name} takes {discount(world, promotion)} off the {product} from "
        f"{props['valid_from']} to {props['valid_to']}."
    )


def _status(world: World, case: Case, _day: str) -> str:
    props = world.props(_known(case.order))
    arrived = f" on {props['delivered_on']}" if "delivered_on" in props else ""
    placed = f"Your {props['name']} was placed on {props['placed_on']}"
    return f"{placed}; it is {props['status']}{arrived}."


def _items(world: World, order: Ref) -> str:
    lines = world.out(order, "CONTAINS")
    return ", ".join(f"{edge.props['quantity']} x {world.name(edge.end)}" for edge in lines)


def _contents(world: World, case: Case, _day: str) -> str:
    order = _known(case.order)
    props = world.props(order)
    return f"Your {props['name']}: {_items(world, order)}, {props['total_eur']:.0f} euro in all."


def _by_order_date(world: World, case: Case, topic: str) -> str:
    order = _known(case.order)
    placed = str(world.props(order)["placed_on"])
    for policy in most_specific(world, "Policy", topic, case.product):
        version = version_on(world, policy, placed)
        if version is not None:
            return str(world.props(version)["text"])
    return "No rule of ours covers that order."


def _eligibility(world: World, case: Case, _day: str) -> str:
    props = world.props(_known(case.order))
    text = _by_order_date(world, case, "return_window")
    dates = f"of {props['placed_on']} was delivered {props['delivered_on']}"
    return f"Your {props['name']} {dates}. {text}"


def _warranty(world: World, case: Case, _day: str) -> str:
    props = world.props(_known(case.order))
    months = world.props(case.product)["warranty_months"]
    return (
        f"Your {props['name']} was placed on {props['placed_on']}. The {world.name(case.product)} "
        f"has {months} months of warranty. {_by_order_date(world, case, 'warranty_coverage')}"
    )


def _fits(world: World, case: Case, _day: str) -> str:
    accessory = _known(case.accessory)
    edge = world.edge(case.product, "COMPATIBLE_WITH", accessory)
    if edge is None:
        return f"The {world.name(accessory)} is not made for the {world.name(case.product)}."
    firmware = edge.props.get("min_firmware")
    condition = f" from firmware {firmware} on" if firmware else ""
    return f"Yes, the {world.name(accessory)} fits the {world.name(case.product)}{condition}."


def _compare(world: World, case: Case, _day: str) -> str:
    parts = []
    for ref in (case.product, _known(case.product2)):
        props = world.props(ref)
        parts.append(
            f"the {props['name']} costs {props['price_eur']:.0f} euro, "
            f"weighs {props['weight_g']} g and has {props['warranty_months']} months of warranty"
        )
    return f"Compared: {'; '.join(parts)}."


def _alternatives(world: World, case: Case, _day: str) -> str:
    found = alternatives(world, case.product, ticket_products(world))
    names = ", ".join(world.name(ref) for ref in found)
    return f"Nearest to the {world.name(case.product)} are: {names}."


ORDER_ANSWERS: dict[str, Callable[[World, Case, str], str]] = {
    "combine_promotions": _combine,
    "promotion_on_product": _promotion,
    "order_status": _status,
    "order_contents": _contents,
    "order_return_eligibility": _eligibility,
    "order_warranty": _warranty,
    "accessory_fits_product": _fits,
    "compare_products": _compare,
    "product_alternatives": _alternatives,
}
