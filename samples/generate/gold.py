"""The gold questions: 150 a problem type, with what a right answer rests on and says.

At least half of them are about products that no ticket names. Their frames are their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta

from samples.generate.cases import (
    INTENTS,
    ORDER_INTENTS,
    Case,
    Draw,
)
from samples.generate.catalogue import HELD_OUT
from samples.generate.days import random_day, written_day
from samples.generate.frames import Piece, Slots, slots_of
from samples.generate.gold_facts import Expected, applicable_policy, expected_of, usable
from samples.generate.gold_words import Phrasing, Question, Row
from samples.generate.policies import most_specific
from samples.generate.world import TODAY, Ref, World, rng_for

PER_TYPE = 150
UNANSWERABLE = 18
KNOWN_SHARE = 0.18
"""Share of drawn cases about products that tickets name too."""


class GoldFactory:
    """Makes the questions of every problem type."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = rng_for("gold")
        self._phrasing = Phrasing(world, self._rng)
        held_out = [ref for ref in world.of("Product") if ref[1] in HELD_OUT]
        self._new = Draw(world, self._rng, held_out)
        self._all = Draw(world, self._rng, world.of("Product"))
        self._seen: set[str] = set()
        self._uses: dict[str, int] = {}

    def rows(self, problem_type: str) -> Iterator[Row]:
        """The questions of a problem type, answerable and not, in a mixed order."""
        intents = INTENTS[problem_type]
        answerable = [intents[number % len(intents)] for number in range(PER_TYPE - UNANSWERABLE)]
        questions = [self._different(self._answerable, intent) for intent in answerable]
        questions += [
            self._different(self._unanswerable, kind) for kind in _UNANSWERABLE_KINDS[problem_type]
        ]
        self._rng.shuffle(questions)
        for number, question in enumerate(questions, start=1):
            yield question.row(f"G_{problem_type.upper()}_{number:03d}", problem_type)

    def _different(self, maker: Callable[[str], Question], kind: str) -> Question:
        for _ in range(200):
            question = maker(kind)
            if question.key not in self._seen:
                self._seen.add(question.key)
                return question
        raise ValueError(f"{kind}: no question differs from the others")

    def _case(self, intent: str) -> Case:
        draw = self._all if self._rng.random() < KNOWN_SHARE else self._new
        for _ in range(400):
            case = draw.case(intent)
            if usable(self._world, case):
                return case
        raise ValueError(f"{intent}: no usable case")

    def _frame(self, section: str) -> str:
        """The frame of a section that was used least so far."""
        frames = self._phrasing.frames[section]
        fewest = min(self._uses.get(frame, 0) for frame in frames)
        frame = self._rng.choice([f for f in frames if self._uses.get(f, 0) == fewest])
        self._uses[frame] = self._uses.get(frame, 0) + 1
        return frame

    def _answerable(self, intent: str) -> Question:
        if intent in INTENTS["policy"]:
            return self._policy(intent)
        case = self._case(intent)
        faults = intent in INTENTS["troubleshooting"] and intent != "error_code_help"
        frame = self._frame("any" if faults else intent)
        if "{feature}" not in frame:
            case = replace(case, feature=None)
        if intent in ("trade_in_info", "password_reset"):
            case = replace(case, product=self._general_product("Article", intent))
        said, entities = self._phrasing.say(case, frame)
        expected = expected_of(self._world, case, named="{product}" in frame)
        personal = case.order is not None and "{order}" in frame and case.customer is not None
        return Question(
            said,
            entities,
            intent,
            expected,
            customer=case.customer[1] if personal and case.customer else None,
            as_of=self._eligible_day(case) if intent == "order_return_eligibility" else None,
        )

    def _eligible_day(self, case: Case) -> str | None:
        if case.order is None or self._rng.random() < 0.5:
            return None
        delivered = date.fromisoformat(str(self._world.props(case.order)["delivered_on"]))
        return (delivered + timedelta(days=self._rng.randint(1, 6))).isoformat()

    def _policy(self, intent: str) -> Question:
        """A policy as of now, of an earlier day, or of the day of an order."""
        rng = self._rng
        dated = f"{intent}@order" in self._phrasing.frames and rng.random() < 0.5
        frame = self._frame(f"{intent}@order" if dated else intent)
        case, day = self._policy_case(intent, past=dated or rng.random() < 0.3)
        if "{product}" not in frame:
            case = replace(case, product=self._general_product("Policy", intent))
            day = TODAY
        extra: Slots = {"day": Piece(written_day(day, rng), exact=True)}
        said, entities = self._phrasing.say(case, frame, extra)
        expected = expected_of(self._world, case, day)
        as_of = day if not dated and day != TODAY else None
        if dated and rng.random() < 0.5:
            as_of = TODAY
        return Question(said, entities, intent, expected, as_of=as_of)

    def _policy_case(self, intent: str, past: bool) -> tuple[Case, str]:
        """A case and the day to read the policy on: today, or one that had other rules if any."""
        for attempt in range(400):
            case = self._case(intent)
            day = random_day(self._world, case.product, self._rng) if past else TODAY
            found = applicable_policy(self._world, intent, case.product, day)
            if found is None:
                continue
            superseded = "valid_to" in self._world.props(found[1])
            if superseded or not past or attempt >= 60:
                return case, day
        raise ValueError(f"{intent}: no day with a version")

    def _general_product(self, label: str, topic: str) -> Ref:
        """A product to which a topic's general policy or article applies; it is not named."""
        kind = "COVERS" if label == "Policy" else "ABOUT"
        products = [
            ref
            for ref in self._world.of("Product")
            if not self._world.out(most_specific(self._world, label, topic, ref)[0], kind)
        ]
        return self._rng.choice(products)

    def _unanswerable(self, kind: str) -> Question:
        rng = self._rng
        intent, _, what = kind.partition("/")
        if intent == "out_of_scope":
            frame = rng.choice(self._phrasing.frames["out_of_scope"])
            said, entities = self._phrasing.say(self._all.case("product_price"), frame)
            return Question(said, entities, intent, Expected(), answerable=False)
        if what in ("foreign", "absent"):
            return self._closed_order(intent, what)
        if what == "early":
            return self._before_all_policies(intent)
        extra: Slots = {}
        case = self._case("product_price" if what == "lacks" else intent)
        if what == "lacks":
            case = self._lacking(intent)
        elif what == "product":
            extra["product"] = Piece(rng.choice(self._phrasing.frames["unknown_product"]))
        elif what == "code":
            extra["code"] = Piece(
                rng.choice(("E9999", "E8118", "E7070", "E6001", "E9410", "E5555"))
            )
        elif what == "promo":
            extra["promo"] = Piece(rng.choice(self._phrasing.frames["unknown_promotion"]))
        faults = intent in INTENTS["troubleshooting"] and intent != "error_code_help"
        section = "any" if faults else intent
        frames = [
            frame
            for frame in self._phrasing.frames[section]
            if set(extra) <= slots_of(frame) and "{order}" not in frame and "{feature}" not in frame
        ]
        said, entities = self._phrasing.say(case, rng.choice(frames), extra)
        return Question(said, entities, intent, Expected(), answerable=False)

    def _before_all_policies(self, intent: str) -> Question:
        """A question about an order of a time before the company had the policy."""
        day = f"202{self._rng.randint(0, 2)}-0{self._rng.randint(1, 9)}-1{self._rng.randint(0, 9)}"
        extra: Slots = {"day": Piece(written_day(day, self._rng), exact=True)}
        frame = self._frame(f"{intent}@order")
        said, entities = self._phrasing.say(self._case(intent), frame, extra)
        return Question(said, entities, intent, Expected(), answerable=False)

    def _lacking(self, intent: str) -> Case:
        """A case about a product for which the graph knows nothing of the kind."""
        world, rng = self._world, self._rng
        if intent in INTENTS["faq"]:
            products = [
                p for p in world.of("Product") if not most_specific(world, "Article", intent, p)
            ]
            return Case(intent, rng.choice(products))
        symptoms = [s for s in world.of("Symptom") if world.props(s)["topic"] == intent]
        affected = {e.start for s in symptoms for e in world.into(s, "HAS_SYMPTOM")}
        products = [p for p in world.of("Product") if p not in affected]
        return Case(intent, rng.choice(products), symptom=rng.choice(symptoms))

    def _closed_order(self, intent: str, what: str) -> Question:
        """A question about an order that is another customer's, or nobody's."""
        world, rng = self._world, self._rng
        case = self._case(intent)
        if case.order is None or case.customer is None:
            raise ValueError(f"{intent}: no order")
        secret = [str(world.props(case.order)["placed_on"])]
        secret += [world.name(edge.end) for edge in world.out(case.order, "CONTAINS")]
        others = [ref for ref in world.of("Customer") if ref != case.customer]
        extra: Slots = {}
        if what == "absent":
            case = replace(
                case, order=("Order", f"O_{rng.randint(400, 900)}{rng.randint(100, 999)}")
            )
            secret = []
        said, entities = self._phrasing.say(case, self._frame(intent), extra)
        known = [row for row in entities if world.has((row["label"], row["id"]))]
        return Question(
            said,
            known,
            intent,
            Expected(must_not=secret),
            answerable=False,
            customer=rng.choice(others)[1],
        )


_UNANSWERABLE_KINDS: dict[str, tuple[str, ...]] = {
    "faq": (
        *("out_of_scope",) * 5,
        *(f"{intent}/product" for intent in INTENTS["faq"][:10] if intent != "product_features"),
        *("data_transfer_guide/lacks", "pairing_guide/lacks") * 2,
    ),
    "troubleshooting": (
        *("out_of_scope",) * 4,
        *("error_code_help/code",) * 6,
        *("wifi_drops/product", "no_sound/product", "overheating/product", "boot_loop/product"),
        *("sim_not_detected/lacks", "camera_blur/lacks") * 2,
    ),
    "policy": (
        *("out_of_scope",) * 6,
        *(f"{intent}/product" for intent in INTENTS["policy"][:8]),
        *(f"{intent}/early" for intent in ("return_window", "exchange_rules", "price_match")),
        "return_window/early",
    ),
    "multi_entity": (
        *("out_of_scope",) * 2,
        *(f"{intent}/foreign" for intent in (*ORDER_INTENTS, *ORDER_INTENTS[:2])),
        *(f"{intent}/absent" for intent in ORDER_INTENTS),
        *("compare_products/product", "accessory_fits_product/product"),
        *("combine_promotions/promo", "promotion_on_product/promo") * 2,
    ),
}


def gold_rows(world: World) -> dict[str, list[Row]]:
    """The gold questions by problem type."""
    factory = GoldFactory(world)
    return {problem_type: list(factory.rows(problem_type)) for problem_type in INTENTS}
