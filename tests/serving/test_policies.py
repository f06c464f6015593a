from datetime import date

import pytest

from serving.facts import FactSet
from serving.policies import most_specific, versions_between
from tests.serving.conftest import fact_row

DAY = date.fromisoformat


def version(policy, number, since, until=None):
    target, dates = f"PolicyVersion/{policy}@{number}", {"valid_from": since, "valid_to": until}
    return [
        fact_row("Policy", policy, "HAS_VERSION", target, **dates),
        fact_row("PolicyVersion", f"{policy}@{number}", "text", value=f"{number}", **dates),
    ]


def covers(policy, target):
    return [fact_row("Policy", policy, "COVERS", target)]


@pytest.mark.parametrize("last_day", ["2026-03-14", "2026-03-15"])
def test_a_day_belongs_to_one_version_however_the_end_is_written(last_day):
    facts = FactSet(version("PO_A", 1, "2024-01-01", last_day) + version("PO_A", 2, "2026-03-15"))

    def on(first, last):
        found = versions_between(facts, "Policy/PO_A", DAY(first), DAY(last))
        return [held.text.object for held in found]

    assert on("2026-03-14", "2026-03-14") == ["1"]
    assert on("2026-03-15", "2026-03-15") == ["2"]
    assert on("2026-03-01", "2026-03-31") == ["1", "2"]
    assert on("2026-02-01", "2026-02-28") == ["1"]
    assert on("2023-01-01", "2023-12-31") == []


def test_a_gap_between_versions_is_a_gap():
    facts = FactSet(
        version("PO_A", 1, "2024-01-01", "2024-12-31") + version("PO_A", 2, "2026-01-01")
    )
    assert versions_between(facts, "Policy/PO_A", DAY("2025-06-01"), DAY("2025-06-30")) == ()


def test_product_goes_before_category_before_everything():
    everything = version("PO_ALL", 1, "2024-01-01")
    category = version("PO_CAT", 1, "2024-01-01") + covers("PO_CAT", "Category/C_PHONE")
    product = version("PO_PRO", 1, "2024-01-01") + covers("PO_PRO", "Product/P_X200")

    def chosen(rows, product_ref, category_ref):
        found = most_specific(FactSet(rows), product_ref, category_ref, "")
        return found and found[0]

    x200, phone = "Product/P_X200", "Category/C_PHONE"
    assert chosen(everything + category + product, x200, phone) == "Policy/PO_PRO"
    assert chosen(everything + category + product, "Product/P_X300", phone) == "Policy/PO_CAT"
    assert chosen(everything + category + product, None, phone) == "Policy/PO_CAT"
    assert chosen(everything + category + product, None, None) == "Policy/PO_ALL"
    assert chosen(category + product, None, None) is None


def test_among_equals_the_policy_that_the_ticket_speaks_of():
    rows = version("PO_REFUND", 1, "2024-01-01") + version("PO_REFUND_GIFT", 1, "2024-01-01")
    names = {"PO_REFUND": "refund timing", "PO_REFUND_GIFT": "refunds to gift cards"}
    facts = FactSet(
        [fact_row(r.subject_label, r.subject_id, r.predicate,
                  f"{r.object_label}/{r.object_id}" if r.object_id else None,
                  value=r.value, name=names.get(r.subject_id, "")) for r in rows]
    )  # fmt: skip
    gift = most_specific(facts, None, None, "how is a gift card refunded")
    plain = most_specific(facts, None, None, "when do I get my money")
    assert (gift or ("",))[0] == "Policy/PO_REFUND_GIFT"
    assert (plain or ("",))[0] == "Policy/PO_REFUND"
