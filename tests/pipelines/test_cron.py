"""Cron as the backend reads it: six fields, and when they come next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg_schema.errors import InputError
from pipelines.cron import FIELDS, Field, parse_cron

NOON = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)  # a Wednesday


def part(field: Field) -> st.SearchStrategy[str]:
    numbers = st.integers(field.low, field.high)
    spans = st.tuples(numbers, numbers).map(lambda pair: f"{min(pair)}-{max(pair)}")
    names = st.sampled_from(field.names) if field.names else numbers.map(str)
    one = st.one_of(numbers.map(str), spans, names, st.sampled_from("*?"))
    steps = st.integers(1, field.high).map(lambda step: f"/{step}") | st.just("")
    item = st.tuples(one, steps).map("".join)
    return st.lists(item, min_size=1, max_size=3).map(",".join)


@given(st.tuples(*[part(field) for field in FIELDS]).map(" ".join), st.integers(0, 10**8))
def test_whatever_is_taken_comes_and_never_before_its_time(text: str, ahead: int) -> None:
    moment = NOON + timedelta(seconds=ahead)
    try:
        cron = parse_cron(text)
    except InputError as error:
        assert "never comes" in str(error)
        return
    coming = cron.next_after(moment)
    assert coming is not None and coming > moment
    told = (coming.second, coming.minute, coming.hour, coming.day, coming.month)
    for number, allowed in zip(told[:3], cron.values, strict=False):
        assert number in allowed
    assert coming.month in cron.values[4]
    assert coming.day in cron.values[3] or coming.isoweekday() % 7 in cron.values[5]
    # Nothing in between: a second earlier finds the same.
    assert cron.next_after(coming - timedelta(seconds=1)) == coming


@given(st.text(alphabet="0123456789*/?-, abcmonTZ=@", max_size=30) | st.text(max_size=30))
def test_any_text_is_taken_or_refused_in_one_line(text: str) -> None:
    try:
        assert len(parse_cron(text).text.split()) == 6
    except InputError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("text", "coming"),
    [
        ("0 0 3 * * *", datetime(2026, 3, 5, 3, tzinfo=UTC)),
        ("*/20 * * * * *", datetime(2026, 3, 4, 12, 0, 20, tzinfo=UTC)),
        ("0 30/10 * * * ?", datetime(2026, 3, 4, 12, 30, tzinfo=UTC)),
        ("0 0 9 ? * MON-FRI", datetime(2026, 3, 5, 9, tzinfo=UTC)),
        ("0 0 0 29 feb *", datetime(2028, 2, 29, tzinfo=UTC)),
        ("0 0 0 1 * sun", datetime(2026, 3, 8, tzinfo=UTC)),
    ],
)
def test_it_comes_when_the_backend_has_it_come(text: str, coming: datetime) -> None:
    assert parse_cron(text).next_after(NOON) == coming


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 3 * * *", "five fields, with no seconds"),
        ("@daily", "1 fields"),
        ("0 0 24 * * *", "hour '24' is not within 0-23"),
        ("0 60 3 * * *", "minute '60' is not within 0-59"),
        ("0 0 3 0 * *", "day of month '0' is not within 1-31"),
        ("0 0 3 * * 7", "day of week '7' is not within 0-6"),
        ("0 0 3 * foo *", "month 'foo' is not within 1-12"),
        ("0 0 5-3 * * *", "hour '5-3' runs backwards"),
        ("0 */0 3 * * *", "step '0'"),
        ("0 ,1 3 * * *", "minute ''"),
        ("0 0 0 31 2 *", "never comes"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text: str, said: str) -> None:
    with pytest.raises(InputError, match="six fields") as caught:
        parse_cron(text)
    assert said in str(caught.value)
