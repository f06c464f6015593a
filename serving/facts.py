"""The facts of one request, with the look-ups that ranking and answering need."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property

from kg_schema.client import FactRow
from serving.contracts import Fact, fact_id


def fact_of(row: FactRow) -> Fact:
    """Makes the public fact of a row; its validity's start is the version in its id."""
    subject = f"{row.subject_label}/{row.subject_id}"
    if row.object_id is None:
        object_, object_name = row.value or "", row.value or ""
    else:
        object_, object_name = f"{row.object_label}/{row.object_id}", row.object_name or ""
    return Fact(
        id=fact_id(subject, row.predicate, object_, row.valid_from or ""),
        subject=subject,
        predicate=row.predicate,
        object=object_,
        source=row.source or "",
        valid_from=row.valid_from,
        valid_to=row.valid_to,
        subject_name=row.subject_name,
        object_name=object_name,
    )


class FactSet:
    """Facts without repetition, in the order they were read, then by rank.

    Args:
        rows: Rows of one or several templates, in the order of the plan.
    """

    def __init__(self, rows: Iterable[FactRow]) -> None:
        self._facts: dict[str, Fact] = {}
        self._ranks: dict[str, int] = {}
        for row in rows:
            fact = fact_of(row)
            if fact.id not in self._facts:
                self._facts[fact.id] = fact
                self._ranks[fact.id] = row.rank or 0

    def __iter__(self) -> Iterator[Fact]:
        return iter(self._facts.values())

    def __len__(self) -> int:
        return len(self._facts)

    def __getitem__(self, identifier: str) -> Fact:
        return self._facts[identifier]

    def __contains__(self, identifier: object) -> bool:
        return identifier in self._facts

    @cached_property
    def _index(self) -> dict[tuple[str, str], list[Fact]]:
        index: defaultdict[tuple[str, str], list[Fact]] = defaultdict(list)
        for fact in self:
            index[fact.subject, fact.predicate].append(fact)
        for facts in index.values():
            facts.sort(key=lambda fact: self._ranks[fact.id])
        return dict(index)

    def without(self, subjects: Iterable[str]) -> FactSet:
        """These facts less those whose subject is one of `subjects`."""
        gone = set(subjects)
        kept = FactSet(())
        kept._facts = {key: fact for key, fact in self._facts.items() if fact.subject not in gone}
        kept._ranks = self._ranks
        return kept

    def about(self, subject: str, predicate: str) -> list[Fact]:
        """Facts with this subject (`Label/id`) and predicate, by rank."""
        return self._index.get((subject, predicate), [])

    def first(self, subject: str, predicate: str) -> Fact | None:
        """The first of `about`, None where there is none."""
        return next(iter(self.about(subject, predicate)), None)

    def matching(self, subject_label: str, predicate: str, object_label: str = "") -> list[Fact]:
        """Facts whose subject (and object, if given) has this label, in reading order, by rank."""
        found = [
            fact
            for (subject, name), facts in self._index.items()
            if name == predicate and subject.startswith(f"{subject_label}/")
            for fact in facts
        ]
        if object_label:
            found = [fact for fact in found if fact.object.startswith(f"{object_label}/")]
        return found

    def between(self, one: str, other: str, predicate: str) -> Fact | None:
        """The relationship between two nodes in whichever direction it is stored."""
        for subject, object_ in ((one, other), (other, one)):
            for fact in self.about(subject, predicate):
                if fact.object == object_:
                    return fact
        return None
