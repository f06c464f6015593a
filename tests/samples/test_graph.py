from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from datetime import date, timedelta
from itertools import pairwise

import pytest

from kg_schema.ontology import load_ontology
from kg_schema.rows import Edge, Node, check_row, read_json_lines
from samples import sample_path
from samples.generate.cases import INTENTS
from tests.samples.corpus import Ref, graph

NAMED = ("Product", "Accessory", "Promotion", "Feature", "Symptom", "ErrorCode", "Solution")
AT_LEAST = {
    **{"Product": 60, "Accessory": 40, "Symptom": 80, "ErrorCode": 60, "Solution": 120},
    **{"Policy": 25, "Promotion": 15, "Customer": 300, "Order": 800, "Article": 30},
}
ENDS = {
    "SUPPORTS_FEATURE": {("Product", "Feature")},
    "COMPATIBLE_WITH": {("Product", "Accessory"), ("Accessory", "Feature")},
    "IN_CATEGORY": {("Product", "Category")},
    "HAS_SYMPTOM": {("Product", "Symptom")},
    "INDICATES": {("Symptom", "ErrorCode"), ("ErrorCode", "Symptom")},
    "RESOLVED_BY": {("Symptom", "Solution"), ("ErrorCode", "Solution")},
    "HAS_STEP": {("Solution", "Step")},
    "NEXT": {("Step", "Step")},
    "APPLIES_TO": {("Solution", "Product")},
    "HAS_VERSION": {("Policy", "PolicyVersion")},
    "COVERS": {
        *(("Policy", "Product"), ("Policy", "Category")),
        *(("Promotion", "Product"), ("Promotion", "Category")),
    },
    "COMBINES_WITH": {("Promotion", "Promotion")},
    "EXCLUDES": {("Promotion", "Promotion")},
    "PLACED": {("Customer", "Order")},
    "CONTAINS": {("Order", "Product")},
    "ABOUT": {("Article", "Product"), ("Article", "Category")},
    "RESOLVED_WITH": {("Ticket", "Solution")},
    "OF": {("Ticket", "Order"), ("Ticket", "Product")},
}
PROPERTIES = {
    "Product": "aliases category price_eur released latest_firmware warranty_months stock weight_g "
    "colors",
    "Feature": "kind",
    "Accessory": "aliases kind price_eur stock",
    "Symptom": "aliases description topic",
    "ErrorCode": "meaning aliases",
    "Solution": "summary topic",
    "Step": "text",
    "Policy": "topic rule",
    "PolicyVersion": "version text valid_from recorded_at sha256",
    "Promotion": "code aliases valid_from valid_to terms",
    "Customer": "email tier",
    "Order": "placed_on status total_eur",
    "Article": "topic body",
    "Ticket": "created_at summary",
}


def test_there_is_enough_of_everything() -> None:
    counts = Counter(label for label, _ in graph().nodes)
    assert {label: counts[label] for label in AT_LEAST if counts[label] < AT_LEAST[label]} == {}


def test_ids_are_unique_and_no_relationship_dangles() -> None:
    nodes = graph().nodes
    assert all(start in nodes and end in nodes for _, start, end, _ in graph().edges)
    rows = [(kind, start, end) for kind, start, end, _ in graph().edges]
    assert len(rows) == len(set(rows))


def test_relationships_join_the_labels_they_may() -> None:
    found: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for kind, start, end, _ in graph().edges:
        found[kind].add((start[0], end[0]))
    assert dict(found) == ENDS


@pytest.mark.parametrize("label", PROPERTIES)
def test_nodes_have_their_properties(label: str) -> None:
    needed = {"name", *PROPERTIES[label].split()}
    lacking = {key: needed - set(props) for key, props in graph().of(label).items()}
    assert {key: missing for key, missing in lacking.items() if missing} == {}


def test_names_are_unambiguous_within_a_label() -> None:
    for label in NAMED:
        names = Counter(
            name.casefold()
            for props in graph().of(label).values()
            for name in (props["name"], *props.get("aliases", []))
        )
        assert [name for name, count in names.items() if count > 1] == [], label


def test_every_product_has_what_questions_ask_for() -> None:
    for product_id, props in graph().of("Product").items():
        ref: Ref = ("Product", product_id)
        assert graph().ends("IN_CATEGORY", ref) == [("Category", props["category"])]
        assert graph().ends("SUPPORTS_FEATURE", ref)
        assert graph().ends("COMPATIBLE_WITH", ref)
        assert graph().ends("HAS_SYMPTOM", ref)


def test_every_fault_of_a_product_has_a_solution_for_it() -> None:
    applies = graph().pairs("APPLIES_TO")
    solved: defaultdict[Ref, list[Ref]] = defaultdict(list)
    for cause, solution in graph().pairs("RESOLVED_BY"):
        solved[cause].append(solution)
    unsolved = [
        (product, symptom)
        for product, symptom in graph().pairs("HAS_SYMPTOM")
        if not any((solution, product) in applies for solution in solved[symptom])
    ]
    assert unsolved == []
    assert all(solved["ErrorCode", code] for code in graph().of("ErrorCode"))


def test_priorities_leave_no_tie_for_a_product() -> None:
    applies: defaultdict[Ref, set[Ref]] = defaultdict(set)
    for solution, product in graph().pairs("APPLIES_TO"):
        applies[solution].add(product)
    ranked: defaultdict[tuple[Ref, int], list[Ref]] = defaultdict(list)
    for kind, cause, solution, props in graph().edges:
        if kind == "RESOLVED_BY":
            ranked[cause, props["priority"]].append(solution)
    for solutions in ranked.values():
        assert sum(len(applies[s]) for s in solutions) == len(
            set().union(*(applies[s] for s in solutions))
        )


def test_steps_are_counted_from_one() -> None:
    orders: defaultdict[Ref, list[int]] = defaultdict(list)
    for kind, solution, _, props in graph().edges:
        if kind == "HAS_STEP":
            orders[solution].append(props["order"])
    assert len(orders) == len(graph().of("Solution"))
    assert all(sorted(found) == list(range(1, len(found) + 1)) for found in orders.values())
    assert any(props.get("when") for kind, *_, props in graph().edges if kind == "NEXT")


def test_topics_are_intents() -> None:
    known = {intent for intents in INTENTS.values() for intent in intents}
    for label in ("Symptom", "Solution", "Policy", "Article"):
        topics = {props["topic"] for props in graph().of(label).values()}
        assert topics <= known, label
    assert {props["topic"] for props in graph().of("Policy").values()} == set(INTENTS["policy"])


def test_policy_versions_follow_each_other_without_gap_or_overlap() -> None:
    several = 0
    for policy_id in graph().of("Policy"):
        versions = [
            graph().nodes[ref] for ref in graph().ends("HAS_VERSION", ("Policy", policy_id))
        ]
        versions.sort(key=lambda props: props["version"])
        several += len(versions) > 1
        assert [props["version"] for props in versions] == list(range(1, len(versions) + 1))
        assert "valid_to" not in versions[-1]
        for before, after in pairwise(versions):
            next_day = date.fromisoformat(before["valid_to"]) + timedelta(days=1)
            assert next_day == date.fromisoformat(after["valid_from"])
        for props in versions:
            assert props["sha256"] == hashlib.sha256(props["text"].encode()).hexdigest()
    assert several >= 8


def test_promotions_combine_or_exclude_but_never_both() -> None:
    combined = {frozenset(pair) for pair in graph().pairs("COMBINES_WITH")}
    excluded = {frozenset(pair) for pair in graph().pairs("EXCLUDES")}
    assert combined.isdisjoint(excluded)
    assert all(len(pair) == 2 for pair in combined | excluded)
    assert all(graph().ends("COVERS", ("Promotion", key)) for key in graph().of("Promotion"))


def test_orders_add_up() -> None:
    totals: defaultdict[Ref, float] = defaultdict(float)
    for kind, order, _, props in graph().edges:
        if kind == "CONTAINS":
            totals[order] += props["quantity"] * props["price"]
    owners = Counter(order for _, order in graph().pairs("PLACED"))
    for order_id, props in graph().of("Order").items():
        ref: Ref = ("Order", order_id)
        assert totals[ref] == props["total_eur"]
        assert owners[ref] == 1
        assert ("delivered_on" in props) == (props["status"] in ("delivered", "returned"))
        assert props["placed_on"] < props.get("delivered_on", "9999")
        released = [graph().nodes[p]["released"] for p in graph().ends("CONTAINS", ref)]
        assert max(released) <= props["placed_on"]
    assert sum(p["placed_on"][:7] == "2026-03" for p in graph().of("Order").values()) >= 20


def test_the_x_200_story_is_there() -> None:
    phone: Ref = ("Product", "P_X200")
    assert graph().nodes[phone]["aliases"] == ["X-200", "X200"]
    symptoms = [graph().nodes[ref] for ref in graph().ends("HAS_SYMPTOM", phone)]
    assert any("hasn't been fast charging" in props["aliases"] for props in symptoms)
    kinds = Counter(graph().nodes[ref]["kind"] for ref in graph().ends("COMPATIBLE_WITH", phone))
    assert kinds["charger"] >= 5
    features = [graph().nodes[ref] for ref in graph().ends("SUPPORTS_FEATURE", phone)]
    assert sum(props["kind"] == "protocol" for props in features) == 3
    assert (("ErrorCode", "E1001"), ("Solution", "S_005")) in graph().pairs("RESOLVED_BY")


def test_the_student_coupon_has_a_rule_with_the_spring_promotion() -> None:
    named = {props["name"]: key for key, props in graph().of("Promotion").items()}
    pair = {("Promotion", named["student coupon"]), ("Promotion", named["spring promotion"])}
    rules = graph().pairs("COMBINES_WITH") | graph().pairs("EXCLUDES")
    assert pair in [set(ends) for ends in rules]


def test_the_return_window_of_march_2026_is_not_that_of_now() -> None:
    versions = [graph().nodes[ref] for ref in graph().ends("HAS_VERSION", ("Policy", "PO_RETURN"))]
    march = [
        props["text"]
        for props in versions
        if props["valid_from"] <= "2026-03-01" and props.get("valid_to", "9999") >= "2026-03-31"
    ]
    now = [props["text"] for props in versions if "valid_to" not in props]
    assert len(march) == len(now) == 1
    assert "21 days" in march[0]
    assert "30 days" in now[0]


def test_every_row_keeps_the_ontology() -> None:
    ontology = load_ontology()
    for path in sorted(sample_path("graph").iterdir()):
        for place, row in read_json_lines(path, path.name, ontology):
            assert isinstance(row, Node | Edge), (place, row)
            check_row(row, ontology)
