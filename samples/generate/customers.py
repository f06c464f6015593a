"""Customers, their orders and the tickets that were solved in the past."""

from __future__ import annotations

import random
from datetime import date, timedelta

from samples.generate.catalogue import HELD_OUT
from samples.generate.faults import solutions_for
from samples.generate.tables import read_sections
from samples.generate.world import TODAY, Ref, World, rng_for

CUSTOMERS = 300
ORDERS = 860
PAST_TICKETS = 240


def _day(rng: random.Random, first: str, last: str) -> date:
    start = date.fromisoformat(first)
    span = (date.fromisoformat(last) - start).days
    return start + timedelta(days=rng.randint(0, span))


def _add_customers(world: World, rng: random.Random) -> list[Ref]:
    sections = read_sections("people").items()
    people = {part: [name for row in rows for name in row] for part, rows in sections}
    customers: list[Ref] = []
    for number in range(1, CUSTOMERS + 1):
        first, last = rng.choice(people["first"]), rng.choice(people["last"])
        customers.append(
            world.add(
                "Customer",
                f"CU_{number:04d}",
                f"{first} {last}",
                email=f"{first.lower()}.{last.lower()}{number}@mail.example",
                tier=rng.choices(("standard", "plus", "business"), (70, 22, 8))[0],
            )
        )
    return customers


def _status(rng: random.Random, placed: date) -> tuple[str, date | None]:
    """Status of an order today, and its day of delivery where it has one."""
    today = date.fromisoformat(TODAY)
    if rng.random() < 0.06:
        return "cancelled", None
    delivered = placed + timedelta(days=rng.randint(2, 6))
    if (today - placed).days <= 2:
        return "processing", None
    if delivered >= today:
        return "shipped", None
    return ("returned" if rng.random() < 0.08 else "delivered"), delivered


def _placed_on(rng: random.Random, number: int) -> date:
    """Days spread over the company's time, with enough of them in spring and this month."""
    if number % 9 == 0:
        return _day(rng, "2026-03-02", "2026-03-30")
    if number % 11 == 0:
        return _day(rng, "2026-11-12", "2026-11-19")
    if number % 4 == 0:
        return _day(rng, "2026-06-02", "2026-11-10")
    return _day(rng, "2024-03-01", "2026-11-10")


def _add_orders(world: World, rng: random.Random, customers: list[Ref]) -> None:
    products = world.of("Product")
    for number in range(ORDERS):
        placed = _placed_on(rng, number)
        known = [p for p in products if world.props(p)["released"] <= placed.isoformat()]
        new = [p for p in known if p[1] in HELD_OUT]
        old = [p for p in known if p[1] not in HELD_OUT]
        pool = new if number % 3 == 0 and len(new) >= 3 else old
        basket = rng.sample(pool, rng.choices((1, 2, 3), (60, 30, 10))[0])
        status, delivered = _status(rng, placed)
        lines = [(p, rng.choices((1, 2), (90, 10))[0]) for p in basket]
        ref = world.add(
            "Order",
            f"O_{100_200 + number * 7}",
            f"order {100_200 + number * 7}",
            placed_on=placed.isoformat(),
            status=status,
            delivered_on=delivered.isoformat() if delivered else None,
            total_eur=sum(float(world.props(p)["price_eur"]) * count for p, count in lines),
        )
        world.link(rng.choice(customers), "PLACED", ref)
        for product, count in lines:
            price = world.props(product)["price_eur"]
            world.link(ref, "CONTAINS", product, quantity=count, price=price)


def _add_past_tickets(world: World, rng: random.Random) -> None:
    orders = [o for o in world.of("Order") if world.props(o)["status"] == "delivered"]
    for number in range(1, PAST_TICKETS + 1):
        order = rng.choice(orders)
        product = rng.choice(world.out(order, "CONTAINS")).end
        symptom = rng.choice(world.out(product, "HAS_SYMPTOM")).end
        solution = solutions_for(world, symptom, product)[0]
        opened = date.fromisoformat(world.props(order)["delivered_on"])
        opened = min(opened + timedelta(days=rng.randint(3, 200)), date.fromisoformat(TODAY))
        ref = world.add(
            "Ticket",
            f"T_{number:06d}",
            f"ticket {number}",
            created_at=opened.isoformat(),
            summary=f"{world.name(product)}: {world.name(symptom)}. Solved by "
            f'"{world.name(solution)}".',
        )
        world.link(ref, "OF", order)
        world.link(ref, "OF", product)
        world.link(ref, "RESOLVED_WITH", solution)


def add_customers(world: World) -> None:
    """Add customers, orders and solved tickets; products and solutions must be there."""
    rng = rng_for("customers")
    customers = _add_customers(world, rng)
    _add_orders(world, rng, customers)
    _add_past_tickets(world, rng)
