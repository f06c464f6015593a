from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.dates import resolve_period

TODAY = date(2026, 11, 20)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("an order of last March", "2026-03-01", "2026-03-31"),
        ("bought in march 2025", "2025-03-01", "2025-03-31"),
        ("last November", "2025-11-01", "2025-11-30"),
        ("in November", "2026-11-01", "2026-11-30"),
        ("in December", "2025-12-01", "2025-12-31"),
        ("on 12 May 2026", "2026-05-12", "2026-05-12"),
        ("on the 3rd of May", "2026-05-03", "2026-05-03"),
        ("May 3rd, 2025", "2025-05-03", "2025-05-03"),
        ("2026-01-05", "2026-01-05", "2026-01-05"),
        ("on 5.1.2026", "2026-01-05", "2026-01-05"),
        ("two weeks ago", "2026-11-06", "2026-11-06"),
        ("a month ago", "2026-10-20", "2026-10-20"),
        ("last month", "2026-10-01", "2026-10-31"),
        ("last week", "2026-11-09", "2026-11-15"),
        ("last year", "2025-01-01", "2025-12-31"),
        ("in 2024", "2024-01-01", "2024-12-31"),
        ("last spring", "2026-03-01", "2026-05-31"),
        ("in winter 2024", "2024-12-01", "2025-02-28"),
        ("yesterday", "2026-11-19", "2026-11-19"),
    ],
)
def test_phrases(text, start, end):
    period = resolve_period(f"I ordered it {text}, thanks", TODAY)
    assert period is not None
    assert (period.start.isoformat(), period.end.isoformat()) == (start, end)


@pytest.mark.parametrize(
    "text",
    [
        "may I return it",
        "I march on",
        "2026-02-30",
        "order 100234",
        "the spring promotion",
        "in spring sale prices",
        "within 14 days",
        "",
    ],
)
def test_no_phrase(text):
    assert resolve_period(text, TODAY) is None


def test_a_month_ago_from_the_last_day_of_a_longer_month():
    period = resolve_period("a month ago", date(2026, 3, 31))
    assert period is not None
    assert period.start == date(2026, 2, 28)


@given(st.text(max_size=200), st.dates())
def test_never_raises(text, today):
    period = resolve_period(text, today)
    assert period is None or period.start <= period.end


@given(st.integers(0, 10**6), st.sampled_from(["days", "weeks", "months", "years"]), st.dates())
def test_any_count_ago(count, unit, today):
    resolve_period(f"{count} {unit} ago", today)
