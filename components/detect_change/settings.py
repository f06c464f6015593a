"""When a difference counts as a change."""

from __future__ import annotations

from dataclasses import dataclass

from kg_schema.errors import InputError


@dataclass(frozen=True)
class DetectSettings:
    """Thresholds of drift; whatever is exact (digests, intents) has none.

    Attributes:
        min_tickets: Fewer live tickets are not judged.
        mix_divergence: Most Jensen-Shannon divergence, in bits (0 to 1), between the intents of
            live traffic and of training. 0.05 is about what it is when a tenth of the traffic
            goes to intents that training hardly had.
        out_of_scope_rise: Most by which the share out of scope may rise, 0 to 1.
        confidence_drop: Most by which the mean confidence may fall, 0 to 1.
        timeout_s: Seconds that a server gets to tell its metrics.
    """

    min_tickets: int = 200
    mix_divergence: float = 0.05
    out_of_scope_rise: float = 0.05
    confidence_drop: float = 0.05
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        shares = (self.mix_divergence, self.out_of_scope_rise, self.confidence_drop)
        if not all(0 < share <= 1 for share in shares):
            raise InputError("thresholds of drift lie above 0 and up to 1", where=str(self))
        if self.min_tickets < 1 or self.timeout_s <= 0:
            raise InputError("min_tickets and timeout_s must be above 0", where=str(self))
