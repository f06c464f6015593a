"""Symptoms, error codes and the solutions that resolve them, with their ordered steps."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache

from samples.generate.tables import read_sections
from samples.generate.world import Ref, World

LETTERS: dict[str, str] = {
    "P": "C_PHONE",
    "T": "C_TABLET",
    "E": "C_READER",
    "L": "C_LAPTOP",
    "W": "C_WATCH",
    "A": "C_AUDIO",
    "S": "C_SPEAKER",
    "K": "C_CAMERA",
    "H": "C_HOME",
    "R": "C_ROUTER",
    "M": "C_MONITOR",
}

_SINGULAR = {"P": "phone", "T": "tablet", "E": "e-reader", "L": "laptop", "W": "watch"}
_SINGULAR |= {"A": "headset", "S": "speaker", "K": "camera", "H": "device", "R": "router"}
_SINGULAR |= {"M": "monitor"}

_PLURAL = {"P": "phones", "T": "tablets", "E": "e-readers", "L": "laptops", "W": "watches"}
_PLURAL |= {"A": "earbuds", "S": "speakers", "K": "cameras", "H": "smart home", "R": "routers"}
_PLURAL |= {"M": "monitors"}

_RESTART = {
    "P": "hold power and volume down for ten seconds",
    "T": "hold power and volume up for twelve seconds",
    "E": "hold the power key for twenty seconds",
    "L": "hold the power key for fifteen seconds",
    "W": "hold the crown for twelve seconds",
    "A": "hold the case button for ten seconds",
    "S": "hold the play key for eight seconds",
    "K": "take the battery out for one minute",
    "H": "press the pin-hole key for five seconds",
    "R": "press the pin-hole key for five seconds",
    "M": "unplug the power cord for one minute",
}

_APP_SETTINGS = frozenset("WASKHR")
_FIRMWARE_BOUND = {"handshake": "5.0.0", "limit": "4.9.0", "ghost": "1.05"}


@dataclass
class _Family:
    """One way to mend things, told once and instanced for each group of categories."""

    topic: str
    key: str
    title: str
    groups: list[str]
    steps: list[str] = field(default_factory=list)
    branches: list[tuple[int, int, str]] = field(default_factory=list)
    solutions: dict[str, Ref] = field(default_factory=dict)


@cache
def _phrases() -> dict[str, tuple[list[str], list[str]]]:
    return {
        row[0]: (
            [part.strip() for part in row[3].split(";")],
            [p.strip() for p in row[4].split(";")],
        )
        for rows in read_sections("symptoms").values()
        for row in rows
    }


def phrases_of(name: str) -> tuple[list[str], list[str]]:
    """Verb phrases ("will not charge") and noun phrases ("no charge at all") of a symptom."""
    return _phrases()[name]


def _read_families() -> dict[tuple[str, str], _Family]:
    families: dict[tuple[str, str], _Family] = {}
    for topic, rows in read_sections("solutions").items():
        family: _Family | None = None
        for row in rows:
            if row[0].startswith("- ") and family is not None:
                family.steps.append(row[0][2:])
            elif row[0].startswith("? ") and family is not None:
                match = re.fullmatch(r"\? (\d)>(\d) (.+)", row[0])
                if match is None:
                    raise ValueError(f"solutions: {row[0]!r} is no branch")
                family.branches.append((int(match[1]), int(match[2]), match[3]))
            else:
                family = _Family(topic, row[0], row[1], row[2].split())
                families[topic, family.key] = family
    return families


def _fill(text: str, group: str) -> str:
    device = _SINGULAR[group] if len(group) == 1 else "device"
    settings = "the Tarnwick app" if _APP_SETTINGS.issuperset(group) else "Settings"
    return text.format(device=device, settings=settings, restart=_RESTART[group[0]])


def _add_solution(world: World, family: _Family, group: str, number: int) -> None:
    kinds = ", ".join(_PLURAL[letter] for letter in group)
    ref = world.add(
        "Solution",
        f"S_{number:03d}",
        f"{family.title} ({kinds})",
        summary=f"{family.title}: {_fill(family.steps[0], group)}",
        topic=family.topic,
    )
    family.solutions[group] = ref
    steps: list[Ref] = []
    for order, text in enumerate(family.steps, start=1):
        step = world.add(
            "Step",
            f"ST_{number:03d}_{order}",
            f"{family.title}, step {order}",
            text=_fill(text, group),
        )
        world.link(ref, "HAS_STEP", step, order=order)
        steps.append(step)
    for first, second, when in family.branches:
        for order in range(1, len(steps)):
            whens = when if order == first and second == order + 1 else None
            world.link(steps[order - 1], "NEXT", steps[order], when=whens)
        world.link(steps[first - 1], "NEXT", steps[second - 1], when=when)
    categories = {LETTERS[letter] for letter in group}
    for product in world.of("Product"):
        if world.props(product)["category"] in categories:
            firmware = _FIRMWARE_BOUND.get(family.key)
            world.link(ref, "APPLIES_TO", product, firmware=firmware)


def _add_symptoms(world: World, families: dict[tuple[str, str], _Family]) -> dict[str, Ref]:
    by_name: dict[str, Ref] = {}
    number = 0
    for topic, rows in read_sections("symptoms").items():
        for name, letters, needs, _verbs, _nouns, keys in rows:
            number += 1
            verbs, nouns = phrases_of(name)
            categories = {LETTERS[letter] for letter in letters}
            ref = world.add(
                "Symptom",
                f"SY_{number:03d}",
                name,
                aliases=[phrase for phrase in verbs + nouns if phrase != name],
                description=f"The customer says that the device {verbs[0]}.",
                topic=topic,
            )
            by_name[name] = ref
            for product in world.of("Product"):
                has = {edge.end[1] for edge in world.out(product, "SUPPORTS_FEATURE")}
                fits = not needs or bool(has.intersection(needs.split()))
                if fits and world.props(product)["category"] in categories:
                    world.link(product, "HAS_SYMPTOM", ref)
            for priority, key in enumerate(keys.split(), start=1):
                for group, solution in families[topic, key].solutions.items():
                    if categories.intersection(LETTERS[letter] for letter in group):
                        world.link(ref, "RESOLVED_BY", solution, priority=priority)
    return by_name


def _add_errors(
    world: World, families: dict[tuple[str, str], _Family], symptoms: dict[str, Ref]
) -> None:
    for topic, rows in read_sections("errors").items():
        for code, meaning, symptom, letters, keys in rows:
            aliases = [f"error {code[1:]}", f"{code[0]}-{code[1:]}"]
            ref = world.add("ErrorCode", code, code, meaning=meaning, aliases=aliases)
            world.link(ref, "INDICATES", symptoms[symptom])
            world.link(symptoms[symptom], "INDICATES", ref)
            wanted = set(letters)
            priority = 0
            for key in keys.split():
                for group, solution in families[topic, key].solutions.items():
                    if wanted.intersection(group):
                        priority += 1
                        world.link(ref, "RESOLVED_BY", solution, priority=priority)


def add_faults(world: World) -> None:
    """Add solutions with their steps, symptoms and error codes; products must be there."""
    families = _read_families()
    number = 0
    for family in families.values():
        for group in family.groups:
            number += 1
            _add_solution(world, family, group, number)
    symptoms = _add_symptoms(world, families)
    _add_errors(world, families, symptoms)


def solutions_for(world: World, cause: Ref, product: Ref | None) -> list[Ref]:
    """Solutions of a symptom or an error code by priority, those for the product where given."""
    edges = sorted(world.out(cause, "RESOLVED_BY"), key=lambda edge: int(edge.props["priority"]))
    found = [edge.end for edge in edges]
    if product is None:
        return found
    return [ref for ref in found if world.edge(ref, "APPLIES_TO", product) is not None]


def steps_of(world: World, solution: Ref) -> list[Ref]:
    """Steps of a solution in order."""
    edges = sorted(world.out(solution, "HAS_STEP"), key=lambda edge: int(edge.props["order"]))
    return [edge.end for edge in edges]
