"""The report's answers: with and without the graph, by problem type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.report import plots
from components.report.candidates import percent, span

TYPES = {
    "faq": "simple FAQ",
    "troubleshooting": "troubleshooting",
    "policy": "policies",
    "multi_entity": "several entities",
}


def answers_section(answered: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns plot, table and words; None where nothing was compared."""
    if "skipped" in answered:
        return None
    from markupsafe import Markup

    groups = {TYPES[name]: group for name, group in answered["types"].items()}
    overall = answered["overall"]
    bars = [
        plots.Bars(name, _accuracy(group["without_graph"]), _accuracy(group["with_graph"]))
        for name, group in [*groups.items(), ("all", overall)]
    ]
    said = "; ".join(
        f"{bar.name} {bar.without_graph[0]:.0f}% without, {bar.with_graph[0]:.0f}% with"
        for bar in bars
    )
    svg = plots.graph_part(bars)
    return {
        "svg": Markup(svg),  # noqa: S704 - glyph outlines only, see plots.py
        "alt": f"Bars of right answers: {said}.",
        "caption": "Without the graph the same model answers what was said to the most similar "
        "resolved training ticket of the intent it sees. Lines are 95% intervals.",
        "summary": _summary(overall, answered["types"]),
        "rows": [
            *(_row(name, group, overall=False) for name, group in groups.items()),
            _row("all", overall, overall=True),
        ],
    }


def _summary(overall: Mapping[str, Any], types: Mapping[str, Any]) -> str:
    mix = ", ".join(f"{group['questions']} {TYPES[name]}" for name, group in types.items())
    gain, arm = overall["gain_points"], overall["with_graph"]
    degraded = arm["degraded"]
    missing = f" {degraded} of them were answered while the graph was away." if degraded else ""
    return (
        f"{overall['questions']} gold questions ({mix}), {overall['answerable']} of them "
        f"answerable. The graph changes {gain['value']:+.1f} points (95% {span(gain)}): "
        f"{percent(overall['without_graph']['accuracy']['value'])}% right without it, "
        f"{percent(arm['accuracy']['value'])}% with it; the intent was seen rightly in "
        f"{percent(arm['intent_accuracy'])}%. Of {arm['claims']:,} claims made with it, "
        f"{arm['unsupported_claims']} are not supported by the facts they cite.{missing}"
    )


def _row(name: str, group: Mapping[str, Any], *, overall: bool) -> dict[str, Any]:
    arm, gain = group["with_graph"], group["gain_points"]
    recalls = [arm[f"recommendation_recall_at_{cutoff}"] for cutoff in (1, 5, 10)]
    return {
        "name": name,
        "overall": overall,
        "questions": group["questions"],
        "without": percent(group["without_graph"]["accuracy"]["value"]),
        "with_": percent(arm["accuracy"]["value"]),
        "gain": f"{gain['value']:+.1f}",
        "gain_range": span(gain),
        "unsupported": f"{arm['unsupported_claims']} of {arm['claims']}",
        "abstention": f"{_share(arm['abstention_precision'])} / {_share(arm['abstention_recall'])}",
        "entities": _share(arm["entity_f1"]),
        "recommended": " / ".join(_share(each) for each in recalls),
        "latency": f"{arm['latency_p50_ms']:.0f} / {arm['latency_p95_ms']:.0f}",
    }


def _share(value: float | None) -> str:
    """Returns a percentage; a dash where there was nothing to measure."""
    return "–" if value is None else percent(value, 0)  # noqa: RUF001 - a dash as printed


def _accuracy(arm: Mapping[str, Any]) -> tuple[float, float, float]:
    accuracy = arm["accuracy"]
    return 100 * accuracy["value"], 100 * accuracy["low"], 100 * accuracy["high"]
