"""Cron as Kubeflow Pipelines reads it: six fields, seconds first.

The backend takes more than is good for it, so two things are refused here. Five fields it reads as
seconds to months: the usual "0 3 * * *" would start a run every hour. On a day that never comes,
such as 31 February, its scheduler looks for the next time without end, and starts no run of anybody
from then on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from kg_schema.errors import InputError

ZONE = "UTC"
ZONE_NOTE = "UTC, unless this Kubeflow's pipeline-install-config says another cronScheduleTimezone"
EXAMPLE = 'give six fields, such as "0 0 3 * * *": every day at 03:00'
_DIGITS = re.compile(r"[0-9]{1,4}")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
HORIZON_DAYS = 366 * 8 + 1
"""Within this many days every day of a calendar comes round, a leap day across 2100 too."""


@dataclass(frozen=True)
class Field:
    """One field of an expression.

    Attributes:
        name: As it is told to a person.
        low: Lowest value.
        high: Highest value.
        names: Words for values, from `low` on.
    """

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


FIELDS = (
    Field("second", 0, 59),
    Field("minute", 0, 59),
    Field("hour", 0, 23),
    Field("day of month", 1, 31),
    Field("month", 1, 12, MONTHS),
    Field("day of week", 0, 6, DAYS),
)


@dataclass(frozen=True)
class Cron:
    """A checked expression.

    Attributes:
        text: The six fields, one blank between them.
        values: What each field allows, sorted.
        any_day: Whether day of month, and day of week, is left open (`*` or `?`).
    """

    text: str
    values: tuple[tuple[int, ...], ...]
    any_day: tuple[bool, bool]

    def next_after(self, moment: datetime) -> datetime | None:
        """Returns when it comes next, in the moment's zone; None where it never does."""
        start = moment.replace(microsecond=0) + timedelta(seconds=1)
        for ahead in range(HORIZON_DAYS):
            day = start.date() + timedelta(days=ahead)
            if self._on(day):
                earliest = start.time() if ahead == 0 else time()
                if (found := self._first(earliest)) is not None:
                    return datetime.combine(day, found, moment.tzinfo)
        return None

    def _on(self, day: date) -> bool:
        _, _, _, days, months, weekdays = self.values
        if day.month not in months:
            return False
        fits = day.day in days, day.isoweekday() % 7 in weekdays
        # Where both are given, either will do: so says cron.
        return all(fits) if any(self.any_day) else any(fits)

    def _first(self, earliest: time) -> time | None:
        seconds, minutes, hours = self.values[:3]
        for hour in (each for each in hours if each >= earliest.hour):
            for minute in minutes:
                for second in seconds:
                    if (found := time(hour, minute, second)) >= earliest:
                        return found
        return None


def parse_cron(text: str) -> Cron:
    """Reads six fields: second, minute, hour, day of month, month, day of week.

    Args:
        text: Numbers, names (`jan`, `mon`), `*`, `?`, ranges `a-b`, steps `a/n`, lists `a,b`.

    Raises:
        InputError: Not six fields, a value out of its range, or a day that never comes.
    """
    where = f'--cron "{text}"'
    parts = text.split()
    if len(parts) != len(FIELDS):
        found = "five fields, with no seconds" if len(parts) == 5 else f"{len(parts)} fields"
        raise InputError(f"has {found}", where=where, fix=EXAMPLE)
    values = tuple(
        tuple(sorted(_values(part, field, where)))
        for part, field in zip(parts, FIELDS, strict=True)
    )
    open_days = (parts[3][0] in "*?", parts[5][0] in "*?")
    cron = Cron(" ".join(parts), values, open_days)
    if cron.next_after(datetime.now(UTC)) is None:
        raise InputError("never comes: no such day", where=where, fix=EXAMPLE)
    return cron


def _values(part: str, field: Field, where: str) -> set[int]:
    found: set[int] = set()
    for item in part.split(","):
        span, slash, step_text = item.partition("/")
        low_text, hyphen, high_text = span.partition("-")
        step = _number(step_text, Field("step", 1, field.high), where) if slash else 1
        if low_text in ("*", "?") and not hyphen:
            low, high = field.low, field.high
        else:
            low = _number(low_text, field, where)
            # "5/10" means from 5 to the end.
            high = _number(high_text, field, where) if hyphen else field.high if slash else low
        if low > high:
            raise InputError(f"{field.name} {item!r} runs backwards", where=where, fix=EXAMPLE)
        found.update(range(low, high + 1, step))
    return found


def _number(text: str, field: Field, where: str) -> int:
    if text.lower() in field.names:
        return field.names.index(text.lower()) + field.low
    if _DIGITS.fullmatch(text) and field.low <= int(text) <= field.high:
        return int(text)
    raise InputError(
        f"{field.name} {text!r} is not within {field.low}-{field.high}", where=where, fix=EXAMPLE
    )
