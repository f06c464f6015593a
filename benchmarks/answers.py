"""The answers table: gold questions answered without and with the graph, by problem type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.evaluate.answers import ANSWERS_NAME, evaluate_answers
from components.shard.sharding import ShardSettings, shard_tickets
from components.storage import output_file
from kg_schema.errors import InputError
from pipelines.asking import find_model
from pipelines.services import environment, graph_of

RESULT_NAME = "result.json"
TABLE_NAME = "table.md"
PLOT_NAME = "answers.png"


def bench_answers(run: Path, out: Path) -> Path:
    """Measures the model that a run deployed over the run's graph, on the samples' gold questions.

    Args:
        run: A run's `--out`, whose graph holds the samples.
        out: Folder of result.json, table.md, the plot and every answer given.

    Returns:
        The path of `result.json`.

    Raises:
        InputError: The run has no deployed model or no graph.
    """
    model = find_model(None, run)
    shards = out / "shards"
    shard_tickets("samples:tickets", str(shards), ShardSettings())
    with graph_of(run) as graph:
        if graph is None:
            raise InputError("the run has no graph", where=str(run), fix="run on samples:graph")
        reach = {"NEO4J_USERNAME": graph.username, "NEO4J_PASSWORD": graph.password}
        with environment({**reach, "NEO4J_DATABASE": graph.database or ""}):
            evaluate_answers(
                str(model), graph.uri, "samples:gold", str(shards), str(out / "answers")
            )
    measured = json.loads((out / "answers" / ANSWERS_NAME).read_text(encoding="utf-8"))
    with output_file(str(out / RESULT_NAME)) as path:
        path.write_text(json.dumps(flat_result(measured), indent=1) + "\n", encoding="utf-8")
    (out / TABLE_NAME).write_text(markdown_table(measured), encoding="utf-8")
    _plot(measured, out / PLOT_NAME)
    return out / RESULT_NAME


def flat_result(measured: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the table's keys, the same again by problem type, and all that was measured."""
    return {
        **_keys(measured["overall"]),
        "types": {name: _keys(group) for name, group in measured["types"].items()},
        "rows": measured,
    }


def _keys(group: Mapping[str, Any]) -> dict[str, Any]:
    without, with_graph = group["without_graph"], group["with_graph"]
    return {
        "overall_accuracy_without_graph": without["accuracy"]["value"],
        "overall_accuracy_with_graph": with_graph["accuracy"]["value"],
        "overall_gain_points": group["gain_points"]["value"],
        "unsupported_claims": with_graph["unsupported_claims"],
        "abstention_precision": with_graph["abstention_precision"],
        "abstention_recall": with_graph["abstention_recall"],
        "answer_p95_ms": with_graph["latency_p95_ms"],
    }


def markdown_table(measured: Mapping[str, Any]) -> str:
    """Formats the table: a row a problem type, 95% intervals in brackets."""
    lines = [
        "| questions | n | without the graph | with the graph | gain, points | p95 ms |",
        "|---|---|---|---|---|---|",
    ]
    for name, group in [*measured["types"].items(), ("overall", measured["overall"])]:
        arms = [_share(group[arm]["accuracy"]) for arm in ("without_graph", "with_graph")]
        gain = group["gain_points"]
        lines.append(
            f"| {name} | {group['questions']} | {arms[0]} | {arms[1]} | {gain['value']:.1f} "
            f"[{gain['low']:.1f}, {gain['high']:.1f}] | "
            f"{group['with_graph']['latency_p95_ms']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def _share(interval: Mapping[str, float]) -> str:
    value, low, high = (100 * interval[name] for name in ("value", "low", "high"))
    return f"{value:.1f}% [{low:.1f}, {high:.1f}]"


def _plot(measured: Mapping[str, Any], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    groups = {**measured["types"], "overall": measured["overall"]}
    figure, axes = pyplot.subplots(figsize=(8, 4), layout="constrained")
    for offset, arm, name in ((-0.2, "without_graph", "without"), (0.2, "with_graph", "with")):
        shares = [group[arm]["accuracy"] for group in groups.values()]
        values = [100 * share["value"] for share in shares]
        errors = [
            [100 * (share["value"] - share["low"]) for share in shares],
            [100 * (share["high"] - share["value"]) for share in shares],
        ]
        places = [index + offset for index in range(len(groups))]
        bars = axes.bar(places, values, width=0.38, yerr=errors, capsize=3, label=f"{name} graph")
        axes.bar_label(bars, fmt="%.0f", padding=3)
    axes.set_xticks(range(len(groups)), [name.replace("_", " ") for name in groups])
    axes.set_ylabel("right answers, % (95% interval)")
    axes.set_ylim(0, 122)
    axes.legend(loc="upper left", ncols=2)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
