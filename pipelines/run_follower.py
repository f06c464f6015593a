"""Follows a run on Kubeflow: which step, how long, what went wrong, and how it ended."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TextIO

from components.stage import ERROR_MARK
from kg_schema.progress import format_duration
from pipelines.client import SUCCEEDED, UNDER_WAY, PipelinesClient, moment
from pipelines.packages import executed_tasks

POLL_S = 3.0
CACHED_WITHIN_S = 1.0
"""A step that ran takes its pod's start alone longer; one kept from the cache has no pod."""
LATE_LOOKS = 5
"""The backend writes a run's end before that of its steps: so often it is looked at once more."""
LINE_LENGTH = 300
FAILED = "FAILED"
# A run that was ended passes through this state, and then counts as failed.
CANCELING = "CANCELING"

_DRIVER = "-driver"
# What kfp's launcher and Argo write around a step's own output, and how the launcher ends.
_AROUND = re.compile(r"^(?:[IWEF]\d{4} |\[KFP |time=|Error: exit status|\W*$)")
_FATAL = re.compile(r"^F\d{4} [^]]*\] (?P<said>.+)")
_EXCEPTION = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception|Exit|Interrupt)\b")


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a pipeline.

    Attributes:
        task: Its key in the specification, and in what the backend says of a run.
        shown: Its name on the page.
        retries: Attempts after the first.
    """

    task: str
    shown: str
    retries: int


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended.

    Attributes:
        state: `SUCCEEDED`, `FAILED`, `CANCELED` or `SKIPPED`.
        seconds: From its creation to its end.
        failures: One line for each step that failed.
    """

    state: str
    seconds: float
    failures: tuple[str, ...]


class RunFollower:
    """Says what becomes of a run until it ends.

    Args:
        client: The backend.
        run_id: The run.
        stream: Where it says it; standard error by default.
        poll_s: Seconds between two looks.
        sleep: Waits that long.
    """

    def __init__(
        self,
        client: PipelinesClient,
        run_id: str,
        *,
        stream: TextIO | None = None,
        poll_s: float = POLL_S,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._client = client
        self._run_id = run_id
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._poll_s = poll_s
        self._sleep = sleep
        self._told: dict[str, str] = {}

    def follow(self) -> Ended:
        """Looks until the run has ended.

        Raises:
            KfpError: The backend refuses, or is away for too long; the run goes on by itself.
        """
        run = self._client.run(self._run_id)
        at = run.pipeline_version_reference
        steps = planned_steps(self._client.read_version(at) if at else run)
        late = LATE_LOOKS
        self._tell(run, steps)
        while run.state in UNDER_WAY or (late and _at_work(run)):
            late -= run.state not in UNDER_WAY
            self._sleep(self._poll_s)
            run = self._client.run(self._run_id)
            self._tell(run, steps)
        if self._terminal:
            self._stream.write("\r\x1b[K")
        failures = () if run.state == SUCCEEDED else tuple(self._failures(run, steps))
        return Ended(run.state, _seconds(run.created_at, run.finished_at), failures)

    def _tell(self, run: Any, steps: list[Step]) -> None:
        nodes = _nodes(run)
        running = []
        for step in steps:
            state, since, seconds = _state(step, nodes)
            if state == "running":
                running.append(f"{step.shown} {format_duration(_until_now(since))}")
            if state and self._told.get(step.task) != state:
                self._told[step.task] = state
                took = f" in {format_duration(seconds)}" if state in ("done", "failed") else ""
                self._line(f"{step.shown:<24} {state}{took}")
        if self._terminal:
            so_far = format_duration(_until_now(moment(run.created_at)))
            waiting = ", ".join(running) or run.state.lower()
            self._stream.write(f"\r\x1b[K{waiting} | {so_far} in all")
            self._stream.flush()

    def _line(self, text: str) -> None:
        start = "\r\x1b[K" if self._terminal else ""
        self._stream.write(f"{start}{text}\n")
        self._stream.flush()

    def _failures(self, run: Any, steps: list[Step]) -> Iterator[str]:
        if any(each.state == CANCELING for each in run.state_history or ()):
            yield "somebody ended the run"
            return
        nodes = _nodes(run)
        failed = [step for step in steps if _state(step, nodes)[0] == "failed"]
        for step in failed:
            said = next(self._messages(step, nodes), "its pod left no message")
            yield f"{step.shown}: {said}"
        if not failed and run.error is not None and run.error.message:
            yield _one_line(run.error.message)
        elif not failed:
            # A branch's own driver is no step.
            drivers = (name for name in nodes if name.endswith(_DRIVER))
            yield from (f"{name}: failed" for name in drivers if nodes[name].state == FAILED)

    def _messages(self, step: Step, nodes: Mapping[str, Any]) -> Iterator[str]:
        """Returns what a failed step's pods said, the last attempt's first."""
        for pod in _pods(step, nodes):
            if message := last_words(self._client.pod_log(self._run_id, pod)):
                yield message


def planned_steps(source: Any) -> list[Step]:
    """Returns the steps of a version, or of a run that brought its own package, DAG by DAG."""
    spec = source.pipeline_spec.get("pipeline_spec", source.pipeline_spec)
    return [
        Step(
            key, task["taskInfo"]["name"], int(task.get("retryPolicy", {}).get("maxRetryCount", 0))
        )
        for key, task in executed_tasks(spec)
    ]


def last_words(log: str) -> str:
    """Returns the one line that says why a step failed; empty where the log holds none."""
    lines = [line.strip() for line in log.splitlines()]
    if len(lines) == 1 and lines[0].startswith('{"error_message"'):
        return ""
    for line in reversed(lines):
        if ERROR_MARK in line:
            try:
                return _one_line(str(json.loads(line.split(ERROR_MARK, 1)[1])["message"]))
            except (ValueError, KeyError, TypeError):
                return _one_line(line)
    said = [line for line in lines if not _AROUND.match(line)]
    if raised := [line for line in said if _EXCEPTION.match(line)]:
        return _one_line(raised[-1])
    if fatal := [found["said"] for line in lines if (found := _FATAL.match(line))]:
        return _one_line(fatal[-1])
    return _one_line(said[-1]) if said else ""


def _nodes(run: Any) -> dict[str, Any]:
    """What the backend says of each node, by name; of nodes of one name, the latest."""
    details = run.run_details.task_details if run.run_details else None
    # Rows of the cache have no name.
    named = [task for task in details or () if task.display_name and task.start_time]
    return {task.display_name: task for task in sorted(named, key=lambda task: task.start_time)}


def _at_work(run: Any) -> bool:
    return any(node.state in ("PENDING", "RUNNING") for node in _nodes(run).values())


def _state(step: Step, nodes: Mapping[str, Any]) -> tuple[str, datetime | None, float]:
    """A step's state in words (empty before it starts), its start, and its seconds so far."""
    node, driver = nodes.get(step.task), nodes.get(step.task + _DRIVER)
    first = driver or node
    if first is None or (since := moment(first.start_time)) is None:
        return "", None, 0.0
    if driver is not None and driver.state == FAILED:
        return "failed", since, _seconds(driver.start_time, driver.end_time)
    if node is None or node.state in ("PENDING", "RUNNING"):
        return "running", since, 0.0
    if node.state == SUCCEEDED:
        ran = _seconds(node.start_time, node.end_time)
        kept = ran <= CACHED_WITHIN_S
        return "kept from an earlier run" if kept else "done", since, _seconds(since, node.end_time)
    if node.state == FAILED:
        return "failed", since, _seconds(since, node.end_time)
    return "skipped", since, 0.0


def _pods(step: Step, nodes: Mapping[str, Any]) -> Iterator[str]:
    """Names of a step's pods, the last attempt's first.

    The backend names none of them. But Argo names a node `WORKFLOW-HASH`, FNV-1a over its path,
    and a pod `WORKFLOW-TEMPLATE-HASH`; a driver's child is the step's node, whose path begins those
    of the step's pods. So their hashes go on from its own.
    """
    driver = nodes.get(step.task + _DRIVER)
    if driver is None:
        return
    for child in driver.child_tasks or ():
        workflow, _, digits = (child.pod_name or "").rpartition("-")
        if not digits.isdigit():
            continue
        base = int(digits)
        if driver.state == FAILED:
            yield f"{workflow}-system-container-driver-{_fnv1a(_DRIVER, base)}"
            continue
        for attempt in range(step.retries, -1, -1) if step.retries else ():
            suffix = f".executor({attempt})"
            yield f"{workflow}-retry-system-container-impl-{_fnv1a(suffix, base)}"
        yield f"{workflow}-system-container-impl-{_fnv1a('.executor', base)}"


def _fnv1a(text: str, value: int) -> int:
    for byte in text.encode():
        value = (value ^ byte) * 16777619 % 2**32
    return value


def _seconds(start: datetime | None, end: datetime | None) -> float:
    if start is None or (ended := moment(end)) is None:
        return 0.0
    return max(0.0, (ended - start).total_seconds())


def _until_now(since: datetime | None) -> float:
    return 0.0 if since is None else max(0.0, time.time() - since.timestamp())


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LINE_LENGTH else f"{line[: LINE_LENGTH - 1]}…"
