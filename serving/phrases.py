"""Sentences made of facts by the plan's patterns; every sentence keeps the facts it used."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from serving.contracts import Fact
from serving.facts import FactSet
from serving.plans import Phrase, Selector

_SLOT = re.compile(r"\{(subject|objects|object)(?:\.(\w+))?\}")


@dataclass(frozen=True, slots=True)
class Draft:
    """A claim before it is checked.

    Attributes:
        text: One or more sentences.
        facts: What it stands on.
        step: Whether it is one of a run of numbered steps.
    """

    text: str
    facts: tuple[Fact, ...]
    step: bool = False


def select(selector: Selector, facts: FactSet, linked: Iterable[str]) -> list[Fact]:
    """Facts that a selector takes.

    Args:
        selector: What to take.
        facts: Facts of the request.
        linked: References (`Label/id`) of linked entities.
    """
    subject_label, predicate, object_label = selector.parts
    found = facts.matching(subject_label, predicate, object_label)
    refs = {ref for ref in linked if ref.startswith(f"{subject_label}/")}
    if selector.about == "linked" and refs:
        found = [fact for fact in found if fact.subject in refs]
    elif selector.about == "others":
        found = [fact for fact in found if fact.subject not in refs]
    for key, value in selector.only.items():
        found = [fact for fact in found if literal(facts, fact.object, key) == value]
    return found[: selector.limit]


def literal(facts: FactSet, ref: str, predicate: str) -> str | None:
    """Value of a literal property of a node, None where no fact says it."""
    fact = facts.first(ref, predicate)
    return fact.object if fact else None


def written(fact: Fact) -> str:
    """How the object of a fact is written: money with two decimals, the rest as it is."""
    if fact.predicate.endswith("_eur"):
        return f"{float(fact.object):.2f}"
    return fact.object_name.strip().rstrip(".") or fact.object


def listing(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def sentence(text: str) -> str:
    """With a capital first letter and a full stop, where it has none of its own."""
    text = " ".join(text.split())
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?", ":")) else f"{text}."


def render(phrase: Phrase, facts: FactSet, linked: Iterable[str]) -> list[Draft]:
    """Drafts of a phrase; of its `otherwise` where nothing was found."""
    refs = tuple(linked)
    found = select(phrase, facts, refs)
    if phrase.join:
        groups = [list(g) for _, g in groupby(found, key=lambda fact: fact.subject)]
    else:
        groups = [[fact] for fact in found]
    drafts = [draft for group in groups if (draft := _draft(phrase, group, facts)) is not None]
    if drafts:
        return drafts
    return [draft for other in phrase.otherwise for draft in render(other, facts, refs)]


def _draft(phrase: Phrase, group: Sequence[Fact], facts: FactSet) -> Draft | None:
    used = list(group)
    first = group[0]
    names = []
    for fact in group:
        name = phrase.words.get(fact.object, written(fact))
        if phrase.item:
            filled = _fill(phrase.item, {"object": name, "subject": fact.subject_name}, fact, facts)
            if filled is None:
                return None
            name, more = filled
            used.extend(more)
        names.append(name)
    values = {"subject": first.subject_name, "object": names[0], "objects": listing(names)}
    filled = _fill(phrase.text, values, first, facts)
    if filled is None:
        return None
    text, more = filled
    return Draft(sentence(text), unique([*used, *more]))


def _fill(
    pattern: str, values: Mapping[str, str], fact: Fact, facts: FactSet
) -> tuple[str, list[Fact]] | None:
    """Fills a pattern's slots; None where a literal that it asks for is not known."""
    used: list[Fact] = []
    parts: list[str] = []
    end = 0
    for slot in _SLOT.finditer(pattern):
        parts.append(pattern[end : slot.start()])
        end = slot.end()
        which, predicate = slot.groups()
        if predicate is None:
            parts.append(values[which])
            continue
        found = facts.first(fact.subject if which == "subject" else fact.object, predicate)
        if found is None:
            return None
        used.append(found)
        parts.append(written(found))
    return "".join([*parts, pattern[end:]]), used


def unique(facts: Iterable[Fact]) -> tuple[Fact, ...]:
    """Facts in order, each once."""
    return tuple({fact.id: fact for fact in facts}.values())
