"""The tickets: cases in customers' words, with their intents, entities and resolutions."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from functools import cache
from typing import Any

from samples.generate.answers import resolve
from samples.generate.cases import INTENTS, Case, Draw, slots_for, ticket_products
from samples.generate.faults import phrases_of
from samples.generate.frames import Piece, fill, read_frames, realise, slots_of
from samples.generate.surface import Habits, Mention, normalised, write
from samples.generate.unanswerable import unknown_slots
from samples.generate.world import TODAY, Ref, World, rng_for

Row = dict[str, Any]

FRAME_FILES = ("faq", "troubleshooting", "policy", "multi_entity", "out_of_scope")

PER_INTENT = (86, 130)
OUT_OF_SCOPE = 420
_TROUBLES = frozenset(INTENTS["troubleshooting"]) - {"error_code_help"}


@cache
def _all_frames() -> dict[str, dict[str, list[str]]]:
    return {name: read_frames(name) for name in (*FRAME_FILES, "asides", "extras", "shared")}


@cache
def _shared_of(intent: str) -> tuple[str, ...]:
    shared = _all_frames()["shared"]
    return tuple(f for pair, rows in shared.items() if intent in pair.split() for f in rows)


def _frames_of(intent: str) -> list[str]:
    for problem_type, intents in INTENTS.items():
        if intent in intents:
            return _all_frames()[problem_type][intent]
    return _all_frames()["out_of_scope"]["say"]


class Writer:
    """Writes the texts of tickets.

    Args:
        world: The graph.
        rng: Source of chance.
    """

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world = world
        self._rng = rng
        self._extras = _all_frames()["extras"]
        self._asides = _all_frames()["asides"]
        self._fillers = {
            name: rows for name, rows in _all_frames()["out_of_scope"].items() if name != "say"
        }

    def question(self, case: Case, unknown: bool = False) -> list[Piece]:
        """The sentence that asks, in pieces."""
        rng = self._rng
        frame = self._frame(case, unknown)
        slots = slots_for(self._world, case, frame, rng)
        if unknown:
            slots |= unknown_slots(frame, rng)
        for slot, rows in self._fillers.items():
            slots[slot] = Piece(rng.choice(rows))
        return realise(frame, slots, rng)

    def dressed(self, case: Case, unknown: bool = False) -> list[Piece]:
        """The question with what people write around it."""
        rng = self._rng
        parts: list[list[Piece]] = []
        if rng.random() < 0.3:
            parts.append([Piece(self.line("opener"))])
        if rng.random() < 0.14:
            parts.append([Piece(self.line("background"))])
        aside = rng.random() < (0.30 if case.intent != "out_of_scope" else 0.08)
        aside_first = rng.random() < 0.5
        if aside and aside_first:
            parts.append([Piece(self.aside(case.intent))])
            if rng.random() < 0.35:
                parts.append([Piece(self.line("lead"))])
        parts.append(self.question(case, unknown))
        if aside and not aside_first:
            parts.append([Piece(self.aside(case.intent))])
        if case.intent in _TROUBLES and rng.random() < 0.16:
            parts.append(self._second_fault(case))
        if rng.random() < 0.24:
            parts.append([Piece(self.line("closer"))])
        return [piece for part in parts for piece in (*part, Piece(" "))]

    def aside(self, intent: str) -> str:
        """A sentence that touches another intent than this one."""
        others = [key for key in self._asides if key != intent]
        return self._rng.choice(self._asides[self._rng.choice(others)])

    def line(self, section: str) -> str:
        """A line of a section of the extras."""
        return self._rng.choice(self._extras[section])

    def which(self, case: Case) -> list[Piece]:
        """The customer names the product when asked."""
        frame = self.line("which")
        return fill(frame, slots_for(self._world, case, frame, self._rng))

    def _frame(self, case: Case, unknown: bool) -> str:
        rng = self._rng
        frames = _frames_of(case.intent)
        if case.intent in _TROUBLES and rng.random() < 0.45:
            frames = _all_frames()["troubleshooting"]["any"]
        shared = _shared_of(case.intent)
        if shared and case.day is None and rng.random() < 0.06:
            frames = list(shared)
        possible = [f for f in frames if _fits(f, case)]
        if case.day is not None:
            possible = [f for f in possible if "{day}" in f]
        if unknown:
            possible = [f for f in _frames_of(case.intent) if _names(f) and _fits(f, case)]
        return rng.choice(possible)

    def _second_fault(self, case: Case) -> list[Piece]:
        symptoms = [
            edge.end
            for edge in self._world.out(case.product, "HAS_SYMPTOM")
            if self._world.props(edge.end)["topic"] != case.intent
        ]
        symptom = self._rng.choice(symptoms)
        verbs, _ = phrases_of(self._world.name(symptom))
        slots = {"vp2": Piece(self._rng.choice(verbs), symptom)}
        return realise(self.line("second"), slots, self._rng)


def _fits(frame: str, case: Case) -> bool:
    needed: dict[str, object] = {
        "product2": case.product2,
        "accessory": case.accessory,
        "feature": case.feature,
        "day": case.day,
        "order": case.order,
        "promo": case.promotion,
        "vp": case.symptom,
        "code": case.code,
    }
    wanted = slots_of(frame)
    return all(ref is not None for slot, ref in needed.items() if slot in wanted)


def _names(frame: str) -> bool:
    """Whether the frame names something that might not exist."""
    return bool(slots_of(frame) & {"product", "code", "order"})


def _entities(mentions: list[Mention], text: str, turn: int | None = None) -> list[Row]:
    rows: list[Row] = []
    for mention in mentions:
        label, node_id = mention.ref
        row: Row = {"text": text[mention.start : mention.end], "label": label, "id": node_id}
        row |= {"start": mention.start, "end": mention.end}
        rows.append(row if turn is None else {**row, "turn": turn})
    return rows


class TicketFactory:
    """Makes tickets of every intent until there are enough different ones."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = rng_for("tickets")
        self._writer = Writer(world, self._rng)
        self._draw = Draw(world, self._rng, ticket_products(world))
        self._seen: set[str] = set()

    def rows(self) -> Iterator[Row]:
        """All tickets, in a mixed order, numbered in it."""
        counts = rng_for("counts")
        rows: list[Row] = []
        for intents in INTENTS.values():
            for intent in intents:
                rows += self._of_intent(intent, counts.randint(*PER_INTENT))
        rows += self._of_intent("out_of_scope", OUT_OF_SCOPE)
        self._rng.shuffle(rows)
        for number, row in enumerate(rows, start=1):
            yield {"ticket_id": f"TK_{number:05d}", **row}

    def _of_intent(self, intent: str, count: int) -> list[Row]:
        rows: list[Row] = []
        for _ in range(count * 30):
            if len(rows) == count:
                return rows
            row = self._one(intent)
            spoken = row["text"] if "text" in row else " ".join(t["text"] for t in row["turns"])
            key = normalised(spoken)
            if key not in self._seen and len(key) >= 4:
                self._seen.add(key)
                rows.append(row)
        raise ValueError(f"{intent}: no more than {len(rows)} of {count} tickets differ")

    def _one(self, intent: str) -> Row:
        rng = self._rng
        unknown = rng.random() < (0.12 if intent == "error_code_help" else 0.045)
        unknown = unknown and intent != "out_of_scope"
        case = self._case(intent)
        habits = Habits.draw(rng)
        created = self._created(case)
        row: Row = {}
        foreign = unknown and case.order is not None and rng.random() < 0.5
        if rng.random() < 0.085:
            turns, entities = self._dialogue(case, habits)
            row |= {"turns": turns}
            unknown = foreign = False
        else:
            unknown = unknown and any(_names(f) and _fits(f, case) for f in _frames_of(intent))
            text, mentions = write(self._writer.dressed(case, unknown and not foreign), habits, rng)
            entities = _entities(mentions, text)
            row |= {"text": text}
        row |= {"intent": intent, "language": "en", "created_at": created}
        if case.customer is not None:
            row["customer_id"] = self._other_than(case.customer) if foreign else case.customer[1]
        elif rng.random() < 0.35:
            row["customer_id"] = rng.choice(self._world.of("Customer"))[1]
        row["entities"] = entities
        if not unknown and intent != "out_of_scope":
            solutions, answer = resolve(self._world, case, created)
            row["resolution"] = {"solution_ids": solutions, "answer": answer}
        return row

    def _case(self, intent: str) -> Case:
        if intent == "out_of_scope":
            return Case(intent, self._rng.choice(ticket_products(self._world)))
        case = self._draw.case(intent)
        dated = any("{day}" in frame for frame in _frames_of(intent))
        return case if dated else replace(case, day=None)

    def _other_than(self, customer: Ref) -> str:
        return self._rng.choice([ref for ref in self._world.of("Customer") if ref != customer])[1]

    def _created(self, case: Case) -> str:
        """A day when the ticket may have been written: no earlier than what it is about."""
        first = date.fromisoformat(str(self._world.props(case.product)["released"]))
        last = date.fromisoformat(TODAY)
        if case.product2 is not None:
            released = str(self._world.props(case.product2)["released"])
            first = max(first, date.fromisoformat(released))
        if case.order is not None:
            props = self._world.props(case.order)
            first = date.fromisoformat(props.get("delivered_on") or props["placed_on"])
            last = min(last, first + timedelta(days=40))
        if case.day is not None:
            first = date.fromisoformat(case.day)
        day = first + timedelta(days=self._rng.randint(0, max(0, (last - first).days)))
        hour, minute = self._rng.randint(6, 22), self._rng.randint(0, 59)
        return f"{day.isoformat()}T{hour:02d}:{minute:02d}:00Z"

    def _dialogue(self, case: Case, habits: Habits) -> tuple[list[Row], list[Row]]:
        """A conversation: the turns, and the entities with the index of their turn."""
        said = self._script(case)
        turns: list[Row] = []
        entities: list[Row] = []
        for index, (role, pieces) in enumerate(said):
            if role == "agent":
                turns.append({"role": role, "text": pieces[0].text})
                continue
            text, mentions = write(pieces, habits, self._rng)
            turns.append({"role": role, "text": text})
            entities += _entities(mentions, text, index)
        return turns, entities

    def _script(self, case: Case) -> list[tuple[str, list[Piece]]]:
        writer, rng = self._writer, self._rng
        question = writer.question(case)
        kind = rng.randrange(3)
        names = [piece for piece in question if piece.ref == case.product]
        if kind == 0 and len(names) == 1 and case.product2 is None:
            noun = slots_for(self._world, case, "", rng)["noun"]
            asked = [noun if piece.ref == case.product else piece for piece in question]
            return [
                ("user", asked),
                ("agent", [Piece(writer.line("agent_which"))]),
                ("user", writer.which(case)),
            ]
        if kind == 1:
            return [
                ("user", [Piece(writer.aside(case.intent))]),
                ("agent", [Piece(writer.line("agent_answer"))]),
                ("user", [Piece(writer.line("bridge")), Piece(" "), *question]),
            ]
        return [
            ("user", [Piece(writer.line("greeting"))]),
            ("agent", [Piece(writer.line("agent_hello"))]),
            ("user", question),
        ]


def ticket_rows(world: World) -> Iterator[Row]:
    """All tickets of the company, in the form of the ticket contract."""
    return TicketFactory(world).rows()
