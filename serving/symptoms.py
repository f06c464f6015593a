"""Which known fault does a customer describe? Words of the text against words of the symptom."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rapidfuzz.distance import OSA

from serving.catalogue import Node, stems
from serving.contracts import EntityLink

DESCRIPTION_WEIGHT = 0.9
PRIOR_WEIGHT = 0.5
MIN_SCORE = 0.35
MAX_WORDS = 120
_TYPO_CREDIT = 0.8
_TYPO_MIN_LETTERS = 5


@dataclass(frozen=True, slots=True)
class RankedSymptom:
    """A symptom and how well a text describes it.

    Attributes:
        node: The symptom.
        lexical: Share of its words, weighed by rarity, that the text says; 0 to 1.
        score: Lexical share and the intent's prior together, 0 to 1.
    """

    node: Node
    lexical: float
    score: float


class SymptomIndex:
    """Word rarities over all symptoms; safe to share between requests.

    Args:
        symptoms: Every symptom of the catalogue.
    """

    def __init__(self, symptoms: Iterable[Node]) -> None:
        self._phrases: dict[str, list[tuple[list[str], float]]] = {}
        frequency: Counter[str] = Counter()
        count = 0
        for node in symptoms:
            phrases = [(stems(s), 1.0) for s in node.surfaces if s != node.id]
            described = node.properties.get("description", "")
            if described:
                phrases.append((stems(described), DESCRIPTION_WEIGHT))
            self._phrases[node.ref] = [phrase for phrase in phrases if phrase[0]]
            frequency.update({word for words, _ in phrases for word in words})
            count += 1
        self._idf = {word: math.log((count + 1) / (n + 0.5)) for word, n in frequency.items()}

    def rank(
        self, text: str, candidates: Sequence[Node], topics: Mapping[str, float]
    ) -> list[RankedSymptom]:
        """Orders candidates by how well the text describes them.

        Args:
            text: What the customer says.
            candidates: Symptoms of the index.
            topics: Probability of each intent; a symptom's topic is an intent.

        Returns:
            Every candidate, best first.
        """
        said = list(dict.fromkeys(stems(text)))[:MAX_WORDS]
        ranked = []
        for node in candidates:
            lexical = self._lexical(said, node)
            prior = topics.get(node.properties.get("topic", ""), 0.0)
            score = (1 - PRIOR_WEIGHT) * lexical + PRIOR_WEIGHT * prior
            ranked.append(RankedSymptom(node, lexical, score))
        return sorted(ranked, key=lambda item: (-item.score, item.node.id))

    def _lexical(self, said: Sequence[str], node: Node) -> float:
        shares = (
            weight * self._share(said, words) for words, weight in self._phrases.get(node.ref, [])
        )
        return max(shares, default=0.0)

    def _share(self, said: Sequence[str], words: Sequence[str]) -> float:
        total = sum(self._idf[word] for word in words)
        got = sum(self._idf[word] * _credit(word, said) for word in words)
        return got / total if total > 0 else 0.0


def _credit(word: str, said: Sequence[str]) -> float:
    if word in said:
        return 1.0
    if len(word) >= _TYPO_MIN_LETTERS and any(
        abs(len(word) - len(other)) <= 1 and OSA.distance(word, other, score_cutoff=1) <= 1
        for other in said
    ):
        return _TYPO_CREDIT
    return 0.0


def symptom_link(text: str, best: RankedSymptom) -> EntityLink:
    """The link of the symptom taken; its mention is the whole text."""
    return EntityLink(
        text=text[:200],
        id=best.node.id,
        label=best.node.label,
        score=round(best.score, 4),
        method="symptom",
    )
