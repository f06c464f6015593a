"""Dialogues as text: the one function that shards and serving share, so that both read alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CONTEXT_MARK = " [context] "
_USER_ROLES = frozenset({"user", "customer", "client", "human", "requester"})


@dataclass(frozen=True, slots=True)
class Turn:
    """One utterance of a dialogue.

    Attributes:
        role: Who speaks; customers' usual names count as `user`, everything else as `agent`.
        text: What is said.
    """

    role: str
    text: str

    @property
    def speaker(self) -> str:
        """`user` or `agent`."""
        return "user" if self.role.strip().casefold() in _USER_ROLES else "agent"


def ticket_text(turns: Sequence[Turn]) -> str:
    """Makes one text of a dialogue: what the user said last, then the earlier turns, newest first.

    Truncation cuts the end, so what matters most stands at the front.

    Args:
        turns: In the order they were spoken; blank ones are left out.

    Returns:
        The last user turn alone where it is the only one; else
        `last user turn [context] agent: … user: …`. Empty where nothing was said.
    """
    spoken = [turn for turn in turns if turn.text.strip()]
    if not spoken:
        return ""
    last = max(
        (index for index, turn in enumerate(spoken) if turn.speaker == "user"),
        default=len(spoken) - 1,
    )
    context = [turn for index, turn in enumerate(spoken) if index != last]
    text = " ".join(spoken[last].text.split())
    if not context:
        return text
    earlier = (f"{turn.speaker}: {' '.join(turn.text.split())}" for turn in reversed(context))
    return text + CONTEXT_MARK + " ".join(earlier)
