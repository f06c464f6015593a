"""What customers name that the company does not have."""

from __future__ import annotations

import random

from samples.generate.frames import Piece, Slots

UNKNOWN_PRODUCTS = ("Z-900", "Z-900 phone", "Quasar 7", "Tarn Car", "Aero 99", "Orbit 12 watch")
UNKNOWN_CODES = ("E9999", "E9999", "E8080", "E7001", "X404", "E9012")
UNKNOWN_ORDERS = ("O_999999", "#987654", "O_000001", "#555000", "O_310007")


def unknown_slots(frame: str, rng: random.Random) -> Slots:
    """Names of things that do not exist, for the slots of a frame that name one of three kinds."""
    slots: Slots = {
        "code": Piece(rng.choice(UNKNOWN_CODES)),
        "order": Piece(rng.choice(UNKNOWN_ORDERS)),
    }
    if "{code}" not in frame and "{order}" not in frame:
        slots["product"] = Piece(rng.choice(UNKNOWN_PRODUCTS))
    return slots
