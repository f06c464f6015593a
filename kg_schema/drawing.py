"""Draws an ontology as an SVG: a box a label, a pill a relationship, the same bytes each time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape

from kg_schema.layout import Box, Layout, Link, lay_out
from kg_schema.ontology import ANY, Ontology, Property, Relationship

FONT = "DejaVu Sans Mono, Menlo, Consolas, Liberation Mono, monospace"
CHARACTER = 0.61  # width of a letter of these fonts, in sizes
TEXT, TITLE = 11.0, 13.0
LINE, HEAD, PAD = 16.0, 24.0, 9.0
MARGIN = 24.0
# Ordinary labels blue, a customer's own red, relationships grey.
ORDINARY, PERSONAL, PILL, INK, DIM = "#1f5f8b", "#a8324a", "#eef0f3", "#1b1f24", "#667080"
MARKS = (("required", "r"), ("unique", "u"), ("searchable", "s"), ("personal", "p"))
LEGEND = (
    "Each label has id (r u) and name (r) besides. After a property: r required, u unique, "
    "s searchable, p personal."
)
LEGEND_2 = "Red: a customer's own, reachable only from the customer. Dashed: any of the labels."


def draw_ontology(ontology: Ontology) -> str:
    """The picture of an ontology, an SVG document.

    A relationship between nodes of one label alone stands at the foot of the label's box.
    """
    drawing = _Drawing(ontology)
    layout = lay_out(drawing.sizes(), list(drawing.links))
    return "\n".join(drawing.svg(layout)) + "\n"


class _Drawing:
    def __init__(self, ontology: Ontology) -> None:
        self._ontology = ontology
        self._loops: dict[str, list[str]] = {name: [] for name in ontology.labels}
        self._pills: dict[str, list[str]] = {}
        # Whether an arrow stands at the link's first and at its second end.
        self.links: dict[Link, tuple[bool, bool]] = {}
        self._has_any = False
        for kind, relationship in ontology.relationships.items():
            self._add(kind, relationship)

    def _add(self, kind: str, relationship: Relationship) -> None:
        starts = dict.fromkeys(one for ends in relationship.ends for one in ends.start)
        ends = dict.fromkeys(one for ends in relationship.ends for one in ends.end)
        properties = [_property(key, one) for key, one in relationship.properties.items()]
        if len({*starts, *ends}) == 1 and ANY not in starts:
            (label,) = starts
            inside = f" {{{', '.join(relationship.properties)}}}" if properties else ""
            self._loops[label].append(f"{kind} to its like{inside}")
            return
        pill = f"-{kind}"
        self._pills[pill] = [kind, *properties]
        for label in starts:
            self.links[label, pill] = (label in ends, False)
        for label in ends:
            if label not in starts:
                self.links[pill, label] = (False, True)
        self._has_any |= ANY in starts or ANY in ends

    def _lines(self, label: str) -> list[str]:
        found = [
            _property(key, one)
            for key, one in self._ontology.labels[label].properties.items()
            if key != "id" and (key != "name" or one.searchable or one.personal)
        ]
        return [*found, *self._loops[label]]

    def sizes(self) -> dict[str, tuple[float, float]]:
        sizes = {
            label: (
                max(_wide(label, TITLE), *(_wide(line, TEXT) for line in [*self._lines(label), ""]))
                + 2 * PAD,
                HEAD + LINE * len(self._lines(label)) + (PAD if self._lines(label) else 0),
            )
            for label in self._ontology.labels
        }
        for pill, lines in self._pills.items():
            wide = max(_wide(line, TEXT) for line in lines)
            sizes[pill] = (wide + 2 * PAD, LINE * len(lines) + 8)
        if self._has_any:
            sizes[ANY] = (_wide("any label", TITLE) + 2 * PAD, HEAD)
        return sizes

    def svg(self, layout: Layout) -> Iterator[str]:
        foot = 3 * LINE
        width = max(layout.width, _wide(LEGEND, TEXT)) + 2 * MARGIN
        height = layout.height + 2 * MARGIN + foot
        version = self._ontology.version
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="{FONT}" '
            f'font-size="{TEXT:g}" fill="{INK}">'
        )
        yield f"<title>The ontology, version {version}</title>"
        yield f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>'
        yield (
            '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
            f'markerHeight="8" orient="auto-start-reverse"><path d="M0 0L8 4L0 8Z" fill="{DIM}"/>'
            "</marker></defs>"
        )
        yield f'<g transform="translate({(width - layout.width) / 2:.1f} {MARGIN:g})">'
        for link, points in layout.lines.items():
            yield _path(points, self.links[link])
        for label in self._ontology.labels:
            yield from self._label(label, layout.boxes[label])
        for pill, lines in self._pills.items():
            yield from _pill(lines, layout.boxes[pill])
        if self._has_any:
            yield from _any(layout.boxes[ANY])
        yield "</g>"
        for number, line in enumerate((LEGEND, LEGEND_2)):
            y = height - MARGIN - LINE * (1 - number)
            yield _text(MARGIN, y, line, fill=DIM)
        yield "</svg>"

    def _label(self, label: str, box: Box) -> Iterator[str]:
        colour = PERSONAL if self._ontology.labels[label].personal else ORDINARY
        left = box.x - box.width / 2
        yield _rect(box, fill="#ffffff", stroke=colour, rx="4")
        yield _rect(Box(box.width, HEAD, box.x, box.y), fill=colour, stroke=colour, rx="4")
        yield _text(
            box.x,
            box.y + 17,
            label,
            **{
                "fill": "#ffffff",
                "font-size": f"{TITLE:g}",
                "font-weight": "bold",
                "text-anchor": "middle",
            },
        )
        for number, line in enumerate(self._lines(label)):
            y = box.y + HEAD + LINE * number + 14
            yield _text(left + PAD, y, line, fill=DIM if line in self._loops[label] else INK)


def _property(key: str, one: Property) -> str:
    marks = "".join(f" {letter}" for mark, letter in MARKS if getattr(one, mark))
    return f"{key}: {one.type}{marks}"


def _wide(text: str, size: float) -> float:
    return len(text) * size * CHARACTER


def _pill(lines: list[str], box: Box) -> Iterator[str]:
    yield _rect(box, fill=PILL, stroke="#c4cad2", rx="11")
    for number, line in enumerate(lines):
        weight = {"font-weight": "bold"} if number == 0 else {"fill": DIM}
        y = box.y + LINE * number + 15
        yield _text(box.x, y, line, **weight, **{"text-anchor": "middle"})


def _any(box: Box) -> Iterator[str]:
    yield _rect(box, fill="#ffffff", stroke=DIM, rx="4", **{"stroke-dasharray": "4 3"})
    style = {"font-size": f"{TITLE:g}", "fill": DIM, "text-anchor": "middle"}
    yield _text(box.x, box.y + 17, "any label", **style)


def _rect(box: Box, **style: str) -> str:
    return (
        f'<rect x="{box.x - box.width / 2:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" '
        f'height="{box.height:.1f}"{_style(style)}/>'
    )


def _text(x: float, y: float, text: str, **style: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}"{_style(style)}>{escape(text)}</text>'


def _style(style: Mapping[str, str]) -> str:
    return "".join(f' {key}="{value}"' for key, value in style.items())


def _path(points: tuple[tuple[float, float], ...], arrows: tuple[bool, bool]) -> str:
    """Straight along rows, curved between them."""
    x, y = points[0]
    drawn = [f"M{x:.1f} {y:.1f}"]
    for number, (next_x, next_y) in enumerate(points[1:]):
        if number % 2:
            middle = (y + next_y) / 2
            drawn.append(
                f"C{x:.1f} {middle:.1f} {next_x:.1f} {middle:.1f} {next_x:.1f} {next_y:.1f}"
            )
        else:
            drawn.append(f"L{next_x:.1f} {next_y:.1f}")
        x, y = next_x, next_y
    heads = [
        f' marker-{end}="url(#arrow)"'
        for end, wanted in zip(("start", "end"), arrows, strict=True)
        if wanted
    ]
    return f'<path d="{"".join(drawn)}" fill="none" stroke="{DIM}"{"".join(heads)}/>'
