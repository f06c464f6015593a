from hypothesis import given
from hypothesis import strategies as st

from kg_schema.budget import tokens_of, within_budget
from kg_schema.client import FactRow


def row(value: str) -> FactRow:
    return FactRow("Article", "A", "name", "body", None, None, None, value, 0, "s", None, None)


def test_a_long_fact_is_passed_over_whole_and_a_short_one_behind_it_is_told() -> None:
    rows = [row("short"), row("long " * 1_000), row("short too")]
    assert within_budget(rows, 50) == [rows[0], rows[2]]
    assert within_budget(rows, 0) == []
    assert within_budget(rows, 10_000) == rows


@given(st.lists(st.text(max_size=200)), st.integers(0, 300))
def test_what_is_told_keeps_to_the_budget_and_the_order(values: list[str], tokens: int) -> None:
    rows = [row(value) for value in values]
    kept = within_budget(rows, tokens)
    assert sum(map(tokens_of, kept)) <= tokens
    places = iter(rows)
    assert all(any(each is one for one in places) for each in kept)
