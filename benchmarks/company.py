"""Writes a generated company's graph of any size, with hubs, as JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from components.storage import output_file

SEED = 7
NODES_NAME = "nodes.jsonl"
EDGES_NAME = "relationships.jsonl"
RELATIONSHIPS_PER_NODE = 5
# With fewer nodes there are not five different pairs for each.
SMALLEST = 2_000
# A node's label and its part of all nodes; orders take what is left.
SHARES = {
    "Customer": 0.25,
    "Ticket": 0.20,
    "Step": 0.08,
    "Article": 0.03,
    "Product": 0.02,
    "Solution": 0.02,
    "Accessory": 0.01,
    "Symptom": 0.005,
    "ErrorCode": 0.005,
    "Feature": 0.0005,
    "Policy": 0.0002,
    "PolicyVersion": 0.0006,
    "Promotion": 0.0002,
    "Category": 0.0001,
}
STEPS_PER_SOLUTION = 4
VERSIONS_PER_POLICY = 3
# Popularity falls with the rank to this power: the first product is in one order of about fifteen.
ZIPF = 0.9
FIRST_DAY = date(2023, 1, 1)
DAYS = 1_400
VERSION_DAYS = 400
TOPICS = 50
# Odd and prime to every count of customers here: it deals the orders out evenly.
SPREAD = 7_919
DIMENSIONS = 384
OWN_SHARE = 0.7

_MAKES = ("Aster", "Boreal", "Cirrus", "Delta", "Ember", "Fjord", "Gale", "Halo", "Iris", "Juno")
_KINDS = ("phone", "tablet", "laptop", "camera", "speaker", "watch", "router", "drone")
_PARTS = ("battery", "screen", "charger", "speaker", "sensor", "radio", "hinge", "fan", "lens")
_FAULTS = ("overheats", "flickers", "drops out", "rattles", "freezes", "drains", "resets", "fails")

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Company:
    """How many nodes of each label a generated company has, and how popular things are.

    Args:
        nodes: Nodes of all labels together.
        seed: Of everything drawn.
    """

    nodes: int
    seed: int = SEED

    @property
    def counts(self) -> dict[str, int]:
        """Nodes by label."""
        counts = {label: max(4, round(self.nodes * share)) for label, share in SHARES.items()}
        counts["Step"] = counts["Solution"] * STEPS_PER_SOLUTION
        counts["PolicyVersion"] = counts["Policy"] * VERSIONS_PER_POLICY
        counts["Order"] = self.nodes - sum(counts.values())
        return counts

    @property
    def relationships(self) -> int:
        """Relationships of all types together."""
        return self.nodes * RELATIONSHIPS_PER_NODE

    @property
    def topics(self) -> int:
        """How many topics policies, articles and symptoms have."""
        return min(TOPICS, self.counts["Policy"])

    def placed_by(self, order: Ids | int) -> Ids | int:
        """The number of the customer who placed an order."""
        return order * SPREAD % self.counts["Customer"]

    def popular(self, label: str, size: int, generator: np.random.Generator) -> Ids:
        """Draws nodes of a label as customers meet them: the low numbers far more often."""
        count = self.counts[label]
        # Inverse of the continuous distribution with density x ** -ZIPF on 1..count + 1.
        exponent = 1 - ZIPF
        drawn = generator.random(size)
        ranks = (1 + drawn * ((count + 1) ** exponent - 1)) ** (1 / exponent)
        numbers: Ids = np.minimum(ranks.astype(np.int64) - 1, count - 1)
        return numbers


class CompanyEncoder:
    """Directions that texts decide, nearer to each other where they name the same part."""

    model = "generated@1"
    dimensions = DIMENSIONS

    def encode(self, texts: Sequence[str]) -> list[list[float]]:
        """One unit vector a text."""
        return [self._vector(text) for text in texts]

    def _vector(self, text: str) -> list[float]:
        centre, own = (
            np.random.default_rng(crc32(said.encode())).standard_normal(DIMENSIONS)
            for said in (text.split(" of the ")[0], text)
        )
        mixed = centre + OWN_SHARE * own
        direction: list[float] = (mixed / np.linalg.norm(mixed)).tolist()
        return direction


def node_id(label: str, number: int) -> str:
    """The business id of a generated node."""
    return f"{label}-{number}"


def write_company(company: Company, folder: Path) -> tuple[Path, Path]:
    """Writes the company's nodes and relationships; the same bytes every time.

    Args:
        company: What to write.
        folder: Where; made where it is missing. Whole files that lie there are kept.

    Returns:
        The paths of the nodes and of the relationships.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / NODES_NAME, folder / EDGES_NAME
    for path, lines in zip(paths, (_node_lines, _edge_lines), strict=True):
        if not path.exists():
            with output_file(str(path)) as unfinished, unfinished.open("w") as stream:
                stream.writelines(lines(company))
    return paths


def _node_lines(company: Company) -> Iterator[str]:
    generator = np.random.default_rng(company.seed)
    for label, count in company.counts.items():
        draws = generator.integers(0, 1 << 30, count).tolist()
        properties = _PROPERTIES[label]
        for number, draw in enumerate(draws):
            business_id = node_id(label, number)
            props = {"name": f"{label} {number}", **properties(number, draw)}
            row = {"label": label, "id": business_id, "props": props}
            yield f"{json.dumps(row, separators=(',', ':'))}\n"


def _day(offset: int) -> str:
    return (FIRST_DAY + timedelta(days=offset)).isoformat()


def _thing(kinds: tuple[str, ...], number: int) -> str:
    return f"{_MAKES[number % len(_MAKES)]} {kinds[number // 10 % len(kinds)]} {number}"


def _product(number: int, draw: int) -> dict[str, Any]:
    return {
        "name": _thing(_KINDS, number),
        "price_eur": 20 + draw % 150_000 / 100,
        "stock": "in_stock" if draw % 5 else "sold_out",
        "warranty_months": 12 + 12 * (draw % 3),
    }


def _version(number: int, _: int) -> dict[str, Any]:
    version = number % VERSIONS_PER_POLICY
    held = {
        "version": version + 1,
        "text": f"Rule {number // VERSIONS_PER_POLICY}, edition {version + 1}: {14 + version} days",
        "valid_from": _day(version * VERSION_DAYS),
    }
    if version < VERSIONS_PER_POLICY - 1:
        held["valid_to"] = _day((version + 1) * VERSION_DAYS - 1)
    return held


_PROPERTIES: dict[str, Callable[[int, int], dict[str, Any]]] = {
    "Customer": lambda number, draw: {"name": f"Customer {number}", "tier": "ab"[draw % 2]},
    "Ticket": lambda number, draw: {
        "created_at": _day(draw % DAYS),
        "summary": f"The {_PARTS[number % 9]} {_FAULTS[draw % 8]}",
    },
    "Step": lambda number, draw: {
        "text": f"Step {number % STEPS_PER_SOLUTION + 1}: check the {_PARTS[draw % 9]}"
    },
    "Article": lambda number, draw: {
        "name": f"About the {_PARTS[draw % 9]} of the {_thing(_KINDS, draw % 9_000)}",
        "topic": f"topic_{number % TOPICS}",
        "body": f"When the {_PARTS[draw % 9]} {_FAULTS[draw % 8]}, see part {number}.",
    },
    "Product": _product,
    "Solution": lambda number, draw: {"summary": f"Mend the {_PARTS[draw % 9]} ({number})"},
    "Accessory": lambda number, draw: {
        "name": _thing(_PARTS, number),
        "kind": "charger" if draw % 4 == 0 else _PARTS[draw % 9],
        "price_eur": 5 + draw % 10_000 / 100,
        "stock": "in_stock",
    },
    "Symptom": lambda number, draw: {
        "name": f"{_PARTS[draw % 9]} {_FAULTS[draw // 9 % 8]} {number}",
        "topic": f"topic_{number % TOPICS}",
    },
    "ErrorCode": lambda number, draw: {
        "name": f"E{number:05d}",
        "meaning": f"The {_PARTS[draw % 9]} {_FAULTS[draw // 9 % 8]}",
    },
    "Feature": lambda number, draw: {
        "name": f"Feature {number}",
        "kind": "protocol" if draw % 4 == 0 else "feature",
    },
    "Policy": lambda number, _: {"topic": f"topic_{number % TOPICS}", "rule": "order_date"},
    "PolicyVersion": _version,
    "Promotion": lambda number, draw: {
        "name": f"Offer {number}",
        "code": f"SAVE{number}",
        "discount_percent": 5 + draw % 30,
        "valid_from": _day(draw % DAYS),
        "valid_to": _day(draw % DAYS + 60),
    },
    "Category": lambda number, _: {"name": f"Category {number}"},
    "Order": lambda _, draw: {"placed_on": _day(draw % DAYS), "status": "delivered"},
}


def _edge_lines(company: Company) -> Iterator[str]:
    generator = np.random.default_rng(company.seed + 1)
    written = 0
    for kind, start, end, starts, ends in _edges(company, generator):
        # A pair stands once; what a draw repeats is written where orders contain more.
        pairs = np.unique(np.stack([starts, ends], axis=1), axis=0)
        if kind == "CONTAINS":
            pairs = pairs[generator.permutation(len(pairs))[: company.relationships - written]]
        written += len(pairs)
        yield from _lines(kind, start, end, pairs)
    if written != company.relationships:
        raise AssertionError(f"{written} relationships, not {company.relationships}")


def _lines(kind: str, start: str, end: str, pairs: Ids) -> Iterator[str]:
    head = f'{{"type":"{kind}","start":{{"label":"{start}","id":"{start}-'
    middle = f'"}},"end":{{"label":"{end}","id":"{end}-'
    for number, (one, other) in enumerate(pairs.tolist()):
        yield f'{head}{one}{middle}{other}"}}{_edge_props(kind, number, other)}}}\n'


def _edge_props(kind: str, number: int, end: int) -> str:
    if kind == "HAS_STEP":
        return f',"props":{{"order":{end % STEPS_PER_SOLUTION + 1}}}'
    if kind == "RESOLVED_BY":
        return f',"props":{{"priority":{number % 5 + 1}}}'
    if kind == "CONTAINS":
        return f',"props":{{"quantity":{number % 3 + 1},"price":{number % 900 + 9}.5}}'
    return ""


def _edges(
    company: Company, generator: np.random.Generator
) -> Iterator[tuple[str, str, str, Ids, Ids]]:
    """Type, labels of both ends, and their numbers; a draw falls on the popular more often."""
    counts = company.counts

    def each(label: str, times: int = 1) -> Ids:
        return np.repeat(np.arange(counts[label]), times)

    def drawn(label: str, starts: Ids) -> Ids:
        return company.popular(label, len(starts), generator)

    def evenly(label: str, starts: Ids) -> Ids:
        return generator.integers(0, counts[label], len(starts))

    for kind, start, times, end, draw in (
        ("IN_CATEGORY", "Product", 1, "Category", evenly),
        ("SUPPORTS_FEATURE", "Product", 12, "Feature", drawn),
        ("COMPATIBLE_WITH", "Accessory", 15, "Product", drawn),
        ("HAS_SYMPTOM", "Product", 15, "Symptom", drawn),
        ("INDICATES", "Symptom", 2, "ErrorCode", evenly),
        ("RESOLVED_BY", "Symptom", 12, "Solution", evenly),
        ("RESOLVED_BY", "ErrorCode", 4, "Solution", evenly),
        ("COVERS", "Policy", 4, "Category", evenly),
        ("COVERS", "Promotion", 10, "Product", drawn),
        ("ABOUT", "Article", 2, "Product", drawn),
        ("OF", "Ticket", 1, "Product", drawn),
        ("RESOLVED_WITH", "Ticket", 1, "Solution", evenly),
    ):
        starts = each(start, times)
        yield kind, start, end, starts, draw(end, starts)
    # Every second solution is general; the others are for some products alone.
    special = np.repeat(np.arange(0, counts["Solution"], 2), 20)
    yield "APPLIES_TO", "Solution", "Product", special, drawn("Product", special)
    yield "HAS_STEP", "Solution", "Step", each("Solution", STEPS_PER_SOLUTION), each("Step")
    versions = each("PolicyVersion")
    yield "HAS_VERSION", "Policy", "PolicyVersion", versions // VERSIONS_PER_POLICY, versions
    orders = each("Order")
    yield "PLACED", "Customer", "Order", np.asarray(company.placed_by(orders)), orders
    tickets = each("Ticket")
    yield "OF", "Ticket", "Order", tickets, evenly("Order", tickets)
    lines = each("Order", 14)
    yield "CONTAINS", "Order", "Product", lines, drawn("Product", lines)
