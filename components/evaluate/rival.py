"""The rival without a graph: the same model, and the resolved tickets it was trained on.

It says what was said to the most similar resolved ticket of the predicted intent, and where none
is similar, what was said most often for the intent.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.shards import read_split

NGRAMS = (1, 2)


@dataclass(frozen=True)
class _Resolved:
    """The resolved tickets of one intent.

    Attributes:
        answers: What was said, in the order of the rows.
        vectors: Sparse tf-idf rows of their texts.
        usual: The answer given most often, the first of equals.
    """

    answers: Sequence[str]
    vectors: Any
    usual: str


class ResolvedTickets:
    """What was answered to the tickets of the train split.

    Args:
        shards: A shards directory.
    """

    def __init__(self, shards: Path) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        rows = read_split(shards, "train").select(["text", "intent", "answer"]).to_pylist()
        by_intent: dict[str, list[dict[str, str]]] = defaultdict(list)
        for row in rows:
            if row["answer"] and row["intent"]:
                by_intent[row["intent"]].append(row)
        self._vectorizer = TfidfVectorizer(ngram_range=NGRAMS, sublinear_tf=True)
        self._resolved: dict[str, _Resolved] = {}
        if not by_intent:
            return
        self._vectorizer.fit(row["text"] for row in rows)
        for intent, group in by_intent.items():
            answers = [row["answer"] for row in group]
            self._resolved[intent] = _Resolved(
                answers=answers,
                vectors=self._vectorizer.transform([row["text"] for row in group]),
                usual=Counter(answers).most_common(1)[0][0],
            )

    def __len__(self) -> int:
        return sum(len(each.answers) for each in self._resolved.values())

    def answer(self, text: str, intent: str) -> str | None:
        """Returns what would be said; None where no ticket of the intent was ever resolved."""
        known = self._resolved.get(intent)
        if known is None:
            return None
        similar = (known.vectors @ self._vectorizer.transform([text]).T).toarray().ravel()
        best = int(np.argmax(similar))
        return known.answers[best] if similar[best] > 0 else known.usual
