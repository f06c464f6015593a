"""Judges one answer against its gold question, independently of what serving checks itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from components.evaluate.gold import GoldQuestion
from serving.contracts import Answer, Fact

CUTOFFS = (1, 5, 10)
_NUMBER = re.compile(r"\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True)
class Judged:
    """What one arm made of one question.

    Attributes:
        question_id: The question.
        problem_type: Its type.
        answerable: Whether it has an answer.
        intent: The intent that was seen.
        intent_right: Whether that is the question's.
        text: What was said; empty where nothing was.
        abstained: Whether nothing was claimed.
        reason: Why it abstained.
        right: Whether the answer, or the abstention, was right.
        claims: Statements made.
        unsupported: Those with a number that nothing behind them holds, or with nothing behind
            them at all.
        linked: Entities: found and right, found, to be found.
        cited: Facts: cited and gold, cited, gold.
        found_at: Per gold recommendation, its place from 1; 0 where it is missing. Empty where
            the question has none.
        latency_ms: Time the answer took.
        degraded: Parts of the system that were missing.
    """

    question_id: str
    problem_type: str
    answerable: bool
    intent: str
    intent_right: bool
    text: str
    abstained: bool
    reason: str
    right: bool
    claims: int
    unsupported: int
    linked: tuple[int, int, int]
    cited: tuple[int, int, int]
    found_at: tuple[int, ...]
    latency_ms: float
    degraded: tuple[str, ...] = ()


def judge_answer(gold: GoldQuestion, answer: Answer, latency_ms: float) -> Judged:
    """Judges an answer made with the graph."""
    facts = {fact.id: fact for fact in answer.facts}
    said = answer.answer
    claims = [(claim.text, [facts.get(id_) for id_ in claim.facts]) for claim in said.claims]
    cited = {fact for _, found in claims for fact in found if fact is not None}
    return Judged(
        question_id=gold.question_id,
        problem_type=gold.problem_type,
        answerable=gold.answerable,
        intent=answer.intent.label,
        intent_right=answer.intent.label == gold.intent,
        text=said.text,
        abstained=said.abstained,
        reason=said.reason or "",
        right=is_right(gold, said.text, abstained=said.abstained),
        claims=len(claims),
        unsupported=sum(not _carried(text, found) for text, found in claims),
        linked=_overlap(
            ((each.label, each.id) for each in answer.entities),
            ((each.label, each.id) for each in gold.entities),
        ),
        cited=_overlap(
            ((fact.subject, fact.predicate, fact.object) for fact in cited),
            (tuple(fact) for fact in gold.facts),
        ),
        found_at=_places([each.id for each in answer.recommendations], gold.recommendations),
        latency_ms=latency_ms,
        degraded=answer.degraded,
    )


def judge_text(gold: GoldQuestion, intent: str, text: str | None, latency_ms: float) -> Judged:
    """Judges an answer made without the graph; None is an abstention.

    It cites nothing, so its sentences are held against the gold facts instead.
    """
    sentences = [each for each in _SENTENCE.split(text or "") if each.strip()]
    behind = numbers(" ".join([*(part for fact in gold.facts for part in fact), *gold.answer.must]))
    return Judged(
        question_id=gold.question_id,
        problem_type=gold.problem_type,
        answerable=gold.answerable,
        intent=intent,
        intent_right=intent == gold.intent,
        text=text or "",
        abstained=text is None,
        reason="no intent, or none resolved before" if text is None else "",
        right=is_right(gold, text or "", abstained=text is None),
        claims=len(sentences),
        unsupported=sum(not numbers(each) <= behind for each in sentences),
        linked=(0, 0, len(set(gold.entities))),
        cited=(0, 0, len(set(gold.facts))),
        found_at=tuple(0 for _ in gold.recommendations),
        latency_ms=latency_ms,
    )


def is_right(gold: GoldQuestion, text: str, *, abstained: bool) -> bool:
    """Tells whether an answer says all it must and nothing it must not.

    To abstain is right exactly where the question has no answer.
    """
    if not gold.answerable or abstained:
        return abstained and not gold.answerable
    said = _plain(text)
    return all(_plain(each) in said for each in gold.answer.must) and not any(
        _plain(each) in said for each in gold.answer.must_not
    )


def numbers(text: str) -> frozenset[float]:
    """Returns every number in a text; a date's or a code's are its digits."""
    return frozenset(float(each.replace(",", "")) for each in _NUMBER.findall(text))


def _carried(claim: str, facts: Sequence[Fact | None]) -> bool:
    """Tells whether a claim cites facts of its answer that hold every number it says."""
    known = [fact for fact in facts if fact is not None]
    if not known or len(known) < len(facts):
        return False
    behind = " ".join(
        str(part)
        for fact in known
        for part in (
            fact.subject,
            fact.object,
            fact.subject_name,
            fact.object_name,
            fact.valid_from,
            fact.valid_to,
        )
        if part
    )
    return numbers(claim) <= numbers(behind)


def _overlap(found: Iterable[object], wanted: Iterable[object]) -> tuple[int, int, int]:
    one, other = set(found), set(wanted)
    return len(one & other), len(one), len(other)


def _places(given: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...]:
    order = {id_: place for place, id_ in reversed(list(enumerate(given, start=1)))}
    return tuple(order.get(id_, 0) for id_ in wanted)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
