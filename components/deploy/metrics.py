"""What a version's own /metrics say of a window of time."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from components.deploy.reach import Reach
from kg_schema.errors import DeskGraphError

TIMEOUT_S = 10.0
ATTEMPTS = 3
PAUSE_S = 1.0
# Reasons that are the server's own fault. A caller's bad input is no version's.
FAULTS = frozenset({"internal", "overloaded", "not_ready", "deadline"})
# The whole answer's time: an assistant's, or a text generator's.
WHOLE_STEPS = frozenset({"total", "generate"})
ABSTAINED = "abstained"
_BOUND = "le/"
_FAULT = "fault/"


class MetricsUnread(DeskGraphError):
    """A version does not tell its metrics."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What one version did in a window.

    Attributes:
        answers: Answers given.
        abstained: Of them, those that handed over.
        errors: Requests refused or failed by the server's own fault.
        p95_s: 95th percentile of an answer's time, seconds; 0 without answers.
    """

    answers: int = 0
    abstained: int = 0
    errors: int = 0
    p95_s: float = 0.0

    @property
    def requests(self) -> int:
        """Answers and errors."""
        return self.answers + self.errors

    @property
    def error_rate(self) -> float:
        """Share of requests that failed."""
        return self.errors / self.requests if self.requests else 0.0

    @property
    def abstention(self) -> float:
        """Share of answers that handed over."""
        return self.abstained / self.answers if self.answers else 0.0


class Window:
    """Differences of a version's counters since the window was opened.

    Replicas come, go and start again: each one's growth is summed from one look to the next.

    Args:
        client: What reads them.
        reach: Where the replicas are.
        service: The InferenceService's name.
        required: Whether it must tell them. One that need not and does not has grown by nothing,
            and its window opens when it first tells them.

    Raises:
        MetricsUnread: It does not tell them, and must.
    """

    def __init__(
        self, client: httpx.Client, reach: Reach, service: str, *, required: bool = True
    ) -> None:
        self._client = client
        self._reach = reach
        self._service = service
        self._required = required
        self._opened = False
        self._last: dict[str, dict[str, float]] = {}
        self._grown: Counter[str] = Counter()
        self.look()

    def look(self) -> Counts:
        """Returns what has come together until now.

        Raises:
            MetricsUnread: The version does not tell its metrics, and must.
        """
        try:
            now = self._read()
        except MetricsUnread:
            if self._required:
                raise
            now = {}
        for replica, counters in now.items():
            before = self._last.get(replica, {}) if self._opened else counters
            if any(counters.get(key, 0.0) < value for key, value in before.items()):
                before = {}  # it has started again
            for key, value in counters.items():
                self._grown[key] += round(value - before.get(key, 0.0))
        self._last |= now  # one that is not Ready at a look has not started again when it is back
        self._opened = self._opened or bool(now)
        bounds = {
            float(key.removeprefix(_BOUND)): count
            for key, count in self._grown.items()
            if key.startswith(_BOUND)
        }
        return Counts(
            answers=bounds.get(math.inf, 0),
            abstained=self._grown[ABSTAINED],
            errors=sum(n for key, n in self._grown.items() if key.startswith(_FAULT)),
            p95_s=quantile(bounds, 0.95),
        )

    def _read(self) -> dict[str, dict[str, float]]:
        attempts = ATTEMPTS if self._required else 1
        for attempt in range(attempts):
            try:
                replicas = self._reach.replicas(self._service)
                if not replicas:
                    raise MetricsUnread("no replica is Ready", where=self._service)
                return {url: read_counters(self._client, url) for url in replicas}
            except MetricsUnread:
                if attempt + 1 == attempts:
                    raise
                time.sleep(PAUSE_S)  # a replica may just have been scaled away
        raise AssertionError("unreachable")


def read_counters(client: httpx.Client, url: str) -> dict[str, float]:
    """Reads the counters that a roll-out goes by: abstained, faults, times by bucket.

    Raises:
        MetricsUnread: There is no answer, or it is no exposition.
    """
    from prometheus_client.parser import text_string_to_metric_families

    try:
        response = client.get(f"{url}/metrics", timeout=TIMEOUT_S)
        response.raise_for_status()
        families = list(text_string_to_metric_families(response.text))
    except (httpx.HTTPError, ValueError) as error:
        raise MetricsUnread(f"no metrics: {type(error).__name__}", where=url) from error
    found: defaultdict[str, float] = defaultdict(float)
    for sample in (sample for family in families for sample in family.samples):
        labels = sample.labels
        if sample.name == "deskgraph_answers_total" and labels.get("outcome") == ABSTAINED:
            found[ABSTAINED] += sample.value
        elif sample.name == "deskgraph_rejected_total" and labels.get("reason") in FAULTS:
            found[_FAULT + labels["reason"]] += sample.value
        elif sample.name == "deskgraph_step_seconds_bucket" and labels.get("step") in WHOLE_STEPS:
            found[_BOUND + labels["le"]] += sample.value
    return dict(found)


def quantile(bounds: Mapping[float, int], share: float) -> float:
    """Estimates a quantile from cumulative counts by upper bound, straight within a bucket.

    What lies beyond the last finite bound counts as that bound, as Prometheus has it.
    """
    total = bounds.get(math.inf, 0)
    if total <= 0:
        return 0.0
    rank, low, below = share * total, 0.0, 0
    for bound in sorted(bounds):
        count = bounds[bound]
        if count >= rank:
            if math.isinf(bound):
                return low
            return low + (bound - low) * (rank - below) / (count - below)
        low, below = bound, count
    return low
