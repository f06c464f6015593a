"""Days in the past, and how people write them."""

from __future__ import annotations

import random
from datetime import date, timedelta

from samples.generate.world import Ref, World

_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *("October", "November", "December"),
)

_EARLIEST = "2025-01-15"
_LATEST = "2026-11-01"


def written_day(day: str, rng: random.Random) -> str:
    """A day as people write it, e.g. "12 March 2026"."""
    when = date.fromisoformat(day)
    month = _MONTHS[when.month - 1]
    return rng.choice((f"{when.day} {month} {when.year}", f"{month} {when.day}, {when.year}", day))


def random_day(world: World, product: Ref, rng: random.Random) -> str:
    """A day on which a product could have been ordered, ISO."""
    first = date.fromisoformat(max(str(world.props(product)["released"]), _EARLIEST))
    span = (date.fromisoformat(_LATEST) - first).days
    return (first + timedelta(days=rng.randint(0, span))).isoformat()
