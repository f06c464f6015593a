"""What the claims of one answer are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from serving.catalogue import Catalogue
from serving.contracts import EntityLink, Fact
from serving.dates import Period
from serving.facts import FactSet
from serving.phrases import Draft, sentence, unique
from serving.plans import Plan


@dataclass(frozen=True)
class Composition:
    """What claims are made of.

    Attributes:
        text: The ticket's text.
        as_of: The day the answer must be right for.
        period: The days the ticket speaks of, None where of none.
        links: Linked entities by label, best first.
        facts: Facts of the request.
        plan: The plan followed.
        sentences: Patterns by name.
        catalogue: Names and categories of things.
    """

    text: str
    as_of: date
    period: Period | None
    links: Mapping[str, Sequence[EntityLink]]
    facts: FactSet
    plan: Plan
    sentences: Mapping[str, str]
    catalogue: Catalogue

    @property
    def linked(self) -> list[str]:
        """References of all linked entities."""
        return [f"{label}/{link.id}" for label, links in self.links.items() for link in links]

    def refs(self, label: str) -> list[str]:
        """References of the linked entities of a label."""
        return [f"{label}/{link.id}" for link in self.links.get(label, ())]

    def name(self, ref: str) -> str:
        """Name of a node of the catalogue, its id where it is not there."""
        node = self.catalogue.get(ref)
        return node.name if node else ref.partition("/")[2]

    def say(self, key: str, facts: Iterable[Fact], **values: str) -> Draft:
        """A draft of a named sentence."""
        return Draft(sentence(self.sentences[key].format(**values)), unique(facts))
