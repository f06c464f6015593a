"""The compression table as people read it: Markdown, and a plot of accuracy against time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.speed import MAIN, shape_name

TEACHER, WINNER = "teacher", "winner"
NAMES = {
    TEACHER: "teacher",
    "pruned": "pruned",
    "distilled": "distilled (smaller student)",
    WINNER: "pruned + distilled (winner)",
    "scratch": "the distilled shape without a teacher",
    "svm": "frozen embeddings + linear SVM",
}


def markdown_table(result: Mapping[str, Any]) -> str:
    """Formats two tables: the rows, and the times by shape; 95% intervals in brackets."""
    main = shape_name(MAIN)
    lines = ["**A smoke run: not to be quoted.**", ""] if result["quick"] else []
    lines += [
        "| row | right on test | lost, points | seeds, lowest to highest | parameters | gone "
        f"| encoder gone | ms, {main} | times as fast |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [_line(row) for row in result["rows"]]
    arms = list(result["speed"][main])
    lines += [
        "",
        "| ms a batch, one thread | " + " | ".join(arms) + " | winner served, against the teacher "
        "served | against it in torch |",
        "|---|" + "---|" * (len(arms) + 2),
    ]
    for shape, timed in result["speed"].items():
        times = [timed[arm]["cpu_median_ms"] for arm in arms]
        total = timed[f"{TEACHER} in torch"]["cpu_median_ms"] / timed[WINNER]["cpu_median_ms"]
        lines.append(
            f"| {shape} | "
            + " | ".join(f"{each:.2f}" for each in times)
            + f" | {timed[WINNER]['speedup']['value']:.1f} x | {total:.1f} x |"
        )
    if "out_of_scope" in result:
        lines += [
            "",
            "| row | out of scope, turned away | in scope, turned away |",
            "|---|---|---|",
        ]
        lines += [
            f"| {NAMES[name]} | {100 * found['turned_away']:.1f}% of {found['rows']} "
            f"| {100 * found['turned_away_wrongly']:.1f}% |"
            for name, found in result["out_of_scope"].items()
        ]
    lines += [
        "",
        "| half the width kept by | right on validation after a short recovery, first seed |",
        "|---|---|",
    ]
    lines += [f"| {score} | {100 * found:.2f}% |" for score, found in result["scores"].items()]
    return "\n".join(lines) + "\n"


def _line(row: Mapping[str, Any]) -> str:
    loss, seeds = row["loss_points"], row["accuracy_by_seed"]
    cells = [
        NAMES[row["row"]],
        _span(row["accuracy"], 100, "%"),
        "" if row["row"] == TEACHER else _span(loss, 1, ""),
        f"{100 * min(seeds):.2f} to {100 * max(seeds):.2f}" if len(seeds) > 1 else "",
    ]
    if "parameters" in row:
        cells += [
            f"{row['parameters']['total'] / 1e6:.2f}M",
            f"{100 * row['cut']['total']:.1f}%",
            f"{100 * row['cut']['encoder']:.1f}%",
        ]
    if "speedup" in row:
        cells += [f"{row['ms']:.3f}", _span(row["speedup"], 1, " x")]
    return "| " + " | ".join(cells + [""] * (9 - len(cells))) + " |"


def _span(interval: Mapping[str, float], factor: float, unit: str) -> str:
    value, low, high = (factor * interval[name] for name in ("value", "low", "high"))
    return f"{value:.2f}{unit} [{low:.2f}, {high:.2f}]"


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Draws accuracy against time, each row a disc of its number of parameters."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot, ticker

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for row in result["rows"]:
        share = {name: 100 * value for name, value in row["accuracy"].items()}
        if "ms" not in row:
            axes.axhline(share["value"], linestyle=":", color="grey")
            axes.annotate(
                NAMES[row["row"]],
                (0.01, share["value"]),
                xytext=(0, -3),
                textcoords="offset points",
                va="top",
                xycoords=("axes fraction", "data"),
                color="grey",
                fontsize="x-small",
            )
            continue
        error = [[share["value"] - share["low"]], [share["high"] - share["value"]]]
        size = 40 + 300 * row["parameters"]["total"] / result["rows"][0]["parameters"]["total"]
        bars = axes.errorbar(row["ms"], share["value"], yerr=error, capsize=3, fmt="none")
        axes.scatter(row["ms"], share["value"], s=size, color=bars.lines[2][0].get_color())
        # What is both is next to what it is of: its words go to the other side.
        left = row["row"] == WINNER
        axes.annotate(
            f"{NAMES[row['row']]}\n{row['parameters']['total'] / 1e6:.1f}M parameters",
            (row["ms"], share["value"]),
            xytext=(-9 if left else 9, 9),
            ha="right" if left else "left",
            textcoords="offset points",
            fontsize="small",
        )
    axes.set(
        xscale="log",
        xlabel=f"ms of processor time, {shape_name(MAIN)}, as served",
        ylabel="right on the test split, %",
    )
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    axes.grid(alpha=0.3)
    axes.margins(x=0.5, y=0.2)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
