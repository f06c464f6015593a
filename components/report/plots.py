"""The report's plots, as SVG that takes the page's text colour and so suits light and dark."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#010203"
"""Stands for the page's text colour until the SVG is written."""
ACCENT = "#2f7fd0"
PLAIN = "#8793a5"
CONTRAST = "#e0803a"
SALT = "deskgraph"
TEXT_SIZE = 10.5
WIDTH_IN = 8.2


@dataclass(frozen=True)
class Point:
    """A candidate in the plot of accuracy against latency.

    Attributes:
        name: As shown.
        latency_ms: Median processor time of a request.
        accuracy: Percent, with the bounds of its interval.
        chosen: Whether it is the winner.
    """

    name: str
    latency_ms: float
    accuracy: tuple[float, float, float]
    chosen: bool


@dataclass(frozen=True)
class Bars:
    """Two bars of a problem type, in percent with the bounds of their intervals."""

    name: str
    without_graph: tuple[float, float, float]
    with_graph: tuple[float, float, float]


def accuracy_against_latency(points: Sequence[Point], least: float | None) -> str:
    """Draws the candidates with their intervals, and the least accuracy the budget allows."""
    with _figure(3.9) as (axes, finish):
        for at, point in enumerate(sorted(points, key=lambda each: each.latency_ms)):
            _draw_point(axes, point, above=at % 2 == 0)
        if least is not None:
            axes.axhline(
                least,
                color=CONTRAST,
                linewidth=1.2,
                linestyle=(0, (5, 4)),
                label="least that the budget allows",
            )
            _legend(axes)
        _latency_axis(axes, [point.latency_ms for point in points])
        low = min([point.accuracy[1] for point in points] + ([least] if least else []))
        high = max(point.accuracy[2] for point in points)
        margin = max(0.4, 0.22 * (high - low))
        axes.set_ylim(low - margin, high + margin)
        axes.set_ylabel("validation accuracy, %")
        axes.set_xlabel("milliseconds of processor time a ticket (log scale), one thread")
        return finish()


def confused_intents(
    names: Sequence[str], columns: Sequence[str], counts: Sequence[Sequence[int]]
) -> str:
    """Draws how often tickets of each intent (rows) were taken for each intent (columns)."""
    with _figure(1.5 + 0.34 * len(names)) as (axes, finish):
        from matplotlib.colors import LinearSegmentedColormap

        shades = LinearSegmentedColormap.from_list("counts", ["#8793a51a", CONTRAST])
        top = max((max(row) for row in counts), default=1) or 1
        edges = [at - 0.5 for at in range(max(len(columns), len(names)) + 1)]
        across, down = edges[: len(columns) + 1], edges[: len(names) + 1]
        axes.pcolormesh(across, down, counts, cmap=shades, vmin=0, vmax=top, linewidth=0)
        axes.invert_yaxis()
        for at, row in enumerate(counts):
            for other, count in enumerate(row):
                if count:
                    axes.text(other, at, str(count), ha="center", va="center", color=INK)
        axes.set_yticks(range(len(names)), names)
        axes.set_xticks(
            range(len(columns)), columns, rotation=40, ha="left", rotation_mode="anchor"
        )
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        return finish()


def graph_part(bars: Sequence[Bars]) -> str:
    """Draws answer accuracy without and with the graph, by problem type."""
    with _figure(3.6) as (axes, finish):
        width = 0.36
        for at, bar in enumerate(bars):
            for offset, color, value in (
                (-width / 2, PLAIN, bar.without_graph),
                (width / 2, ACCENT, bar.with_graph),
            ):
                _draw_bar(axes, at + offset, width, color, value)
        axes.bar(0, 0, color=PLAIN, label="without the graph")
        axes.bar(0, 0, color=ACCENT, label="with the graph")
        _legend(axes)
        axes.set_xticks(range(len(bars)), [bar.name for bar in bars])
        axes.set_ylim(0, 109)
        axes.set_yticks(range(0, 101, 25))
        axes.set_ylabel("right answers, %")
        axes.grid(visible=False, axis="x")
        return finish()


def _legend(axes: Axes) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, frameon=False)


def _draw_point(axes: Axes, point: Point, *, above: bool) -> None:
    """Draws a candidate, named above or below its interval so that neighbours do not meet."""
    value, low, high = point.accuracy
    color = ACCENT if point.chosen else PLAIN
    axes.errorbar(
        [point.latency_ms],
        [value],
        yerr=[[max(0.0, value - low)], [max(0.0, high - value)]],
        fmt="o",
        color=color,
        markersize=9 if point.chosen else 7,
        capsize=3,
        linewidth=1.6,
    )
    axes.annotate(
        point.name,
        (point.latency_ms, high if above else low),
        (0, 5 if above else -5),
        textcoords="offset points",
        ha="center",
        va="bottom" if above else "top",
        color=INK,
        fontweight="bold" if point.chosen else "normal",
    )


def _draw_bar(
    axes: Axes, at: float, width: float, color: str, value: tuple[float, float, float]
) -> None:
    center, low, high = value
    axes.bar(at, center, width * 0.94, color=color)
    axes.errorbar(
        [at],
        [center],
        yerr=[[max(0.0, center - low)], [max(0.0, high - center)]],
        fmt="none",
        ecolor=INK,
        elinewidth=1.0,
        capsize=2.5,
        alpha=0.75,
    )
    axes.annotate(
        f"{center:.0f}",
        (at, high),
        (0, 3),
        textcoords="offset points",
        ha="center",
        va="bottom",
        color=INK,
        fontsize=TEXT_SIZE - 1,
    )


def _latency_axis(axes: Axes, latencies: Sequence[float]) -> None:
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

    low, high = min(latencies) * 0.6, max(latencies) * 1.7
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    steps = [
        digit * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for digit in (1, 2, 5)
    ]
    shown = [step for step in steps if low <= step <= high]
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


@contextmanager
def _figure(height_in: float) -> Iterator[tuple[Any, Callable[[], str]]]:
    """Yields axes and what makes an SVG of them; nothing of it outlives the block."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(_style()):
        figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)

        def finish() -> str:
            stream = io.StringIO()
            figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
            return _inline(stream.getvalue())

        yield axes, finish


def _style() -> Any:
    inks = dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK
    )
    return {
        **inks,
        "text.parse_math": False,  # an intent's name may hold a dollar
        "font.size": TEXT_SIZE,
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "axes.grid": True,
        "grid.color": PLAIN,
        "grid.alpha": 0.25,
        "axes.axisbelow": True,
        "svg.hashsalt": SALT,  # the same ids, and so the same bytes, in every run
        "svg.fonttype": "path",
    }


def _inline(svg: str) -> str:
    """Leaves the SVG element alone, in the page's colour and as wide as the page."""
    element = svg[svg.index("<svg") :]
    element = re.sub(
        r' width="[^"]*" height="[^"]*"| height="[^"]*" width="[^"]*"', "", element, count=1
    )
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    return element.replace(INK, "currentColor").replace(
        "<svg ", '<svg aria-hidden="true" focusable="false" ', 1
    )
