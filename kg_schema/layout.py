"""Places the boxes of a directed graph in rows, so that no box covers another or a line.

The layered method (Sugiyama, Tagawa and Toda 1981): turn cycles round, give each box a row, let
lines that pass a row reserve a place in it, order each row by where its neighbours stand, and
then shift boxes towards their neighbours. The same graph always gives the same picture.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

SWEEPS = 24
GAP_X = 26.0
GAP_Y = 58.0
STUB = 12.0  # how far a line goes straight before it bends, so that an arrow points straight
LANE = 16.0  # what a line that passes a row takes of it

Link = tuple[str, str]
Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A box's size, and where its middle and its top are."""

    width: float
    height: float
    x: float = 0.0
    y: float = 0.0


@dataclass(frozen=True)
class Layout:
    """Where everything stands.

    Attributes:
        boxes: Each box with its place.
        lines: The points of each link, from its first end to its second; every second stretch
            passes a row and is straight.
        width: Of the whole picture.
        height: Of the whole picture.
    """

    boxes: Mapping[str, Box]
    lines: Mapping[Link, tuple[Point, ...]]
    width: float
    height: float


def lay_out(sizes: Mapping[str, tuple[float, float]], links: Sequence[Link]) -> Layout:
    """Places boxes and the links between them.

    Args:
        sizes: Width and height of each box; their order settles what else is open.
        links: From which box to which; none twice, none to itself.
    """
    rows_of = _rows(list(sizes), links)
    chains: dict[Link, list[str]] = {}
    boxes = {key: Box(*size) for key, size in sizes.items()}
    levels: dict[int, list[str]] = defaultdict(list)
    for key, row in rows_of.items():
        levels[row].append(key)
    for link in links:
        top, bottom = sorted(link, key=lambda key: rows_of[key])
        lanes = [f"{link[0]}>{link[1]}@{row}" for row in range(rows_of[top] + 1, rows_of[bottom])]
        for row, lane in enumerate(lanes, start=rows_of[top] + 1):
            boxes[lane] = Box(LANE, 0.0)
            levels[row].append(lane)
        chains[link] = [top, *lanes, bottom]
    placed = _Placing([levels[row] for row in sorted(levels)], boxes, list(chains.values())).place()
    lines = {link: _line(link, chain, placed) for link, chain in chains.items()}
    return Layout(
        boxes={key: placed.boxes[key] for key in sizes},
        lines=lines,
        width=max(box.x + box.width / 2 for box in placed.boxes.values()),
        height=max(box.y + box.height for box in placed.boxes.values()),
    )


def _rows(keys: Sequence[str], links: Sequence[Link]) -> dict[str, int]:
    """Each box's row: below all that lead to it, and no higher than it must be."""
    forward = _acyclic(keys, links)
    below: dict[str, list[str]] = {key: [] for key in keys}
    above: dict[str, list[str]] = {key: [] for key in keys}
    for start, end in forward:
        below[start].append(end)
        above[end].append(start)
    row: dict[str, int] = {}

    def longest(key: str) -> int:
        if key not in row:
            row[key] = 1 + max((longest(one) for one in above[key]), default=-1)
        return row[key]

    for key in keys:
        longest(key)
    # A box that nothing leads to moves down to what it leads to.
    for key in sorted(keys, key=lambda one: -row[one]):
        if not above[key] and below[key]:
            row[key] = min(row[one] for one in below[key]) - 1
    return row


def _acyclic(keys: Sequence[str], links: Sequence[Link]) -> list[Link]:
    """The links, those turned round that would close a cycle."""
    after: dict[str, list[str]] = {key: [] for key in keys}
    for start, end in links:
        after[start].append(end)
    state: dict[str, bool] = {}  # True while on the way down from it
    turned: set[Link] = set()

    def visit(key: str) -> None:
        state[key] = True
        for one in after[key]:
            if state.get(one):
                turned.add((key, one))
            elif one not in state:
                visit(one)
        state[key] = False

    for key in keys:
        if key not in state:
            visit(key)
    return [(end, start) if (start, end) in turned else (start, end) for start, end in links]


@dataclass(frozen=True)
class _Placed:
    boxes: Mapping[str, Box]
    row_of: Mapping[str, int]
    tops: Sequence[float]
    heights: Sequence[float]
    ports: Mapping[tuple[str, str], float]


class _Placing:
    """Orders the rows and shifts what is in them."""

    def __init__(
        self, rows: list[list[str]], boxes: Mapping[str, Box], chains: Sequence[Sequence[str]]
    ) -> None:
        self._rows = rows
        self._boxes = boxes
        self._up: dict[str, list[str]] = defaultdict(list)
        self._down: dict[str, list[str]] = defaultdict(list)
        for chain in chains:
            for upper, lower in pairwise(chain):
                self._down[upper].append(lower)
                self._up[lower].append(upper)
        self._x: dict[str, float] = {}

    def place(self) -> _Placed:
        for row in self._rows:
            self._spread(row, [0.0] * len(row))
        for sweep in range(SWEEPS):
            down = sweep % 2 == 0
            for row in self._rows if down else self._rows[::-1]:
                self._arrange(row, self._up if down else self._down, reorder=sweep < SWEEPS - 8)
        left = min(self._x[key] - self._boxes[key].width / 2 for key in self._x)
        heights = [max(self._boxes[key].height for key in row) for row in self._rows]
        tops = [sum(heights[:row]) + GAP_Y * row for row in range(len(heights))]
        boxes = {
            key: Box(
                self._boxes[key].width,
                self._boxes[key].height,
                self._x[key] - left,
                tops[number] + (heights[number] - self._boxes[key].height) / 2,
            )
            for number, row in enumerate(self._rows)
            for key in row
        }
        row_of = {key: number for number, row in enumerate(self._rows) for key in row}
        return _Placed(boxes, row_of, tops, heights, self._ports(boxes))

    def _arrange(self, row: list[str], near: Mapping[str, list[str]], *, reorder: bool) -> None:
        wanted = {
            key: sum(self._x[one] for one in near[key]) / len(near[key])
            if near.get(key)
            else self._x[key]
            for key in row
        }
        if reorder:
            row.sort(key=lambda key: wanted[key])
        self._spread(row, [wanted[key] for key in row])

    def _spread(self, row: Sequence[str], wanted: Sequence[float]) -> None:
        """As near to where each wants to be as the order and the gaps allow (least squares).

        With the gaps taken out this is isotonic regression: neighbours that would pass each
        other are pooled at their mean.
        """
        offsets = [0.0]
        for one, other in pairwise(row):
            half = (self._boxes[one].width + self._boxes[other].width) / 2
            offsets.append(offsets[-1] + half + GAP_X)
        pools: list[tuple[float, int]] = []
        for want, offset in zip(wanted, offsets, strict=True):
            mean, size = want - offset, 1
            while pools and pools[-1][0] > mean:
                last, count = pools.pop()
                mean, size = (last * count + mean * size) / (count + size), count + size
            pools.append((mean, size))
        found = [mean for mean, size in pools for _ in range(size)]
        for key, mean, offset in zip(row, found, offsets, strict=True):
            self._x[key] = mean + offset

    def _ports(self, boxes: Mapping[str, Box]) -> dict[tuple[str, str], float]:
        """Where along a box's edge each of its lines begins, in the order of their other ends."""
        ports: dict[tuple[str, str], float] = {}
        for near in (self._up, self._down):
            for key, others in near.items():
                box = boxes[key]
                step = box.width / (len(others) + 1)
                for number, other in enumerate(sorted(others, key=lambda one: boxes[one].x), 1):
                    ports[key, other] = box.x - box.width / 2 + step * number
        return ports


def _line(link: Link, chain: Sequence[str], placed: _Placed) -> tuple[Point, ...]:
    points: list[Point] = []
    for upper, lower in pairwise(chain):
        row = placed.row_of[upper]
        for key, other, edge in (
            (upper, lower, placed.tops[row] + placed.heights[row] + STUB),
            (lower, upper, placed.tops[row + 1] - STUB),
        ):
            box = placed.boxes[key]
            x = placed.ports[key, other]
            if key in (chain[0], chain[-1]):
                # From the box past the edge of its row, where the curves begin.
                side = box.y + box.height if key == upper else box.y
                ends = [(x, side), (x, edge)]
                points.extend(ends if key == upper else ends[::-1])
            else:
                points.append((x, edge))
    return tuple(points if chain[0] == link[0] else points[::-1])
