"""Texts in other words, on which a teacher is asked for what the labels do not say.

A teacher's distribution over a changed text shows how it draws the lines between the classes,
also where no ticket lies (TinyBERT's augmentation, Jiao et al. 2020, section 3.3, without its
language model). A changed text may well mean something else, so it never keeps its row's label.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

Change = Callable[[list[str], Sequence[str], random.Random], list[str]]


def change_texts(texts: Sequence[str], copies: int, seed: int) -> list[str]:
    """Returns `copies` changed texts of each text: all texts once, all once more, and so on.

    Each has one word dropped, two neighbours swapped, or its second half taken from another text.
    Words are what white space parts; a text of one word can only be joined with another one.

    Args:
        texts: Texts of the train split.
        copies: Changed texts of each; 0 for none.
        seed: The same texts and seed give the same changed texts on every machine.
    """
    # Nothing is kept secret by it, and its draws are the same on every platform.
    generator = random.Random(seed)  # noqa: S311
    return [
        " ".join(_changed(text.split(), texts, generator)) for _ in range(copies) for text in texts
    ]


def _changed(words: list[str], texts: Sequence[str], generator: random.Random) -> list[str]:
    changes: tuple[Change, ...] = (_drop_word, _swap_neighbours, _join_halves)
    change = generator.choice(changes) if len(words) > 1 else _join_halves
    return change(words, texts, generator)


def _drop_word(words: list[str], _: Sequence[str], generator: random.Random) -> list[str]:
    at = generator.randrange(len(words))
    return words[:at] + words[at + 1 :]


def _swap_neighbours(words: list[str], _: Sequence[str], generator: random.Random) -> list[str]:
    at = generator.randrange(len(words) - 1)
    return [*words[:at], words[at + 1], words[at], *words[at + 2 :]]


def _join_halves(words: list[str], texts: Sequence[str], generator: random.Random) -> list[str]:
    other = generator.choice(texts).split()
    return words[: (len(words) + 1) // 2] + other[len(other) // 2 :]
