"""A retailer's own files, read by the mapping for that company: what may be asked of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kg_schema.client import FactRow, GraphClient
from kg_schema.connection import GraphSettings
from kg_schema.errors import InputError
from kg_schema.load import load_graph_files
from kg_schema.migrate import migrate
from kg_schema.ontology import load_ontology
from kg_schema.writer import GraphWriter

MAPPINGS = Path(__file__).parents[2] / "samples" / "mappings"
MAPPING = MAPPINGS / "tau_retail.yaml"
ONTOLOGY = MAPPINGS / "tau_retail_ontology.yaml"


def variant(item: str, price: float, available: bool, **options: str) -> dict[str, Any]:
    return {"item_id": item, "options": options, "available": available, "price": price}


PRODUCTS = {
    "11": {
        "name": "Kettle",
        "product_id": "11",
        "variants": {
            "110": variant("110", 31.5, True, colour="white", volume="1 l"),
            "111": variant("111", 33, False, colour="black", volume="1 l"),
            "112": variant("112", 39.9, True, colour="black", volume="2 l"),
        },
    },
    "12": {"name": "Lamp", "product_id": "12", "variants": {"120": variant("120", 9.5, False)}},
}
USERS = {
    who: {
        "name": {"first_name": who.title(), "last_name": "Example"},
        "address": {"city": "Anywhere", "zip": "00000"},
        "email": f"{who}@example.org",
        "payment_methods": {f"{source}_{who}": {"source": source, "id": f"{source}_{who}", **more}},
        "orders": orders,
    }
    for who, source, more, orders in (
        ("ann", "gift_card", {"balance": 50}, ["#W1", "#W2", "#W5"]),
        ("bob", "credit_card", {"last_four": "0000"}, ["#W3", "#W4"]),
    )
}


def order(
    number: str, who: str, status: str, *items: str, refunded: bool = False
) -> dict[str, Any]:
    method = next(iter(USERS[who]["payment_methods"]))
    kinds = ["payment", "refund"] if refunded else ["payment"]
    return {
        "order_id": number,
        "user_id": who,
        "address": {"city": "Anywhere"},
        "items": [
            {"name": "Kettle", "product_id": "11", "item_id": item, "price": 30.5} for item in items
        ],
        "fulfillments": [],
        "status": status,
        "payment_history": [
            {"transaction_type": kind, "amount": 61, "payment_method_id": method} for kind in kinds
        ],
    }


ORDERS = {
    each["order_id"]: each
    for each in (
        order("#W1", "ann", "pending", "110", "111"),
        order("#W2", "ann", "delivered", "112"),
        order("#W3", "bob", "processed", "110"),
        order("#W4", "bob", "pending", "110"),
        order("#W5", "ann", "cancelled", "110", refunded=True),
    )
}
POLICY = """# House rules
Be kind.
## Domain basic
Only orders that are pending or delivered can be acted on.
## Cancel pending order
Pending orders can be called off. Gift cards get their money back at once, others within a week.
## Modify pending order
Address, payment and options can be changed while an order is pending.
### Modify items
Options can be changed once.
## Return delivered order
What was delivered may be sent back; the money goes to where it came from or to a gift card.
## Exchange delivered order
What was delivered may be swapped for another variant of the same product.
"""


@pytest.fixture
def shop(writer: GraphWriter, tmp_path: Path) -> GraphSettings:
    """The little shop, loaded as the real one is."""
    files = {"products.json": PRODUCTS, "users.json": USERS, "orders.json": ORDERS}
    for name, document in files.items():
        (tmp_path / name).write_text(json.dumps(document, indent=1))
    (tmp_path / "policy.md").write_text(POLICY)
    ontology = load_ontology(ONTOLOGY)
    migrate(writer, ontology)

    def load() -> Any:
        return load_graph_files(
            tmp_path, writer.settings, source_id="shop", ontology=ontology, mapping=MAPPING
        )

    first = load()
    assert (first.quarantined, first.nodes.created) == (0, 2 + 4 + 2 + 2 + 5 + 7 + 6 + 6)
    assert load().written == 0
    return writer.settings


def said(rows: list[FactRow], predicate: str) -> set[tuple[str, str]]:
    return {
        (row.subject_id, str(row.object_id or row.value))
        for row in rows
        if row.predicate == predicate
    }


async def ask(graph: GraphSettings, template: str, **given: Any) -> list[FactRow]:
    async with GraphClient(graph) as client:
        return await client.read(template, {**given, "limit": 50}, deadline_s=30)


async def about(graph: GraphSettings, template: str, who: str, number: str) -> list[FactRow]:
    given = {"customer_id": who, "order_id": number, "as_of": "2026-11-23"}
    return await ask(graph, template, **given)


@pytest.mark.parametrize(
    ("who", "number", "status", "actions"),
    [
        ("ann", "#W1", "pending", {"cancel", "modify"}),
        ("ann", "#W2", "delivered", {"return", "exchange"}),
        ("bob", "#W3", "processed", set()),
        ("ann", "#W5", "cancelled", set()),
    ],
)
async def test_what_may_still_be_changed_follows_from_the_orders_status(
    shop: GraphSettings, who: str, number: str, status: str, actions: set[str]
) -> None:
    rows = await about(shop, "order_changes", who, number)
    assert said(rows, "status") == {(number, status)}
    assert said(rows, "HAS_ITEM") == {(number, item["item_id"]) for item in ORDERS[number]["items"]}
    assert {action for _, action in said(rows, "actions")} - {"refund"} == actions
    texts = " ".join(text for _, text in said(rows, "text"))
    assert "Only orders that are pending or delivered" in texts
    assert ("called off" in texts) == ("cancel" in actions)
    assert ("swapped" in texts) == ("exchange" in actions)
    assert all(row.valid_from for row in rows if row.predicate == "text")


async def test_variants_in_stock(shop: GraphSettings) -> None:
    rows = await ask(shop, "product_variants", product_id="11", available=True)
    assert said(rows, "HAS_VARIANT") == {("11", "110"), ("11", "112")}
    assert said(rows, "available") == {("110", "true"), ("112", "true")}
    assert said(rows, "price") == {("110", "31.5"), ("112", "39.9")}
    assert ("112", "volume: 2 l") in said(rows, "option")
    everything = await ask(shop, "product_variants", product_id="11", available=None)
    assert len(said(everything, "HAS_VARIANT")) == 3
    assert await ask(shop, "product_variants", product_id="12", available=True) == []


async def test_the_refund_of_a_gift_card_order(shop: GraphSettings) -> None:
    rows = await about(shop, "order_refund", "ann", "#W1")
    assert said(rows, "PAID_WITH") == {("#W1", "gift_card_ann")}
    assert said(rows, "source") == {("gift_card_ann", "gift_card")}
    assert said(rows, "paid") == {("gift_card_ann", "61.0")}
    assert any("Gift cards get their money back at once" in text for _, text in said(rows, "text"))
    done = await about(shop, "order_refund", "ann", "#W5")
    assert said(done, "REFUNDED_TO") == {("#W5", "gift_card_ann")}
    assert not said(done, "text")


@pytest.mark.parametrize("template", ["order_changes", "order_refund"])
async def test_another_customers_order_is_as_if_it_were_not(
    shop: GraphSettings, template: str
) -> None:
    assert await about(shop, template, "bob", "#W4")
    assert await about(shop, template, "bob", "#W1") == []
    assert await about(shop, template, "bob", "#W9") == []


async def test_the_written_policy_is_found_by_its_words_and_by_its_topic(
    shop: GraphSettings,
) -> None:
    found = await ask(shop, "articles_by_text", query="swapped")
    assert [row.subject_id for row in found] == ["policy_exchange_delivered_order"]
    day = {"from_date": "2026-11-23", "to_date": "2026-11-23"}
    rows = await ask(shop, "policy_as_of", topic="cancel_pending_order", **day)
    assert ("cancel_pending_order", "cancel_pending_order@1") in said(rows, "HAS_VERSION")


def test_an_article_may_not_reach_a_companys_own_personal_label(tmp_path: Path) -> None:
    ontology = load_ontology(ONTOLOGY)
    with pytest.raises(ValueError, match="does not name PaymentMethod"):
        ontology.check_relationship("ABOUT", "Article", "PaymentMethod", {})
    assert ontology.check_relationship("ABOUT", "Article", "Variant", {}) == {}
    ontology.check_relationship("HAS_PAYMENT_METHOD", "Customer", "PaymentMethod", {})


def test_a_mapping_needs_the_ontology_that_it_was_written_for(
    writer: GraphWriter, tmp_path: Path
) -> None:
    (tmp_path / "products.json").write_text(json.dumps(PRODUCTS))
    with pytest.raises(InputError, match="no known label: 'Variant'"):
        load_graph_files(tmp_path, writer.settings, source_id="shop", mapping=MAPPING)
