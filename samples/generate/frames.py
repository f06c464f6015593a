"""Hand-written frames: sentences with words to choose from and slots to fill.

`(a/b)` stands for one of several words, `{slot}` for something named in the graph. A frame is
kept as it is written; `realise` makes pieces of text from it, each with what it names.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path

from samples.generate.tables import read_lines
from samples.generate.world import Ref

FRAMES = Path(__file__).resolve().parent / "frames"

_CHOICE = re.compile(r"\(([^()]*/[^()]*)\)")
_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Piece:
    """A stretch of text, and the node it names where it names one.

    Attributes:
        text: The words.
        ref: What they name.
        exact: Whether writers get it right even in a hurry, as they do with dates.
    """

    text: str
    ref: Ref | None = None
    exact: bool = False


Slots = dict[str, Piece]


def read_frames(name: str) -> dict[str, list[str]]:
    """Frames by section of `frames/<name>.txt`.

    Raises:
        ValueError: A section comes twice or a frame comes twice in it.
    """
    sections: dict[str, list[str]] = {}
    section = ""
    for line in read_lines(FRAMES / f"{name}.txt"):
        if line.startswith("["):
            section = line.strip("[]")
            if section in sections:
                raise ValueError(f"frames/{name}.txt: [{section}] comes twice")
            sections[section] = []
        elif line in sections[section]:
            raise ValueError(f"frames/{name}.txt: {line!r} comes twice")
        else:
            sections[section].append(line)
    return sections


def slots_of(frame: str) -> set[str]:
    """Names of the slots of a frame."""
    return set(_SLOT.findall(frame))


def choose_words(frame: str, rng: random.Random) -> str:
    """The frame with one word or phrase of every choice."""
    return _CHOICE.sub(lambda match: rng.choice(match[1].split("/")), frame)


def fill(text: str, slots: Slots) -> list[Piece]:
    """Pieces of a frame whose choices are made.

    Raises:
        KeyError: A slot has nothing to fill it.
    """
    pieces: list[Piece] = []
    for part in re.split(r"(\{\w+\})", text):
        if part:
            slot = _SLOT.fullmatch(part)
            pieces.append(slots[slot[1]] if slot else Piece(part))
    return pieces


def realise(frame: str, slots: Slots, rng: random.Random) -> list[Piece]:
    """Pieces of a frame, words chosen at random and slots filled."""
    return fill(choose_words(frame, rng), slots)
