"""Records on the champion what a retraining saw and why it ended as it did.

A promoted version carries what was seen when the change was detected, not what holds by the time
it serves: what changed meanwhile is for the next pass to find. Where the champion stays, it is
stamped with the same, so that the next pass does not train for the same reason again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from components.registry import CHAMPION, CONTENT_TAG, ModelRegistry
from components.traffic import TRAFFIC_TAG

REASON_TAG = "reason"
MAX_REASON = 5000

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Conclusion:
    """What came of a retraining.

    Attributes:
        outcome: `promoted`: another version is champion; `re-stamped`: the champion stays and is
            recorded to stand on what is there now; `refused`: nothing is recorded, for want of a
            champion, or because somebody made another one meanwhile.
        reason: One sentence.
        champion: The champion's version; empty where there is none.
    """

    outcome: Literal["promoted", "re-stamped", "refused"]
    reason: str
    champion: str


def conclude_retraining(
    tracking_uri: str,
    model_name: str,
    *,
    champion: str,
    reasons: Sequence[str],
    stamps: Mapping[str, str],
    gate: str,
    gate_reason: str,
    candidate: str,
) -> Conclusion:
    """Stamps the champion with what was detected, and with the reason; a repeat changes nothing.

    Args:
        tracking_uri: MLflow's.
        model_name: The registered model.
        champion: The version that was champion when the change was detected; empty for none.
        reasons: Why a training ran.
        stamps: Tags that say what was seen then.
        gate: `"true"` if the training's candidate was registered.
        gate_reason: Why, or why not.
        candidate: Digest of the candidate's files.

    Raises:
        RegistryError: The registry cannot be reached. It is safe to repeat.
    """
    registry = ModelRegistry(tracking_uri)
    now = registry.with_alias(model_name, CHAMPION)
    why = "; ".join(reasons)
    if now is None:
        return Conclusion("refused", f"no champion: {gate_reason}; trained because {why}", "")
    tags = dict(stamps)
    ours = gate == "true" and now.tags.get(CONTENT_TAG) == candidate
    if now.version != champion and not ours:
        said = f"version {now.version} became champion meanwhile: {gate_reason}"
        return Conclusion("refused", f"{said}; trained because {why}", now.version)
    if now.version != champion:
        # A new model sees traffic its own way: what the old one saw is nothing to compare it with.
        tags.pop(TRAFFIC_TAG, None)
        done = Conclusion("promoted", f"promoted because {why}; {gate_reason}", now.version)
    elif gate == "true":
        said = "re-stamped because the candidate passed and was not rolled out"
        done = Conclusion("re-stamped", f"{said}: {gate_reason}; trained because {why}", champion)
    else:
        said = "re-stamped because the candidate was no better"
        done = Conclusion("re-stamped", f"{said}: {gate_reason}; trained because {why}", champion)
    # The stamps come last: until they are there, the next pass finds the change again.
    for tag, value in {REASON_TAG: done.reason[:MAX_REASON], **tags}.items():
        if now.tags.get(tag) != value:
            registry.note(model_name, now.version, tag, value)
    logger.info("%s version %s %s", model_name, now.version, done.reason)
    return done
