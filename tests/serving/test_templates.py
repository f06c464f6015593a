"""Every read template on the embedded engine and on Neo4j: the same facts."""

from collections import Counter

import pytest

from kg_schema.client import GraphClient
from kg_schema.templates import load_templates
from serving.retrieval import SEARCHES
from tests.kg_schema.stub_encoder import MODEL, vector

ORDER = {"customer_id": "CU_0001", "order_id": "O_100001", "limit": 50}
READS = {
    "alternatives": {"product_id": "P_X200", "limit": 3},
    "articles_by_text": {"query": "password", "limit": 3},
    "articles_by_topic": {"topic": "setup_guide", "entity_ids": ["P_X200"], "limit": 5},
    "articles_by_vector": {"vector": vector("password"), "model": MODEL, "limit": 3},
    "catalogue": {"limit": 1000},
    "compare_products": {"product_ids": ["P_X200", "P_X300"], "limit": 50},
    "compatibility": {"accessory_id": "A_CH65", "product_id": "P_X200", "limit": 50},
    "compatible_accessories": {"product_id": "P_X200", "limit": 50},
    "customer_order": ORDER,
    "neighbourhood": {"id": "P_X200", "fan_out": 20, "limit": 50},
    "order_policies": ORDER | {"topic": "return_window"},
    "order_warranty": ORDER,
    "policy_as_of": {
        "topic": "return_window",
        "from_date": "2026-03-01",
        "to_date": "2026-11-20",
        "limit": 50,
    },
    "product_features": {"product_id": "P_X200", "feature_ids": ["F_NFC"], "limit": 50},
    "product_profile": {"product_id": "P_X200"},
    "product_symptoms": {"product_ids": ["P_X200"], "limit": 50},
    "promotion_rules": {"promotion_ids": ["PR_SPRING", "PR_STUDENT"], "limit": 50},
    "promotions_for_product": {"product_id": "P_X200", "as_of": "2026-04-01", "limit": 50},
    "solutions_by_error_code": {"error_code": "E1001", "product_id": None, "limit": 5},
    "solutions_by_symptom": {"symptom_id": "SY_001", "product_id": "P_X200", "limit": 5},
    "symptom_context": {"product_id": "P_X200", "limit": 50},
}

# Tried on a graph of their own kind, in tests/kg_schema.
ELSEWHERE = {"order_changes", "order_refund", "policy_fingerprint", "product_variants"}


def said(rows):
    return {(row.subject_id, row.predicate, row.object_id or row.value) for row in rows}


@pytest.fixture
async def client(small_graph):
    async with GraphClient(small_graph) as opened:
        yield opened


def test_every_template_is_tried():
    assert set(READS) == set(load_templates()) - ELSEWHERE


@pytest.mark.parametrize("name", sorted(READS))
async def test_every_template_yields_facts(client, name):
    rows = await client.read(name, READS[name], deadline_s=30)
    assert rows
    assert all(row.source == "small" and row.subject_name for row in rows)


async def test_both_engines_yield_the_same(client, small_neo4j):
    async with GraphClient(small_neo4j) as other:
        for name, parameters in READS.items():
            rows = [await each.read(name, parameters, deadline_s=60) for each in (client, other)]
            if name in SEARCHES:  # each engine has its own search score
                rows = [[(row.subject_id, row.value) for row in found] for found in rows]
            assert sorted(map(str, rows[0])) == sorted(map(str, rows[1])), name


async def test_solutions_are_those_for_the_product_in_their_order(client):
    parameters = {"error_code": "E1001", "limit": 5}
    everywhere = await client.read(
        "solutions_by_error_code", parameters | {"product_id": "P_MURAIR"}, deadline_s=30
    )
    assert ("E1001", "RESOLVED_BY", "S_002") in said(everywhere)
    rows = await client.read("solutions_by_symptom", READS["solutions_by_symptom"], deadline_s=30)
    solutions = [(row.rank, row.object_id) for row in rows if row.predicate == "RESOLVED_BY"]
    assert sorted(solutions) == [(1, "S_001"), (2, "S_002")]
    steps = [row for row in rows if row.predicate == "HAS_STEP" and row.subject_id == "S_001"]
    assert sorted(row.rank for row in steps) == [1, 2, 3]


async def test_a_foreign_order_and_an_absent_one_look_the_same(client):
    personal = ["customer_order", "order_policies", "order_warranty"]
    for name in personal:
        for change in ({"customer_id": "CU_0002"}, {"order_id": "O_999999"}):
            assert await client.read(name, READS[name] | change, deadline_s=30) == []


async def test_no_template_yields_personal_properties(client):
    for name, parameters in READS.items():
        rows = await client.read(name, parameters, deadline_s=30)
        assert not {"email", "tier"} & {row.predicate for row in rows}
        assert "Customer" not in {
            label for row in rows for label in (row.subject_label, row.object_label)
        }


async def test_the_neighbourhood_of_a_customer_or_an_order_is_not_read(client):
    for node_id in ("CU_0001", "O_100001"):
        given = READS["neighbourhood"] | {"id": node_id}
        assert await client.read("neighbourhood", given, deadline_s=30) == []


async def test_limits_bound_what_is_read(client):
    for bounds, most in (({"limit": 2}, 2), ({"fan_out": 1}, 1)):
        rows = await client.read("neighbourhood", READS["neighbourhood"] | bounds, deadline_s=30)
        kinds = Counter(row.predicate for row in rows if row.object_id)
        assert max(kinds.values()) == 1 or "limit" in bounds
        assert kinds.total() == most if "limit" in bounds else len(kinds) > 3


async def test_order_warranty_adds_the_months_to_the_delivery_day(client):
    rows = await client.read("order_warranty", ORDER, deadline_s=30)
    assert ("P_X200", "warranty_until", "2028-03-13") in said(rows)
