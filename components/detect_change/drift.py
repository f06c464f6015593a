"""Has live traffic moved away from what the champion was trained on?

Three numbers are compared, each with a limit of its own and with what chance alone explains in so
few tickets (three standard errors), whichever is more.

The intent mix: the Jensen-Shannon divergence in bits, H((p + q) / 2) - (H(p) + H(q)) / 2 (Lin
1991), between the shares p and q of the in-scope intents. It is symmetric, 0 for equal mixes, 1 for
mixes with nothing in common, and finite where one side lacks an intent. Two samples of one mix
differ all the same, and the more, the fewer the tickets and the more the intents: how much is
simulated, since intents with a ticket or two are beyond what the chi-squared distribution says.

The share out of scope: its rise, against the standard error of a difference of two shares. The mean
confidence: its fall, against the standard error of a difference of two means.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from components.detect_change.settings import DetectSettings
from components.traffic import Traffic

STANDARD_ERRORS = 3.0
SAMPLES = 500
SEED = 17


@dataclass(frozen=True)
class Comparison:
    """One number of live traffic against training.

    Attributes:
        name: What is compared.
        value: How far it has moved in the direction that matters.
        limit: What it may have moved; the threshold, or what chance explains.
        said: Both sides in words.
    """

    name: str
    value: float
    limit: float
    said: str

    @property
    def drifted(self) -> bool:
        """Whether it moved farther than it may."""
        return self.value > self.limit


def compare(reference: Traffic, live: Traffic, settings: DetectSettings) -> list[Comparison]:
    """Compares live traffic with training; nothing where there are too few tickets to tell."""
    if not reference.tickets or live.tickets < settings.min_tickets:
        return []
    found = [_out_of_scope(reference, live, settings), _confidence(reference, live, settings)]
    if reference.in_scope and live.in_scope >= settings.min_tickets:
        found.insert(0, _mix(reference, live, settings))
    return found


def divergence(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """The Jensen-Shannon divergence of two mixes, bits, 0 to 1.

    Args:
        one: Weights by name, none negative, one at least above 0; not the shares but in proportion.
        other: The same of the other mix.
    """
    total = 0.0
    whole, whole_other = sum(one.values()), sum(other.values())
    for name in one.keys() | other.keys():
        p, q = one.get(name, 0) / whole, other.get(name, 0) / whole_other
        middle = (p + q) / 2
        total += sum(share * math.log2(share / middle) for share in (p, q) if share > 0) / 2
    return min(1.0, max(0.0, total))


def chance_divergence(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    """The most divergence, bits, that two samples of these sizes show if both are of one mix.

    Args:
        one: Tickets by name, one at least.
        other: The same of the other sample. What both hold together is taken for the one mix.
    """
    import numpy as np

    names = sorted(one.keys() | other.keys())
    pooled = np.array([one.get(name, 0) + other.get(name, 0) for name in names], np.float64)
    shares = pooled / pooled.sum()
    dice = np.random.default_rng(SEED)
    p, q = (
        dice.multinomial(size, shares, SAMPLES) / size
        for size in (sum(one.values()), sum(other.values()))
    )
    entropies = [-np.sum(x * np.log2(np.where(x > 0, x, 1)), axis=1) for x in ((p + q) / 2, p, q)]
    found = entropies[0] - (entropies[1] + entropies[2]) / 2
    return float(found.mean() + STANDARD_ERRORS * found.std())


def _mix(reference: Traffic, live: Traffic, settings: DetectSettings) -> Comparison:
    shares = {label: count / live.in_scope for label, count in live.intents.items()}
    before = {label: count / reference.in_scope for label, count in reference.intents.items()}
    names = {label for label, share in (shares | before).items() if share}
    grown = max(sorted(names), key=lambda label: shares.get(label, 0) - before.get(label, 0))
    return Comparison(
        "intent mix",
        divergence(before, shares),
        max(settings.mix_divergence, chance_divergence(reference.intents, live.intents)),
        f"{grown} grew most, from {before.get(grown, 0):.1%} to {shares.get(grown, 0):.1%} of "
        f"{live.in_scope:,} live tickets",
    )


def _out_of_scope(reference: Traffic, live: Traffic, settings: DetectSettings) -> Comparison:
    before, now = reference.out_of_scope_share, live.out_of_scope_share
    both = (reference.out_of_scope + live.out_of_scope) / (reference.tickets + live.tickets)
    error = math.sqrt(both * (1 - both) * (1 / reference.tickets + 1 / live.tickets))
    return Comparison(
        "out of scope",
        now - before,
        max(settings.out_of_scope_rise, STANDARD_ERRORS * error),
        f"{before:.1%} of the validation tickets, {now:.1%} of {live.tickets:,} live ones",
    )


def _confidence(reference: Traffic, live: Traffic, settings: DetectSettings) -> Comparison:
    error = reference.spread * math.sqrt(1 / reference.tickets + 1 / live.tickets)
    return Comparison(
        "confidence",
        reference.confidence - live.confidence,
        max(settings.confidence_drop, STANDARD_ERRORS * error),
        f"{reference.confidence:.3f} on average over the validation tickets, "
        f"{live.confidence:.3f} over {live.tickets:,} live ones",
    )
