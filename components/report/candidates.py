"""The report's candidates: cards, table rows, the plot, and the intents that are confused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.report import plots
from components.scoring.scores import TEACHER

WORST_INTENTS = 10
CONFUSED_COLUMNS = 12
MISTAKES_NAMED = 3
NAMES = {
    "teacher": "the teacher",
    "pruned": "the pruned model",
    "distilled": "the distilled model",
    "pruned_distilled": "the pruned and distilled model",
}


def shown(name: str) -> str:
    """Returns a candidate's name in words."""
    return NAMES.get(name, name.replace("_", " "))


def short(name: str) -> str:
    """Returns a candidate's name for a table or a plot."""
    return "pruned + distilled" if name == "pruned_distilled" else name.replace("_", " ")


def percent(share: float, digits: int = 1) -> str:
    """Returns a share as a percentage without its sign."""
    return f"{100 * share:.{digits}f}"


def span(interval: Mapping[str, float], factor: float = 1.0, digits: int = 1) -> str:
    """Returns an interval's bounds."""
    return f"{factor * interval['low']:.{digits}f} to {factor * interval['high']:.{digits}f}"


def count(number: float) -> str:
    """Returns a number of parameters as 22.7M or 540k."""
    if number >= 1e6:
        return f"{number / 1e6:.1f}M"
    return f"{number / 1e3:.0f}k" if number >= 1e4 else f"{number:,.0f}"


def cards(
    measured: Mapping[str, Any], selected: Mapping[str, Any], answered: Mapping[str, Any]
) -> list[dict[str, str]]:
    """Returns the few numbers that come first."""
    name = selected["winner"]
    row, test = measured["candidates"][name], selected["test"][name]
    found = [
        {"value": f"{percent(test['accuracy']['value'])}%", "label": "right on the test split"},
        {
            "value": f"{row['latency']['cpu_median_ms']:.2f} ms",
            "label": "a ticket on one processor thread",
        },
    ]
    if name != TEACHER:
        found += [
            {"value": f"{row['speedup']:.1f} x", "label": "as fast as the teacher"},
            {
                "value": f"-{percent(row['cut']['total'], 0)}%",
                "label": f"parameters, {count(row['parameters']['total'])} left",
            },
        ]
    if "skipped" not in answered:
        gain = answered["overall"]["gain_points"]["value"]
        found.append({"value": f"{gain:+.0f} points", "label": "right answers through the graph"})
    return found


def candidate_rows(
    measured: Mapping[str, Any], selected: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Returns the rows of the candidates' table."""
    rows = []
    for name, each in measured["candidates"].items():
        test, teacher = selected["test"][name], name == TEACHER
        quality = test["macro_f1"] if measured["task"] == "intent" else None
        latency = each["latency"]
        rows.append(
            {
                "shown": short(name),
                "chosen": name == selected["winner"],
                "verdict": selected["verdicts"][name],
                "validation": percent(each["accuracy"]["value"], 2),
                "validation_range": span(each["accuracy"], 100),
                "test": percent(test["accuracy"]["value"], 2),
                "test_range": span(test["accuracy"], 100),
                "loss": "" if teacher else f"{test['loss_points']['value']:.2f}",
                "loss_range": "" if teacher else span(test["loss_points"], 1, 2),
                "quality": percent(quality, 2) if quality is not None else _plain(test),
                "parameters": count(each["parameters"]["total"]),
                "cut": "" if teacher else f"{percent(each['cut']['total'], 0)}% gone",
                "megabytes": f"{each['onnx_bytes'] / 2**20:.1f}",
                "precision": each["precision"],
                "latency": f"{latency['cpu_median_ms']:.2f}",
                "latency_range": f"p95 {latency['p95_ms']:.2f}",
                "speedup": f"{each['speedup']:.1f} x",
            }
        )
    return rows


def _plain(test: Mapping[str, Any]) -> str:
    return f"{test['perplexity']:.2f}"


def scatter_section(measured: Mapping[str, Any], selected: Mapping[str, Any]) -> dict[str, str]:
    """Returns the plot of accuracy against latency, its caption and its words."""
    points = [
        plots.Point(
            name=short(name),
            latency_ms=each["latency"]["cpu_median_ms"],
            accuracy=_in_percent(each["accuracy"]),
            chosen=name == selected["winner"],
        )
        for name, each in measured["candidates"].items()
    ]
    least = (
        100 * measured["candidates"][TEACHER]["accuracy"]["value"]
        - selected["settings"]["budget_points"]
    )
    said = "; ".join(
        f"{point.name} {point.accuracy[0]:.1f}% at {point.latency_ms:.2f} milliseconds"
        for point in points
    )
    repeats = next(iter(measured["candidates"].values()))["latency"]["repeats"]
    return {
        "svg": _safe(plots.accuracy_against_latency(points, least)),
        "alt": f"Plot of validation accuracy against latency: {said}.",
        "caption": f"Up and to the left is better. Bars are 95% intervals over "
        f"{measured['rows']:,} validation tickets; times are medians of {repeats} tickets, "
        "all candidates in turns, tokenization included.",
    }


def confusion_section(
    measured: Mapping[str, Any], selected: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Returns the winner's worst intents; None where it makes no mistakes or has no intents."""
    classes = measured["candidates"][selected["winner"]]["classes"]
    worst = [each for each in classes if each["rows"] and each["recall"] < 1]
    worst = sorted(worst, key=lambda each: (each["recall"], each["name"]))[:WORST_INTENTS]
    if not worst:
        return None
    taken = {each["name"]: dict(map(tuple, each["mistaken_for"])) for each in worst}
    totals: dict[str, int] = {}
    for row in taken.values():
        for other, times in row.items():
            totals[other] = totals.get(other, 0) + times
    columns = sorted(totals, key=lambda name: (-totals[name], name))[:CONFUSED_COLUMNS]
    counts = [[taken[each["name"]].get(other, 0) for other in columns] for each in worst]
    rows = [
        {
            "name": each["name"],
            "tickets": each["rows"],
            "recall": percent(each["recall"], 0),
            "taken": ", ".join(
                f"{other} ({times})" for other, times in each["mistaken_for"][:MISTAKES_NAMED]
            ),
        }
        for each in worst
    ]
    names = [each["name"] for each in worst]
    return {
        "svg": _safe(plots.confused_intents(names, columns, counts)),
        "alt": f"Matrix of mistakes for the {len(names)} worst intents; the table below says the "
        "same in words.",
        "caption": f"Rows are what validation tickets are, columns what they were taken for: the "
        f"{len(names)} intents found least and the {len(columns)} they are mistaken for most. "
        "What was right is left out.",
        "rows": rows,
    }


def losses_section(selected: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns what each candidate lost intent by intent, worst first; None without intents.

    The order is the chosen model's; where the teacher itself was chosen, that of the largest loss.
    """
    scored = selected["test"]
    recalls = {
        name: {each["name"]: each for each in score["classes"] if each["rows"]}
        for name, score in scored.items()
    }
    others = [name for name in scored if name != TEACHER]
    if not recalls[TEACHER] or not others:
        return None
    winner = selected["winner"]
    deciding = others if winner == TEACHER else [winner]
    lost = {
        intent: {name: each["recall"] - recalls[name][intent]["recall"] for name in others}
        for intent, each in recalls[TEACHER].items()
    }
    order = sorted(lost, key=lambda it: (-max(lost[it][name] for name in deciding), it))
    worse = [it for it in order if max(lost[it][name] for name in deciding) > 0]
    better = sum(min(lost[it][name] for name in deciding) < 0 for it in order)
    return {
        "names": [short(name) for name in others],
        "rows": [
            {
                "name": intent,
                "tickets": recalls[TEACHER][intent]["rows"],
                "teacher": percent(recalls[TEACHER][intent]["recall"], 0),
                "losses": [_signed(100 * lost[intent][name]) for name in others],
            }
            for intent in worse[:WORST_INTENTS]
        ],
        "caption": f"Of {len(order)} intents, {len(worse)} are found less often than by the "
        f"teacher and {better} more often, by "
        f"{'any of the candidates' if winner == TEACHER else 'the chosen model'}. "
        f"Points of recall lost on the test split, worst first"
        f"{f', the first {WORST_INTENTS}' if len(worse) > WORST_INTENTS else ''}.",
    }


def _signed(points: float) -> str:
    """Returns points lost; what was gained has a minus sign."""
    return f"{points:.1f}" if round(points, 1) else "0"


def champion_line(selected: Mapping[str, Any]) -> str:
    """Says how the winner compares with what is served."""
    champion = selected["champion"]
    if champion is None:
        return "There was no champion to compare with."
    loss = champion["winner_loss_points"]
    word = (
        f"{abs(loss):.2f} points {'worse' if loss > 0 else 'better'} than" if loss else "equal to"
    )
    new = champion["new_labels"]
    more = f" It knows {len(new)} intents that the champion does not." if new else ""
    return (
        f"On the {champion['rows']:,} validation tickets whose intents both know, the chosen model "
        f"is {word} the champion ({percent(champion['accuracy'])}%).{more}"
    )


def _in_percent(interval: Mapping[str, float]) -> tuple[float, float, float]:
    return 100 * interval["value"], 100 * interval["low"], 100 * interval["high"]


def _safe(svg: str) -> Any:
    """Marks a plot of our own as markup; every text in it was drawn, not pasted."""
    from markupsafe import Markup

    return Markup(svg)  # noqa: S704 - glyph outlines only, see plots.py
