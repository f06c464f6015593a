"""Date phrases: which days does a customer mean by "last March" or "two weeks ago"?"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

_MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_SEASONS = {"spring": 3, "summer": 6, "autumn": 9, "fall": 9, "winter": 12}
_MONTH_NUMBERS = {name: number for number, name in enumerate(_MONTHS, 1)}
_MONTH_NUMBERS |= {name[:3]: number for name, number in list(_MONTH_NUMBERS.items())}
_MONTH_NUMBERS["sept"] = 9
_MONTH = r"(?P<month>" + "|".join(sorted(_MONTH_NUMBERS, key=len, reverse=True)) + r")\.?"
_NUMBERS = {
    "a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6,
    "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12,
}  # fmt: skip
_COUNT = r"(?P<count>\d{1,3}|" + "|".join(_NUMBERS) + ")"
_UNIT = r"(?P<unit>day|week|month|year)s?"


@dataclass(frozen=True, slots=True)
class Period:
    """The days a phrase can mean, both ends included."""

    start: date
    end: date
    text: str


_Reader = Callable[[re.Match[str], date], tuple[date, date] | None]


def resolve_period(text: str, today: date) -> Period | None:
    """Finds the first date phrase of a text.

    Args:
        text: Anything.
        today: The day the text is read on; what is relative counts from here.

    Returns:
        The days it means, or None where there is no phrase or none that is a real date. A month
        or a weekday without a year is the latest one that has begun by `today`.
    """
    found: list[tuple[int, int, Period]] = []
    for order, (pattern, reader) in enumerate(_PATTERNS):
        for match in pattern.finditer(text):
            try:
                days = reader(match, today)
            except (ValueError, OverflowError):
                continue
            if days is not None:
                found.append((match.start(), order, Period(*days, match.group(0).strip())))
    return min(found, key=lambda item: item[:2])[2] if found else None


def _month_days(year: int, month: int) -> tuple[date, date]:
    return date(year, month, 1), date(year, month, calendar.monthrange(year, month)[1])


def _day(year: int, month: int, day: int) -> tuple[date, date]:
    exact = date(year, month, day)
    return exact, exact


def _iso(match: re.Match[str], _: date) -> tuple[date, date]:
    return _day(int(match["year"]), int(match["number"]), int(match["day"]))


def _named_day(match: re.Match[str], today: date) -> tuple[date, date]:
    month, day = _MONTH_NUMBERS[match["month"].casefold()], int(match["day"])
    if match["year"]:
        return _day(int(match["year"]), month, day)
    exact = date(today.year, month, day)
    return _day(today.year - (exact > today), month, day)


def _named_month(match: re.Match[str], today: date) -> tuple[date, date]:
    month = _MONTH_NUMBERS[match["month"].casefold()]
    if match["year"]:
        return _month_days(int(match["year"]), month)
    last = (match["which"] or "").casefold() in ("last", "previous", "past")
    begun = month < today.month if last else month <= today.month
    return _month_days(today.year - (not begun), month)


def _season(match: re.Match[str], today: date) -> tuple[date, date]:
    month = _SEASONS[match["season"].casefold()]
    if match["year"]:
        year = int(match["year"])
    else:
        begun = (today.year, month) <= (today.year, today.month)
        year = today.year - (not begun)
    last = date(year + (month == 12), (month + 1) % 12 + 1, 1)
    return date(year, month, 1), _month_days(last.year, last.month)[1]


def _ago(match: re.Match[str], today: date) -> tuple[date, date]:
    written = match["count"].casefold()
    count = _NUMBERS.get(written) or int(written)
    unit = match["unit"].casefold()
    if unit in ("day", "week"):
        exact = today - timedelta(days=count * (7 if unit == "week" else 1))
        return exact, exact
    return _shift_months(today, count * (12 if unit == "year" else 1))


def _shift_months(today: date, months: int) -> tuple[date, date]:
    index = today.year * 12 + today.month - 1 - months
    year, month = index // 12, index % 12 + 1
    return _day(year, month, min(today.day, calendar.monthrange(year, month)[1]))


def _last_unit(match: re.Match[str], today: date) -> tuple[date, date] | None:
    unit = match["unit"].casefold()
    if unit == "week":
        monday = today - timedelta(days=today.weekday() + 7)
        return monday, monday + timedelta(days=6)
    if unit == "month":
        first = today.replace(day=1) - timedelta(days=1)
        return first.replace(day=1), first
    if unit == "year":
        return date(today.year - 1, 1, 1), date(today.year - 1, 12, 31)
    return None


def _year(match: re.Match[str], _: date) -> tuple[date, date]:
    return date(int(match["year"]), 1, 1), date(int(match["year"]), 12, 31)


def _near(match: re.Match[str], today: date) -> tuple[date, date]:
    exact = today - timedelta(days=match.group(0).casefold() == "yesterday")
    return exact, exact


_YEAR = r"(?P<year>20\d\d)"
_LEAD = r"(?P<which>last|this|previous|past|in|of|since|from|during|early|late|mid)"
_SEASON = "(?P<season>" + "|".join(_SEASONS) + ")"
_NO_CAMPAIGN = r"(?!\s+(?:promo|sale|deal|offer|code|coupon|voucher|campaign|discount|bundle))"
_PATTERNS: tuple[tuple[re.Pattern[str], _Reader], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), reader)
    for pattern, reader in (
        (rf"\b{_YEAR}-(?P<number>\d\d)-(?P<day>\d\d)\b", _iso),
        (rf"\b(?P<day>\d\d?)[./](?P<number>\d\d?)[./]{_YEAR}\b", _iso),
        (rf"\b(?P<day>\d\d?)(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH}(?:,?\s+{_YEAR})?\b", _named_day),
        (rf"\b{_MONTH}\s+(?P<day>\d\d?)(?:st|nd|rd|th)?\b(?:,?\s+{_YEAR}\b)?", _named_day),
        (rf"\b(?:{_LEAD}[\s-]+)?{_MONTH}(?:\s+of)?,?\s+{_YEAR}\b", _named_month),
        (rf"\b{_LEAD}[\s-]+{_MONTH}(?P<year>)\b", _named_month),
        (rf"\b{_LEAD}\s+{_SEASON}(?:(?:\s+of)?\s+{_YEAR})?\b{_NO_CAMPAIGN}", _season),
        (rf"\b{_COUNT}\s+{_UNIT}\s+ago\b", _ago),
        (rf"\b(?:last|previous|past)\s+{_UNIT}\b", _last_unit),
        (rf"\b(?:in|of|from|during|year)\s+{_YEAR}\b", _year),
        (r"\b(?:yesterday|today)\b", _near),
    )
)
