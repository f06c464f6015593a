"""What each read template is asked of a generated company, the popular more often."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta

import numpy as np

from benchmarks.company import DAYS, FIRST_DAY, Company, CompanyEncoder, node_id
from kg_schema.templates import load_templates

Draw = Callable[[Company, np.random.Generator], dict[str, object]]

TWO_HOP = "solutions_by_symptom"


def _one(label: str) -> Callable[[Company, np.random.Generator], str]:
    def draw(company: Company, generator: np.random.Generator) -> str:
        return node_id(label, int(company.popular(label, 1, generator)[0]))

    return draw


def _day(generator: np.random.Generator) -> str:
    day: date = FIRST_DAY + timedelta(days=int(generator.integers(0, DAYS)))
    return day.isoformat()


def _topic(company: Company, generator: np.random.Generator) -> str:
    return f"topic_{generator.integers(0, company.topics)}"


def _own_order(company: Company, generator: np.random.Generator) -> dict[str, object]:
    """An order and the customer who placed it."""
    order = int(generator.integers(0, company.counts["Order"]))
    return {
        "customer_id": node_id("Customer", int(company.placed_by(order))),
        "order_id": node_id("Order", order),
        "limit": 50,
    }


_product, _accessory, _symptom = _one("Product"), _one("Accessory"), _one("Symptom")
_error, _promotion, _feature = _one("ErrorCode"), _one("Promotion"), _one("Feature")


def _as_of(company: Company, generator: np.random.Generator) -> dict[str, object]:
    day = _day(generator)
    return {"topic": _topic(company, generator), "from_date": day, "to_date": day, "limit": 50}


DRAWS: Mapping[str, Draw] = {
    TWO_HOP: lambda c, g: {
        "symptom_id": _symptom(c, g),
        "product_id": _product(c, g),
        "limit": 20,
    },
    "alternatives": lambda c, g: {"product_id": _product(c, g), "limit": 5},
    "articles_by_text": lambda _, g: {"query": f"battery drains {g.integers(0, 90)}", "limit": 10},
    "articles_by_vector": lambda _, g: {
        "vector": CompanyEncoder().encode([f"About the fan of the {g.integers(0, 9_000)}"])[0],
        "model": CompanyEncoder.model,
        "limit": 10,
    },
    "articles_by_topic": lambda c, g: {
        "topic": _topic(c, g),
        "entity_ids": [_product(c, g)],
        "limit": 10,
    },
    "catalogue": lambda c, _: {"limit": min(c.nodes, 100_000)},
    "compare_products": lambda c, g: {
        "product_ids": [_product(c, g), _product(c, g)],
        "limit": 100,
    },
    "compatibility": lambda c, g: {
        "accessory_id": _accessory(c, g),
        "product_id": _product(c, g),
        "limit": 50,
    },
    "compatible_accessories": lambda c, g: {"product_id": _product(c, g), "limit": 50},
    "customer_order": _own_order,
    "neighbourhood": lambda c, g: {"id": _product(c, g), "fan_out": 10, "limit": 50},
    "order_policies": lambda c, g: {**_own_order(c, g), "topic": _topic(c, g)},
    "order_warranty": _own_order,
    "policy_as_of": _as_of,
    "policy_fingerprint": lambda _, g: {"as_of": _day(g)},
    "product_features": lambda c, g: {
        "product_id": _product(c, g),
        "feature_ids": [_feature(c, g)],
        "limit": 50,
    },
    "product_profile": lambda c, g: {"product_id": _product(c, g)},
    "product_symptoms": lambda c, g: {"product_ids": [_product(c, g)], "limit": 100},
    "promotion_rules": lambda c, g: {
        "promotion_ids": [_promotion(c, g), _promotion(c, g)],
        "limit": 100,
    },
    "promotions_for_product": lambda c, g: {
        "product_id": _product(c, g),
        "as_of": _day(g),
        "limit": 50,
    },
    "solutions_by_error_code": lambda c, g: {
        "error_code": _error(c, g),
        "product_id": None,
        "limit": 10,
    },
    "symptom_context": lambda c, g: {"product_id": _product(c, g), "limit": 50},
}
# Engines score a text each in their own way; every other template yields the same rows on both.
SEARCHES = frozenset({"articles_by_text", "articles_by_vector"})
# A retailer's own extension of the ontology; a generated company has no variants and payments.
EXTENSIONS = frozenset({"product_variants", "order_changes", "order_refund"})


def unmeasured() -> set[str]:
    """Templates that the table does not read: none, or the table is behind."""
    return set(load_templates()) - set(DRAWS) - EXTENSIONS
