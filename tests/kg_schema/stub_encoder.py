"""An encoder with no model: directions that texts decide, alike where their first word is."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

MODEL = "a-model@1"
DIMENSIONS = 384


def vector(text: str) -> list[float]:
    """A direction that the text decides, near those of the texts that share its first word."""
    centre, own = random.Random(text.split()[0]), random.Random(text)  # noqa: S311
    mixed = [centre.gauss(0, 1) + 0.7 * own.gauss(0, 1) for _ in range(DIMENSIONS)]
    length = math.hypot(*mixed)
    return [number / length for number in mixed]


class Encoder:
    """Stands for a model: as the real one, it gives the same text the same unit vector."""

    model = MODEL

    def __init__(self, dimensions: int = DIMENSIONS) -> None:
        self.dimensions = dimensions
        self.texts: list[str] = []

    def encode(self, texts: Sequence[str]) -> list[list[float]]:
        self.texts.extend(texts)
        return [vector(text)[: self.dimensions] for text in texts]
