"""What a roll-out may do, and what ends it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from kg_schema.errors import InputError


@dataclass(frozen=True, slots=True)
class RolloutSettings:
    """Weights, thresholds and patience of a roll-out on a cluster.

    Args:
        weights: Percent of the traffic that the new version gets, step by step; ends with 100.
        observe_s: Seconds that a step lasts at least.
        min_requests: Requests that the new version must have got at each weight; so many are sent
            through the gateway at a time until it has.
        replay: Validation tickets that both versions are asked at each step, evenly spaced; 0
            compares no answers.
        max_error_rate: Most of the new version's requests that may fail, while the old fails less.
        max_latency_ratio: How much longer than the old one the new one's p95 may be.
        min_latency_s: A p95 below this is never too long.
        max_abstention_gain: By how much its share of abstained answers may exceed the old one's,
            beyond chance (two standard errors).
        min_agreement: Least share of replayed tickets on which both agree.
        ready_timeout_s: For the new version to become Ready.
        settle_s: For a Ready version to answer, and for the gateway to take a changed route.
        step_timeout_s: For `min_requests` to come together at one weight.
        abandoned_s: After so long without a step, another version may clear a canary away.
        poll_s: Between two looks at the cluster or at /metrics.
        min_replicas: Of each version.
        max_replicas: Up to which each version is scaled.
        target_cpu: Percent of the requested CPU that scaling aims at.
    """

    weights: tuple[int, ...] = (10, 50, 100)
    observe_s: float = 60.0
    min_requests: int = 20
    replay: int = 200
    max_error_rate: float = 0.02
    max_latency_ratio: float = 1.5
    min_latency_s: float = 0.05
    max_abstention_gain: float = 0.05
    min_agreement: float = 0.9
    ready_timeout_s: float = 300.0
    settle_s: float = 30.0
    step_timeout_s: float = 600.0
    abandoned_s: float = 3600.0
    poll_s: float = 2.0
    min_replicas: int = 1
    max_replicas: int = 3
    target_cpu: int = 70

    def __post_init__(self) -> None:
        """Refuses what no roll-out can go by.

        Raises:
            InputError: A setting is out of its range.
        """
        weights = self.weights
        rising = all(low < high for low, high in itertools.pairwise(weights))
        whole = all(isinstance(weight, int) for weight in weights)
        if not weights or not whole or weights[0] < 1 or weights[-1] != 100 or not rising:
            raise InputError(
                f"weights are {list(weights)}",
                where="weights",
                fix="give whole percents that rise to 100",
            )
        for name in ("max_error_rate", "max_abstention_gain", "min_agreement"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError("is no share", where=name, fix="give a number from 0 to 1")
        for name in ("min_requests", "min_replicas", "target_cpu"):
            if getattr(self, name) < 1:
                raise InputError(f"is {getattr(self, name)}", where=name, fix="give 1 or more")
        for name in ("observe_s", "replay", "max_latency_ratio", "min_latency_s", "abandoned_s"):
            if getattr(self, name) < 0:
                raise InputError(f"is {getattr(self, name)}", where=name, fix="give 0 or more")
        for name in ("ready_timeout_s", "settle_s", "step_timeout_s", "poll_s"):
            if getattr(self, name) <= 0:
                raise InputError(f"is {getattr(self, name)}", where=name, fix="give some seconds")
        if self.max_replicas < self.min_replicas:
            raise InputError("is less than min_replicas", where="max_replicas")
