"""Customer scope: whoever asks reads nothing of another customer's, whichever template is used."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kg_schema.client import FactRow, GraphClient
from kg_schema.connection import GraphSettings
from kg_schema.embeddings import embed_nodes
from kg_schema.load import load_graph_files
from kg_schema.migrate import migrate
from kg_schema.ontology import load_ontology
from kg_schema.templates import QueryTemplate, load_templates
from kg_schema.writer import GraphWriter
from tests.kg_schema.small_graph import edge
from tests.kg_schema.stub_encoder import MODEL, Encoder, vector

ONTOLOGY = Path(__file__).parents[2] / "samples" / "mappings" / "tau_retail_ontology.yaml"
CUSTOMERS = 24
# On each engine, so 10,000 in all.
LEAST_ATTEMPTS = 5_000
AT_ONCE = 8
DEADLINE_S = 60.0
MARK = re.compile(r"mark\d{3}x")
# Parameters that can name what is a customer's.
AIMED = {"order_id", "query", "vector", "id", "entity_ids"}
SHARED = {"product_id": "P_HUB", "topic": "t", "error_code": "E1", "symptom_id": "SY_1"}


@dataclass(frozen=True)
class Person:
    """A customer, and a word that stands in everything that is theirs and in nothing else."""

    number: int

    @property
    def mark(self) -> str:
        return f"mark{self.number:03d}x"

    @property
    def own(self) -> dict[str, str]:
        """Ids of what is theirs, by label."""
        return {
            label: f"{label[:2].upper()}_{self.mark}"
            for label in ("Customer", "Order", "Article", "Ticket", "PaymentMethod")
        }


PEOPLE = [Person(number) for number in range(CUSTOMERS)]


def node(label: str, node_id: str, **props: Any) -> dict[str, Any]:
    return {"label": label, "id": node_id, "props": {"name": node_id, **props}}


def rows_of(person: Person) -> Iterator[dict[str, Any]]:
    """A customer, an order, a note about both, a ticket of it, all through shared hubs."""
    own, mark = person.own, person.mark
    yield node("Customer", own["Customer"], email=f"{mark}@example.org", tier=mark)
    yield node("Order", own["Order"], placed_on="2026-02-01", status=mark)
    yield node("Article", own["Article"], topic="t", body=f"{mark} shared words")
    yield node("Ticket", own["Ticket"], summary=mark)
    yield node("PaymentMethod", own["PaymentMethod"], source=mark, balance=1.0)
    at = {label: f"{label}/{node_id}" for label, node_id in own.items()}
    yield edge("PLACED", at["Customer"], at["Order"])
    yield edge("CONTAINS", at["Order"], "Product/P_HUB", quantity=1, price=9.5)
    for about in (at["Customer"], at["Order"], at["Ticket"], "Product/P_HUB"):
        yield edge("ABOUT", at["Article"], about)
    yield edge("ABOUT", "Article/A_HUB", at["Order"] if person.number == 0 else "Product/P_HUB")
    yield edge("HAS_PAYMENT_METHOD", at["Customer"], at["PaymentMethod"])
    yield edge("PAID_WITH", at["Order"], at["PaymentMethod"], amount=9.5)
    yield edge("HAS_ITEM", at["Order"], "Variant/V_HUB", price=9.5)
    yield edge("OF", at["Ticket"], at["Order"])
    yield edge("OF", at["Ticket"], "Product/P_HUB")
    yield edge("RESOLVED_WITH", at["Ticket"], "Solution/S_1")


def shared_rows() -> Iterator[dict[str, Any]]:
    """What belongs to nobody, so that every public template has rows of its own to give."""
    yield node("Product", "P_HUB", category="C_1", price_eur=1.0, stock="in_stock")
    yield node("Product", "P_OTHER", category="C_1", price_eur=2.0, stock="in_stock")
    yield node("Variant", "V_HUB", available=True, price=1.0, options=["size: L"])
    yield edge("HAS_VARIANT", "Product/P_HUB", "Variant/V_HUB")
    yield node("Accessory", "A_1", kind="charger")
    yield node("Category", "C_1")
    yield node("Feature", "F_1", kind="protocol")
    yield node("Symptom", "SY_1", topic="t")
    yield node("ErrorCode", "E1", meaning="m")
    yield node("Solution", "S_1", summary="s")
    yield node("Policy", "PO_1", topic="t")
    yield node("PolicyVersion", "PO_1@1", version=1, text="x", valid_from="2026-01-01")
    yield node("Promotion", "PR_1", code="C1", valid_from="2026-01-01", valid_to="2026-12-31")
    yield node("Promotion", "PR_2", code="C2", valid_from="2026-01-01", valid_to="2026-12-31")
    yield node("Article", "A_PUBLIC", topic="t", body="shared words for everybody")
    yield node("Article", "A_HUB", topic="t", body="shared words about somebody's order")
    yield edge("ABOUT", "Article/A_PUBLIC", "Product/P_HUB")
    for product in ("P_HUB", "P_OTHER"):
        yield edge("IN_CATEGORY", f"Product/{product}", "Category/C_1")
        yield edge("SUPPORTS_FEATURE", f"Product/{product}", "Feature/F_1")
    yield edge("COMPATIBLE_WITH", "Product/P_HUB", "Accessory/A_1")
    yield edge("HAS_SYMPTOM", "Product/P_HUB", "Symptom/SY_1")
    yield edge("RESOLVED_BY", "Symptom/SY_1", "Solution/S_1", priority=1)
    yield edge("RESOLVED_BY", "ErrorCode/E1", "Solution/S_1", priority=1)
    yield edge("HAS_VERSION", "Policy/PO_1", "PolicyVersion/PO_1@1")
    yield edge("COVERS", "Promotion/PR_1", "Product/P_HUB")
    yield edge("COMBINES_WITH", "Promotion/PR_1", "Promotion/PR_2")


def parameters(template: QueryTemplate, caller: Person, target: Person | None) -> dict[str, Any]:
    """Every parameter, aimed at what is the target's; at what is shared or own with no target."""
    own = (target or caller).own
    aimed = {
        "customer_id": caller.own["Customer"],
        "order_id": own["Order"],
        "query": f"{target.mark} words" if target else "words",
        "available": None,
        "vector": vector(target.mark if target else "A_PUBLIC"),
        "model": MODEL,
        "id": list(own.values())[(caller.number + target.number) % 5] if target else "P_HUB",
        "product_ids": ["P_HUB", "P_OTHER", *own.values()],
        "promotion_ids": ["PR_1", "PR_2", *own.values()],
        "feature_ids": ["F_1", *own.values()],
        "entity_ids": [*own.values(), "P_HUB"],
        "accessory_id": "A_1",
        "as_of": "2026-03-01",
        "from_date": "2026-01-01",
        "to_date": "2026-12-31",
        "fan_out": 50,
        **SHARED,
    }
    limits = {p.name: int(min(p.high, 50)) for p in template.parameters if p.name == "limit"}
    return {p.name: {**aimed, **limits}[p.name] for p in template.parameters}


def foreign(rows: list[FactRow], caller: Person) -> list[FactRow]:
    """Rows with anybody else's mark in any column."""
    said = MARK.findall(str(rows))
    return rows if set(said) - {caller.mark} else []


def aimed_at_everybody() -> list[tuple[QueryTemplate, Person, Person]]:
    """The attempts: every caller at everybody else, with the templates in turn.

    What takes no parameter of a customer's gives everybody the same rows, so one round of
    callers is enough for it.
    """
    templates = load_templates().values()
    pairs = [(a, b) for a in PEOPLE for b in PEOPLE if a is not b]
    alike = [t for t in templates if not AIMED & {p.name for p in t.parameters}]
    plan = [(t, caller, PEOPLE[caller.number - 1]) for t in alike for caller in PEOPLE]
    others = [t for t in templates if t not in alike]
    return [*plan, *((t, *pair) for pair in pairs for t in others)]


@pytest.fixture
def company(
    graph: GraphSettings, writer: GraphWriter, write_rows: Callable[[str, list[Any]], Path]
) -> GraphSettings:
    """Customers whose orders, notes and tickets all meet in one product."""
    rows = [*shared_rows(), *(row for person in PEOPLE for row in rows_of(person))]
    ontology = load_ontology(ONTOLOGY)
    migrate(writer, ontology)
    report = load_graph_files(
        write_rows("company.jsonl", rows), graph, source_id="scope", ontology=ontology
    )
    assert report.quarantined == 0
    embed_nodes(writer, ontology, MODEL, Encoder)
    return graph


async def test_nobody_reads_what_is_another_customers(
    company: GraphSettings, engine_server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each attempt goes with a control: the same template, the same caller, aimed at their own."""
    plan = aimed_at_everybody()
    attempted, controlled = Counter[str](), Counter[str]()
    leaks: list[FactRow] = []
    controls: dict[tuple[str, int], asyncio.Task[list[FactRow]]] = {}
    began = time.monotonic()

    async with GraphClient(company) as client:

        async def read(template: QueryTemplate, given: dict[str, Any]) -> list[FactRow]:
            return await client.read(template.name, given, deadline_s=DEADLINE_S)

        async def control(template: QueryTemplate, caller: Person) -> list[FactRow]:
            rows = await read(template, parameters(template, caller, None))
            assert rows, f"{template.name} gives {caller.mark} nothing of their own"
            return foreign(rows, caller)

        async def work() -> None:
            while plan:
                template, caller, target = plan.pop()
                key = template.name, caller.number
                if key not in controls:
                    controls[key] = asyncio.create_task(control(template, caller))
                rows = await read(template, parameters(template, caller, target))
                leaks.extend(foreign(rows, caller))
                personal = any(p.name == "order_id" for p in template.parameters)
                leaks.extend(rows if personal else [])
                attempted[template.name] += 1
                leaks.extend(await controls[key])
                controlled[template.name] += 1

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))

    seconds = time.monotonic() - began
    lines = [
        f"scope on {engine_server.engine}: {attempted.total():,} attempts, each with a control: "
        f"{len(leaks)} foreign rows, {seconds:.1f} s; by template:",
        *(f"  {name:<26} {count:>4} attempts" for name, count in sorted(attempted.items())),
    ]
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(lines) + "\n")
    assert leaks == []
    assert attempted == controlled
    assert attempted.total() >= LEAST_ATTEMPTS
    assert set(attempted) == set(load_templates())


async def test_absent_and_foreign_look_the_same(company: GraphSettings) -> None:
    caller, other = PEOPLE[:2]
    async with GraphClient(company) as client:
        for template in load_templates().values():
            if not any(p.name == "order_id" for p in template.parameters):
                continue
            aimed = parameters(template, caller, other)
            absent = aimed | {"order_id": "OR_absent"}
            nobody = aimed | {"customer_id": "CU_absent"}
            for given in (aimed, absent, nobody):
                assert await client.read(template.name, given, deadline_s=DEADLINE_S) == []


def test_personal_labels_stand_in_no_template_but_behind_their_customer() -> None:
    """A segment that names a personal label outside the guard begins at the customer."""
    personal = load_ontology(ONTOLOGY).personal_labels
    assert personal
    for template in load_templates().values():
        body = "\n".join(line for line in template.text.splitlines() if line[:2] != "//")
        for segment in body.split("UNION ALL"):
            bare = segment.replace("(:Customer|Order|Ticket)", "")
            if any(f":{label}" in bare or f"|{label}" in bare for label in personal):
                start = "MATCH (k:Customer {id: $customer_id})-[:PLACED]->"
                assert segment.strip().startswith(start), template.name
