"""Progress of long work: one rewriting line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

TERMINAL_INTERVAL_S = 0.2
PLAIN_INTERVAL_S = 10.0


def format_duration(seconds: float) -> str:
    """Formats seconds as `45 s`, `3 min 05 s` or `2 h 04 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Progress:
    """Counts units of work and says rate and time left on standard error.

    Args:
        total: Units of work there are; 0 where it is not known.
        what: What is being done, as the line's first words.
        unit: What is counted, in the plural.
        stream: Where the lines go; standard error by default.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        total: int,
        what: str,
        unit: str = "rows",
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total
        self._what = what
        self._unit = unit
        self._stream = stream or sys.stderr
        self._clock = clock
        self._terminal = self._stream.isatty()
        self._interval = TERMINAL_INTERVAL_S if self._terminal else PLAIN_INTERVAL_S
        self._done = 0
        self._start = self._said = clock()

    def __enter__(self) -> Progress:
        self._start = self._said = self._clock()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._terminal or (kind is None and self._clock() - self._start >= self._interval):
            self._say("\n")

    @property
    def done(self) -> int:
        """Units done so far."""
        return self._done

    def advance(self, units: int = 1) -> None:
        """Adds finished units and, where it is time, writes the line."""
        self._done += units
        now = self._clock()
        if now - self._said >= self._interval:
            self._said = now
            self._say("" if self._terminal else "\n")

    def _say(self, end: str) -> None:
        elapsed = max(self._clock() - self._start, 1e-9)
        rate = self._done / elapsed
        line = f"{self._what}: {self._done:,}"
        if self._total:
            line += f" of {self._total:,}"
        line += f" {self._unit}, {rate:,.0f}/s" if rate >= 10 else f" {self._unit}, {rate:.2f}/s"
        if self._total and self._done and self._done < self._total:
            line += f", {format_duration((self._total - self._done) / rate)} left"
        self._stream.write(f"\r\x1b[K{line}{end}" if self._terminal else f"{line}{end}")
        self._stream.flush()
