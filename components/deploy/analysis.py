"""Whether a new version does as well as the old one, by what both did in the same window."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from components.deploy.metrics import Counts
from components.deploy.replay import Agreement
from components.deploy.settings import RolloutSettings

MAX_CHANGES_TOLD = 3
CHANCE = 2.0
"""Standard errors by which shares of few tickets may differ without meaning anything."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one step saw.

    Attributes:
        weight: Percent of the traffic that the new version got.
        old: What the old version did.
        new: What the new one did.
        agreement: Of both, on the same tickets; None where none was replayed.
        gateway: Answers through the gateway by version, and `failed`.
        failure: What the gateway's last failure was.
        seconds: How long the step took.
    """

    weight: int
    old: Counts
    new: Counts
    agreement: Agreement | None = None
    gateway: Mapping[str, int] = field(default_factory=dict)
    failure: str = ""
    seconds: float = 0.0

    @property
    def old_loses(self) -> float:
        """Share of the gateway's requests that the old version loses, by its own metrics.

        One that has done nothing, though most of the traffic is its own, loses all that it gets.
        """
        rate = self.old.error_rate if self.old.requests else 1.0
        return rate * (1 - self.weight / 100)

    def as_json(self, breaches: list[str]) -> dict[str, Any]:
        """Returns the step's row of the record."""
        row: dict[str, Any] = {
            "weight": self.weight,
            "seconds": round(self.seconds, 1),
            "gateway": dict(self.gateway),
        }
        for name, counts in (("old", self.old), ("new", self.new)):
            rates = {"error_rate": counts.error_rate, "abstention": counts.abstention}
            row[name] = {**asdict(counts), **{key: round(rate, 4) for key, rate in rates.items()}}
        if self.agreement is not None:
            share = self.agreement.share
            row["agreement"] = {
                **asdict(self.agreement),
                "changes": dict(self.agreement.changes.most_common()),
                "share": None if share is None else round(share, 4),
            }
        return {**row, "breaches": breaches, "decision": "roll back" if breaches else "go on"}

    def line(self) -> str:
        """Says it in one line, old before new."""
        old, new = self.old, self.new
        parts = [
            f"errors {old.error_rate:.1%} / {new.error_rate:.1%}",
            f"p95 {1000 * old.p95_s:.0f} / {1000 * new.p95_s:.0f} ms",
            f"abstained {old.abstention:.1%} / {new.abstention:.1%}",
        ]
        if self.agreement is not None:
            share = self.agreement.share
            agreed = f"agreed {share:.1%} of {self.agreement.compared}" if share is not None else ""
            parts.append(agreed or "nothing compared")
        if self.gateway:
            told = ", ".join(f"{name} {count}" for name, count in sorted(self.gateway.items()))
            why = f" ({self.failure})" if self.failure else ""
            parts.append(f"through the gateway: {told}{why}")
        return f"at {self.weight}%: {'; '.join(parts)}"


def breaches(evidence: Evidence, settings: RolloutSettings) -> list[str]:
    """Returns why the new version must not go on, with numbers; empty where it may.

    Rates of fewer than `min_requests` say nothing yet.
    """
    found = []
    if evidence.new.requests >= settings.min_requests:
        found += _worse(evidence.old, evidence.new, settings)
    if evidence.agreement is not None:
        found += _disagreement(evidence.agreement, settings)
    failed, sent = evidence.gateway.get("failed", 0), sum(evidence.gateway.values())
    allowed = max(settings.max_error_rate, evidence.old_loses)
    chance = CHANCE * math.sqrt(allowed * (1 - allowed) / max(1, sent))
    if failed > (allowed + chance) * sent:
        found.append(f"{failed} of {sent} requests through the gateway failed ({evidence.failure})")
    return found


def _worse(old: Counts, new: Counts, settings: RolloutSettings) -> list[str]:
    found = []
    if new.error_rate > max(settings.max_error_rate, old.error_rate):
        found.append(
            f"{new.errors} of {new.requests} requests failed ({new.error_rate:.1%}), "
            f"the old one's {old.error_rate:.1%}, allowed {settings.max_error_rate:.1%}"
        )
    allowed = max(settings.min_latency_s, settings.max_latency_ratio * old.p95_s)
    if new.p95_s > allowed and old.answers:
        found.append(
            f"p95 is {1000 * new.p95_s:.0f} ms, the old one's {1000 * old.p95_s:.0f} ms, "
            f"allowed {1000 * allowed:.0f} ms"
        )
    gain = new.abstention - old.abstention
    chance = CHANCE * _standard_error(old, new)
    if gain > settings.max_abstention_gain + chance and old.answers:
        found.append(
            f"it abstains on {new.abstention:.1%}, the old one on {old.abstention:.1%}, "
            f"allowed {settings.max_abstention_gain:.1%} more and {chance:.1%} by chance"
        )
    return found


def _standard_error(old: Counts, new: Counts) -> float:
    """Of the difference of two abstention shares, were both versions alike."""
    answers = old.answers + new.answers
    share = (old.abstained + new.abstained) / answers if answers else 0.0
    spread = share * (1 - share)
    return math.sqrt(spread / max(1, old.answers) + spread / max(1, new.answers))


def _disagreement(agreement: Agreement, settings: RolloutSettings) -> list[str]:
    found = []
    if agreement.failed > settings.max_error_rate * agreement.asked:
        found.append(f"{agreement.failed} of {agreement.asked} replayed tickets got no answer")
    share = agreement.share
    if share is not None and share < settings.min_agreement:
        changes = agreement.changes.most_common(MAX_CHANGES_TOLD)
        told = ", ".join(f"{change} ({count})" for change, count in changes)
        found.append(
            f"both agree on {agreement.agreed} of {agreement.compared} replayed tickets "
            f"({share:.1%}), needed {settings.min_agreement:.1%}{told and f': {told}'}"
        )
    return found
