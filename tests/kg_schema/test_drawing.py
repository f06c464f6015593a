"""The picture of the ontology: current, the same each time, whole, and nothing over anything."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from itertools import combinations, pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from kg_schema import commands
from kg_schema.drawing import draw_ontology
from kg_schema.layout import Box, lay_out
from kg_schema.ontology import load_ontology

PICTURE = Path(__file__).parents[2] / "docs" / "ontology.svg"
KEYS = "abcdefgh"
SIZES = st.fixed_dictionaries(
    {key: st.tuples(st.integers(20, 200), st.integers(20, 150)) for key in KEYS}
)
LINKS = st.lists(
    st.tuples(st.sampled_from(KEYS), st.sampled_from(KEYS)).filter(lambda link: len(set(link)) > 1),
    unique_by=frozenset,
    max_size=14,
)


def test_the_picture_in_the_docs_is_current() -> None:
    drawn = draw_ontology(load_ontology())
    assert PICTURE.read_text(encoding="utf-8") == drawn, (
        "draw it again: deskgraph graph draw --out docs/ontology.svg"
    )


def test_it_shows_every_label_property_and_relationship() -> None:
    ontology = load_ontology()
    tree = ElementTree.fromstring(draw_ontology(ontology))  # noqa: S314  our own text
    said = [node.text or "" for node in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert set(ontology.labels) <= set(said)
    for label in ontology.labels.values():
        for key, one in label.properties.items():
            assert key in ("id", "name") or any(
                line.startswith(f"{key}: {one.type}") for line in said
            )
    for kind in ontology.relationships:
        assert any(line.split()[0] == kind for line in said)
    personal = [one for one in draw_ontology(ontology).splitlines() if "#a8324a" in one]
    assert len(personal) == 2 * len(ontology.personal_labels)


def test_a_companys_own_labels_are_drawn(tmp_path: Path) -> None:
    own = tmp_path / "ontology.yaml"
    own.write_text(
        "labels:\n  A:\n    personal: true\n  B: {}\nrelationships:\n"
        "  GOES:\n    ends: [{from: any, to: [A]}, {from: [A], to: any}]\n"
    )
    said: list[str] = []
    out = tmp_path / "deep" / "own.svg"
    assert commands.draw(said.append, out, ontology=own) == 0
    assert "any label" in out.read_text()


def inside(box: Box, x: float, y: float) -> bool:
    return abs(x - box.x) < box.width / 2 - 0.01 and box.y + 0.01 < y < box.y + box.height - 0.01


def apart(one: Box, other: Box) -> bool:
    across = abs(one.x - other.x) >= (one.width + other.width) / 2 - 0.01
    return across or one.y >= other.y + other.height or other.y >= one.y + one.height


@given(SIZES, LINKS)
def test_nothing_covers_anything(
    sizes: dict[str, tuple[float, float]], links: list[tuple[str, str]]
) -> None:
    layout = lay_out(sizes, links)
    for one, other in combinations(layout.boxes.values(), 2):
        assert apart(one, other)
    for (start, end), points in layout.lines.items():
        for key, (x, y) in ((start, points[0]), (end, points[-1])):
            box = layout.boxes[key]
            assert abs(x - box.x) <= box.width / 2
            assert min(abs(y - box.y), abs(y - box.y - box.height)) < 0.01
        # A curve between two points stays between them, across and down.
        for (x, y), (next_x, next_y) in pairwise(points):
            for share in (0.0, 0.25, 0.5, 0.75, 1.0):
                there = (x + (next_x - x) * share, y + (next_y - y) * share)
                assert not any(inside(box, *there) for box in layout.boxes.values())
    for box in layout.boxes.values():
        assert box.x - box.width / 2 >= -0.01
        assert box.x + box.width / 2 <= layout.width + 0.01
    assert lay_out(sizes, links) == layout
