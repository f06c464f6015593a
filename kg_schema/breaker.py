"""A circuit breaker: a graph that is down is asked again now and then, not by every ticket."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum


class BreakerState(StrEnum):
    """What a breaker does with the next call."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitBreaker:
    """Opens after failures in a row; after a rest lets one call through to try.

    One event loop uses it, so it holds no lock.

    Args:
        threshold: Failures in a row that open it.
        rest_s: Seconds it stays open before one call may try.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        threshold: int = 5,
        rest_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threshold = threshold
        self._rest_s = rest_s
        self._clock = clock
        self._failures = 0
        self._opened_at: float | None = None
        self._trying = False

    @property
    def state(self) -> BreakerState:
        """What the next call would meet."""
        if self._opened_at is None:
            return BreakerState.CLOSED
        if self._clock() - self._opened_at >= self._rest_s:
            return BreakerState.HALF_OPEN
        return BreakerState.OPEN

    def admit(self) -> bool:
        """Whether a call may go ahead; the one that half-opens it takes the only place."""
        state = self.state
        if state is BreakerState.CLOSED:
            return True
        if state is BreakerState.OPEN or self._trying:
            return False
        self._trying = True
        return True

    def succeeded(self) -> None:
        """Closes it: the server answered."""
        self._failures = 0
        self._opened_at = None
        self._trying = False

    def failed(self) -> None:
        """Counts a failure; a failed trial opens it for another rest."""
        self._failures += 1
        if self._trying or self._failures >= self._threshold:
            self._opened_at = self._clock()
        self._trying = False

    def abandoned(self) -> None:
        """Gives the trial's place back: the caller went away, the server told nothing."""
        self._trying = False
