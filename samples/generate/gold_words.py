"""Gold questions put into words, and the rows they become."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from samples.generate.cases import Case, slots_for
from samples.generate.frames import Piece, Slots, read_frames, realise
from samples.generate.gold_facts import Expected
from samples.generate.surface import Habits, Mention, normalised, write
from samples.generate.world import World

Row = dict[str, Any]

DIALOGUE_SHARE = 0.12


@dataclass(frozen=True)
class Question:
    """A question before it is numbered: its words, their mentions and what is expected."""

    said: list[tuple[str, str]]
    entities: list[Row]
    intent: str
    expected: Expected
    answerable: bool = True
    customer: str | None = None
    as_of: str | None = None

    @property
    def key(self) -> str:
        """What makes it the same question as another."""
        return normalised(" ".join(text for _, text in self.said))

    def row(self, question_id: str, problem_type: str) -> Row:
        """The question in the form of the gold contract."""
        row: Row = {"question_id": question_id}
        if len(self.said) == 1:
            row["text"] = self.said[0][1]
        else:
            row["turns"] = [{"role": role, "text": text} for role, text in self.said]
        row |= {"problem_type": problem_type, "answerable": self.answerable}
        if self.customer is not None:
            row["customer_id"] = self.customer
        if self.as_of is not None:
            row["as_of"] = self.as_of
        row |= {
            "intent": self.intent,
            "entities": self.entities,
            "facts": self.expected.facts,
            "recommendations": self.expected.recommendations,
            "answer": {"must": self.expected.must, "must_not": self.expected.must_not},
        }
        return row


class Phrasing:
    """Puts a case into words, at times as a short conversation.

    Args:
        world: The graph.
        rng: Source of chance.
    """

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world = world
        self._rng = rng
        self.frames = read_frames("gold")
        self._habits = Habits(False, False, False, False, 0)
        self._hasty = Habits(True, False, False, False, 1)

    def say(
        self, case: Case, frame: str, extra: Slots | None = None
    ) -> tuple[list[tuple[str, str]], list[Row]]:
        """What is said, turn by turn, and the entities in it."""
        rng = self._rng
        slots = slots_for(self._world, case, frame, rng) | (extra or {})
        if case.order is not None:
            number = case.order[1].removeprefix("O_")
            text = rng.choice((f"order {number}", case.order[1], f"order #{number}"))
            slots["order"] = Piece(text, case.order)
        pieces = realise(frame, slots, rng)
        if rng.random() >= DIALOGUE_SHARE:
            return self._turns([("user", pieces)])
        named = [piece for piece in pieces if piece.ref == case.product]
        if len(named) == 1 and case.product2 is None:
            asked = [slots["noun"] if piece.ref == case.product else piece for piece in pieces]
            answer = realise(rng.choice(self.frames["which"]), slots, rng)
            return self._turns(
                [("user", asked), ("agent", self._line("agent_which")), ("user", answer)]
            )
        greeting = ("user", self._line("hello"))
        return self._turns([greeting, ("agent", self._line("agent_hello")), ("user", pieces)])

    def _line(self, section: str) -> list[Piece]:
        return [Piece(self._rng.choice(self.frames[section]))]

    def _turns(
        self, turns: list[tuple[str, list[Piece]]]
    ) -> tuple[list[tuple[str, str]], list[Row]]:
        habits = self._hasty if self._rng.random() < 0.15 else self._habits
        said: list[tuple[str, str]] = []
        entities: list[Row] = []
        for role, pieces in turns:
            text, mentions = write(pieces, habits if role == "user" else self._habits, self._rng)
            said.append((role, text))
            entities += [_entity(mention, text) for mention in mentions]
        return said, entities


def _entity(mention: Mention, text: str) -> Row:
    label, node_id = mention.ref
    return {"label": label, "id": node_id, "text": text[mention.start : mention.end]}
