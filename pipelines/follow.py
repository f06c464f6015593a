"""Follows a local run's log: which step, how long, how much is left, what went wrong."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TextIO

from components.stage import ERROR_MARK
from kg_schema.progress import format_duration

UNKNOWN_STEP_SECONDS = 10.0
# Steps of a second or two say little of this machine's pace; this many seconds as expected are
# taken as if they had been seen already.
PRIOR_SECONDS = 30.0

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_START = re.compile(r"Executing task '(?P<task>[^']+)'")
_END = re.compile(r"Task '(?P<task>[^']+)' finished with status (?P<status>\w+)")
_CACHED = re.compile(r"Task (?P<task>\S+) cache hit")
_RATE = re.compile(r"[\d,]+(?: of [\d,]+)? \S+, [\d,.]+/s")
_LEFT = re.compile(r", (?:(?P<h>\d+) h )?(?:(?P<min>\d+) min ?)?(?:(?P<s>\d+) s )?left$")


@dataclass(frozen=True)
class StageFailure:
    """How a step ended that failed.

    Args:
        step: The step's name as the pipeline shows it.
        message: Its one clear line; empty where it broke with a traceback.
        exit_code: What the run should exit with.
    """

    step: str
    message: str
    exit_code: int


class Follower:
    """Reads log lines and says what a person wants to know of them.

    Args:
        steps: Names shown by task, for every task that this run will execute.
        expected: Seconds a step, from an earlier run or the profile, by shown name.
        stream: Where it says it; standard error by default.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        steps: Mapping[str, str],
        expected: Mapping[str, float],
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._steps = dict(steps)
        self._expected = dict(expected)
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._clock = clock
        self._started: dict[str, float] = {}
        self._told_end = 0.0
        self._current = ""
        self._message = ""
        self._exit_code = 1
        self._failed = ""
        self.durations: dict[str, float] = {}
        self.cached: list[str] = []

    def read(self, lines: Iterable[str]) -> None:
        """Takes a log's lines as they come."""
        for line in lines:
            self.take(_COLOUR.sub("", line.rstrip("\n")))

    def take(self, line: str) -> None:
        """Takes one line without colours."""
        if match := _START.search(line):
            self._begin(self._shown(match["task"]))
        elif match := _CACHED.search(line):
            self.cached.append(self._shown(match["task"]))
            self._finish(self._shown(match["task"]), "kept from an earlier run")
        elif match := _END.search(line):
            self._end(self._shown(match["task"]), match["status"])
        elif ERROR_MARK in line:
            self._note_error(line.split(ERROR_MARK, 1)[1])
        elif self._current and _RATE.search(line):
            self._told_end = self._end_of(line)
            self._show(f"{self._current}: {line.strip()}")

    @property
    def failure(self) -> StageFailure | None:
        """The step that failed, if one did."""
        if not self._failed:
            return None
        return StageFailure(self._failed, self._message, self._exit_code)

    @property
    def remaining(self) -> float:
        """Seconds that are probably left, by how this run compares with what was expected."""
        expected = sum(self._expect(step) for step in self.durations)
        took = sum(self.durations.values())
        now = self._clock()
        pending = [step for step in self._steps.values() if step not in self._finished()]
        current = 0.0
        if self._current in pending:
            pending.remove(self._current)
            gone = now - self._started[self._current]
            usual = self._expect(self._current)
            current = max(self._told_end - now if self._told_end else usual - gone, 0.0)
            # What a step says of itself tells the pace better than the short ones before it.
            if self._told_end:
                expected, took = expected + usual, took + gone + current
        pace = (took + PRIOR_SECONDS) / (expected + PRIOR_SECONDS)
        return current + sum(self._expect(step) for step in pending) * pace

    def _finished(self) -> set[str]:
        return {*self.durations, *self.cached}

    def _expect(self, step: str) -> float:
        family = step.split("-", 1)[0]
        return self._expected.get(step, self._expected.get(family, UNKNOWN_STEP_SECONDS))

    def _shown(self, task: str) -> str:
        return self._steps.get(task, task)

    def _end_of(self, line: str) -> float:
        """When a step's own progress line says that it will be done; 0 where it does not say."""
        match = _LEFT.search(line)
        if match is None:
            return 0.0
        parts = {unit: int(value or 0) for unit, value in match.groupdict().items()}
        return self._clock() + parts["h"] * 3600 + parts["min"] * 60 + parts["s"]

    def _begin(self, step: str) -> None:
        self._current = step
        self._told_end = 0.0
        self._started[step] = self._clock()
        self._show(f"{step} …")

    def _end(self, step: str, status: str) -> None:
        if status != "SUCCESS":
            self._failed = step
            self._finish(step, "failed")
            return
        took = self._clock() - self._started.get(step, self._clock())
        self.durations[step] = took
        self._current = ""
        self._finish(step, f"done in {format_duration(took)}")

    def _note_error(self, text: str) -> None:
        try:
            told = json.loads(text)
            self._message, self._exit_code = str(told["message"]), int(told["exit_code"])
        except (ValueError, KeyError, TypeError):
            self._message = text.strip()

    def _finish(self, step: str, how: str) -> None:
        self._write(f"{self._count()} {step:<24} {how}{self._left()}", last=True)

    def _show(self, text: str) -> None:
        self._write(f"{self._count(1)} {text}{self._left()}", last=False)

    def _count(self, ahead: int = 0) -> str:
        number = min(len(self._finished()) + ahead, len(self._steps))
        return f"[{number:>2}/{len(self._steps)}]"

    def _left(self) -> str:
        left = self.remaining
        return f" | about {format_duration(left)} left in all" if left >= 1 else ""

    def _write(self, line: str, *, last: bool) -> None:
        if self._terminal:
            self._stream.write(f"\r\x1b[K{line}" + ("\n" if last else ""))
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()
