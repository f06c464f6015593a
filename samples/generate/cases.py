"""What a question is about: a consistent draw of products, symptoms, orders, promotions."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from samples.generate.catalogue import HELD_OUT, protocols_of
from samples.generate.days import random_day, written_day
from samples.generate.faults import phrases_of, solutions_for
from samples.generate.frames import Piece, Slots
from samples.generate.world import Ref, World

INTENTS: dict[str, tuple[str, ...]] = {
    "faq": (
        *("product_features", "charging_protocols", "product_specification", "product_price"),
        *("product_availability", "warranty_length", "compatible_accessories"),
        *("water_resistance", "firmware_latest", "color_options", "setup_guide"),
        *("pairing_guide", "data_transfer_guide", "password_reset", "payment_methods"),
        *("contact_hours", "trade_in_info", "invoice_copy"),
    ),
    "troubleshooting": (
        *("slow_charging", "not_charging", "battery_drain", "overheating", "screen_flicker"),
        *("touch_unresponsive", "wifi_drops", "bluetooth_failure", "no_sound", "camera_blur"),
        *("app_crash", "update_failure", "boot_loop", "sensor_inaccurate"),
        *("sim_not_detected", "sync_failure", "error_code_help"),
    ),
    "policy": (
        *("return_window", "refund_timing", "exchange_rules", "warranty_coverage"),
        *("repair_policy", "price_match", "shipping_policy", "cancellation_policy"),
        *("gift_card_terms", "data_privacy", "recycling_program", "student_discount_rules"),
    ),
    "multi_entity": (
        *("combine_promotions", "promotion_on_product", "order_status"),
        *("order_return_eligibility", "order_warranty", "accessory_fits_product"),
        *("compare_products", "product_alternatives", "order_contents"),
    ),
}
"""Intents by problem type; `out_of_scope` stands beside them."""

ORDER_INTENTS = ("order_status", "order_return_eligibility", "order_warranty", "order_contents")

NOUNS: dict[str, str] = {
    "C_PHONE": "phone",
    "C_LAPTOP": "laptop",
    "C_TABLET": "tablet",
    "C_WATCH": "watch",
    "C_AUDIO": "headset",
    "C_SPEAKER": "speaker",
    "C_CAMERA": "camera",
    "C_HOME": "device",
    "C_ROUTER": "router",
    "C_MONITOR": "monitor",
    "C_READER": "e-reader",
}


@dataclass(frozen=True)
class Case:
    """What one question is about: nodes, and the day of an order; None where it plays no part."""

    intent: str
    product: Ref
    product2: Ref | None = None
    accessory: Ref | None = None
    symptom: Ref | None = None
    code: Ref | None = None
    order: Ref | None = None
    customer: Ref | None = None
    promotion: Ref | None = None
    promotion2: Ref | None = None
    feature: Ref | None = None
    day: str | None = None


class Draw:
    """Draws cases from the graph.

    Args:
        world: The graph.
        rng: Source of chance.
        products: Products that may be asked about.
    """

    def __init__(self, world: World, rng: random.Random, products: Sequence[Ref]) -> None:
        self._world = world
        self._rng = rng
        self._products = list(products)
        named = set(products)
        self._orders = [
            order
            for order in world.of("Order")
            if all(edge.end in named for edge in world.out(order, "CONTAINS"))
        ]

    def case(self, intent: str) -> Case:
        """A case for an intent.

        Raises:
            ValueError: No product of the draw can have it.
        """
        if intent in ORDER_INTENTS or intent == "invoice_copy":
            return self._order_case(intent)
        if intent == "combine_promotions":
            return self._promotions_case(intent)
        product = self._rng.choice(self._fitting(intent))
        if intent == "error_code_help":
            codes = self._codes(product)
            return Case(intent, product, code=self._rng.choice(codes))
        symptoms = self._symptoms(product, intent)
        symptom = self._rng.choice(symptoms) if symptoms else None
        return Case(
            intent,
            product,
            product2=self._sibling(product),
            accessory=self._accessory(product) if intent == "accessory_fits_product" else None,
            symptom=symptom,
            promotion=self._promotion(product) if intent == "promotion_on_product" else None,
            feature=self._feature(product) if intent == "product_features" else None,
            day=self._day(product) if intent in INTENTS["policy"] else None,
        )

    def _fitting(self, intent: str) -> list[Ref]:
        world, troubles = self._world, INTENTS["troubleshooting"]
        if intent == "charging_protocols":
            return [p for p in self._products if protocols_of(world, p)]
        if intent in ("pairing_guide", "data_transfer_guide"):
            return [p for p in self._products if self._has_article(p, intent)]
        if intent in troubles and intent != "error_code_help":
            return [p for p in self._products if self._symptoms(p, intent)]
        if intent == "error_code_help":
            return [p for p in self._products if self._codes(p)]
        if intent == "accessory_fits_product":
            return [p for p in self._products if world.props(p)["category"] != "C_HOME"]
        return self._products

    def _has_article(self, product: Ref, topic: str) -> bool:
        world = self._world
        category = ("Category", str(world.props(product)["category"]))
        about = [edge.start for edge in world.into(category, "ABOUT")]
        return any(world.props(article)["topic"] == topic for article in about)

    def _symptoms(self, product: Ref, topic: str) -> list[Ref]:
        symptoms = [edge.end for edge in self._world.out(product, "HAS_SYMPTOM")]
        return [ref for ref in symptoms if self._world.props(ref)["topic"] == topic]

    def _codes(self, product: Ref) -> list[Ref]:
        codes = [
            edge.end
            for symptom in self._world.out(product, "HAS_SYMPTOM")
            for edge in self._world.out(symptom.end, "INDICATES")
        ]
        return [code for code in codes if solutions_for(self._world, code, product)]

    def _sibling(self, product: Ref) -> Ref | None:
        category = self._world.props(product)["category"]
        others = [
            p
            for p in self._products
            if p != product and self._world.props(p)["category"] == category
        ]
        return self._rng.choice(others) if others else None

    def _accessory(self, product: Ref) -> Ref:
        fits = [edge.end for edge in self._world.out(product, "COMPATIBLE_WITH")]
        if fits and self._rng.random() < 0.65:
            return self._rng.choice(fits)
        return self._rng.choice([a for a in self._world.of("Accessory") if a not in fits])

    def _promotion(self, product: Ref) -> Ref:
        covering = covering_promotions(self._world, product)
        if covering and self._rng.random() < 0.7:
            return self._rng.choice(covering)
        others = [p for p in self._world.of("Promotion") if p not in covering]
        return self._rng.choice(others)

    def _day(self, product: Ref) -> str | None:
        return random_day(self._world, product, self._rng) if self._rng.random() < 0.3 else None

    def _feature(self, product: Ref) -> Ref:
        has = [edge.end for edge in self._world.out(product, "SUPPORTS_FEATURE")]
        if self._rng.random() < 0.75:
            return self._rng.choice(has)
        return self._rng.choice([f for f in self._world.of("Feature") if f not in has])

    def _order_case(self, intent: str) -> Case:
        world = self._world
        wanted = {"order_return_eligibility": ("delivered",), "order_warranty": ("delivered",)}
        statuses = wanted.get(intent)
        orders = [o for o in self._orders if not statuses or world.props(o)["status"] in statuses]
        order = self._rng.choice(orders)
        product = world.out(order, "CONTAINS")[0].end
        return Case(intent, product, order=order, customer=world.into(order, "PLACED")[0].start)

    def _promotions_case(self, intent: str) -> Case:
        world = self._world
        first = self._rng.choice(world.of("Promotion"))
        ruled = [
            edge.end if edge.start == first else edge.start
            for kind in ("COMBINES_WITH", "EXCLUDES")
            for edge in world.out(first, kind) + world.into(first, kind)
        ]
        order = self._rng.choice(self._orders)
        return Case(
            intent,
            world.out(order, "CONTAINS")[0].end,
            order=order,
            customer=world.into(order, "PLACED")[0].start,
            promotion=first,
            promotion2=self._rng.choice(ruled),
        )


def ticket_products(world: World) -> list[Ref]:
    """Products that tickets may name."""
    return [ref for ref in world.of("Product") if ref[1] not in HELD_OUT]


def covering_promotions(world: World, product: Ref) -> list[Ref]:
    """Promotions that cover a product by name or by category."""
    category = ("Category", str(world.props(product)["category"]))
    edges = world.into(product, "COVERS") + world.into(category, "COVERS")
    return [edge.start for edge in edges if edge.start[0] == "Promotion"]


def _called(world: World, ref: Ref, rng: random.Random) -> Piece:
    aliases = world.props(ref).get("aliases", [])
    if aliases and rng.random() < 0.5:
        return Piece(str(rng.choice(aliases)), ref)
    return Piece(world.name(ref), ref)


def order_mention(order: Ref, after_order: bool, rng: random.Random) -> str:
    """How a customer writes an order's number.

    Args:
        order: The order.
        after_order: Whether the word "order" stands before it already.
        rng: Source of chance.
    """
    number = order[1].removeprefix("O_")
    plain = number if after_order else f"order {number}"
    return rng.choice((plain, plain, f"#{number}", order[1]))


def slots_for(world: World, case: Case, frame: str, rng: random.Random) -> Slots:
    """What fills the slots of a frame for a case, each under one of its names."""
    slots: Slots = {"noun": Piece(NOUNS[str(world.props(case.product)["category"])])}
    named = {
        "product": case.product,
        "product2": case.product2,
        "accessory": case.accessory,
        "promo": case.promotion,
        "promo2": case.promotion2,
        "feature": case.feature,
    }
    for slot, ref in named.items():
        if ref is not None:
            slots[slot] = _called(world, ref, rng)
    if case.symptom is not None:
        verbs, nouns = phrases_of(world.name(case.symptom))
        slots["vp"] = Piece(rng.choice(verbs), case.symptom)
        slots["np"] = Piece(rng.choice(nouns), case.symptom)
    if case.code is not None:
        code = case.code[1]
        text = rng.choice((code, code, code.lower(), f"{code[0]}-{code[1:]}"))
        slots["code"] = Piece(text, case.code)
    if case.day is not None:
        slots["day"] = Piece(written_day(case.day, rng), exact=True)
    if case.order is not None:
        after = "order {order}" in frame.lower()
        slots["order"] = Piece(order_mention(case.order, after, rng), case.order)
    return slots
