"""How people write: typos, lost capitals and stops, short forms; mentions keep their spans."""

from __future__ import annotations

import random
import re
import unicodedata
from dataclasses import dataclass

from samples.generate.frames import Piece
from samples.generate.world import Ref

_SHORT = {
    "please": "pls",
    "thanks": "thx",
    "you": "u",
    "are": "r",
    "because": "bc",
    "without": "w/o",
    "with": "w/",
    "for": "4",
    "before": "b4",
    "about": "abt",
    "what": "wat",
    "does": "dose",
    "firmware": "fw",
    "bluetooth": "BT",
    "battery": "batt",
    "warranty": "warrenty",
    "receive": "recieve",
    "delivery": "delivry",
    "return": "retrun",
    "charger": "chrger",
}

_NEAR = dict(zip("abcdefghiklmnopqrstuvw", "svxsdrfgujknbipweadyibe", strict=False))


@dataclass(frozen=True)
class Mention:
    """Where a text names a node; `text[start:end]` are the words."""

    ref: Ref
    start: int
    end: int


@dataclass(frozen=True)
class Habits:
    """What one writer does to a text; drawn once a ticket, so that it is of one hand."""

    lower: bool
    no_stops: bool
    no_apostrophes: bool
    short_forms: bool
    typos: int

    @classmethod
    def draw(cls, rng: random.Random) -> Habits:
        """Habits of a customer chosen at random."""
        hasty = rng.random() < 0.45
        return cls(
            lower=rng.random() < (0.55 if hasty else 0.06),
            no_stops=rng.random() < (0.4 if hasty else 0.04),
            no_apostrophes=rng.random() < (0.5 if hasty else 0.05),
            short_forms=rng.random() < (0.3 if hasty else 0.04),
            typos=rng.choices((0, 1, 2, 3), (40, 34, 18, 8) if hasty else (82, 14, 4, 0))[0],
        )


def _typo(word: str, rng: random.Random) -> str:
    place = rng.randrange(1, len(word) - 1)
    kind = rng.randrange(4)
    if kind == 0:
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    if kind == 1:
        return word[:place] + word[place + 1 :]
    if kind == 2:
        return word[:place] + word[place] + word[place:]
    return word[:place] + _NEAR.get(word[place], "e") + word[place + 1 :]


def _with_typo(pieces: list[Piece], rng: random.Random) -> list[Piece]:
    """The pieces with one typo in a word that names nothing with a digit in it."""
    spots = [
        (index, match.start(), match.end())
        for index, piece in enumerate(pieces)
        if not piece.exact
        and (piece.ref is None or (piece.ref[0] == "Symptom" and rng.random() < 0.5))
        for match in re.finditer(r"[A-Za-z]{4,}", piece.text)
    ]
    if not spots:
        return pieces
    index, start, end = rng.choice(spots)
    piece = pieces[index]
    text = piece.text[:start] + _typo(piece.text[start:end], rng) + piece.text[end:]
    return [*pieces[:index], Piece(text, piece.ref), *pieces[index + 1 :]]


def _shorten(text: str, rng: random.Random) -> str:
    def replace(match: re.Match[str]) -> str:
        short = _SHORT.get(match[0].lower())
        return short if short is not None and rng.random() < 0.6 else match[0]

    return re.sub(r"[A-Za-z]+", replace, text)


def write(pieces: list[Piece], habits: Habits, rng: random.Random) -> tuple[str, list[Mention]]:
    """One text from its pieces, as a writer of these habits types it.

    Returns:
        The text, without white space at its ends, and its mentions in order.
    """
    done = pieces
    if habits.short_forms:
        done = [Piece(_shorten(p.text, rng), None) if p.ref is None else p for p in done]
    for _ in range(habits.typos):
        done = _with_typo(done, rng)
    if habits.lower:
        done = [Piece(p.text.lower(), p.ref) for p in done]
    if habits.no_apostrophes:
        done = [Piece(p.text.replace("'", ""), p.ref) for p in done]
    if habits.no_stops:
        done = [Piece(re.sub(r"[.?!,]+(?=\s|$)", "", p.text), p.ref) for p in done]
    text = ""
    mentions: list[Mention] = []
    for piece in done:
        words = piece.text if text else piece.text.lstrip()
        if piece.ref is not None and words:
            mentions.append(Mention(piece.ref, len(text), len(text) + len(words)))
        text += words
    return text.rstrip(), mentions


def normalised(text: str) -> str:
    """What counts as the same text: case, punctuation and spacing aside."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.findall(r"\w+", plain))
