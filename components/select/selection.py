"""Chooses on the validation split, then reads the test split once for the table."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.scoring.scores import TEACHER, Score, round_floats, score_readings
from components.scoring.served import (
    Row,
    Task,
    model_identity,
    open_served,
    read_all,
    read_rows,
    readings_hits,
)
from components.scoring.statistics import RESAMPLES, Hits, Interval, hits, paired_loss
from components.select.rule import Budget, Choice, Contender, choose
from components.shards import read_manifest
from components.storage import localise, output_dir
from components.traffic import Reference, seen_by_model
from kg_schema.errors import InputError
from serving.intent import SERVING_FILE
from serving.manifest import content_sha256, verify_manifest, write_manifest

SELECTION_KIND = "selection"
SELECTION_NAME = "selection.json"
EVALUATION_KIND = "evaluation"
EVALUATION_NAME = "evaluation.json"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SelectSettings:
    """How a winner is chosen.

    Attributes:
        task: What the models do.
        budget_points: Most accuracy, in points, lost against the teacher; the upper 95% bound
            may be twice that.
        champion_points: Most points lost against the champion, where the rows cannot tell the
            difference from none. More than 0 lets a small drop through at each retraining, and
            small drops add up.
        min_accuracy: Least validation accuracy, 0 to 1, that passes the gate.
        replace_equal: Whether a candidate that is no better than the champion, on the intents
            both know, may replace it. A retraining says no: what serves stays.
        seed: Of the bootstrap.
        resamples: Bootstrap resamples.
    """

    task: Task = "intent"
    budget_points: float = 1.0
    champion_points: float = 0.0
    min_accuracy: float = 0.0
    replace_equal: bool = True
    seed: int = 17
    resamples: int = RESAMPLES

    def __post_init__(self) -> None:
        if min(self.budget_points, self.champion_points, self.min_accuracy) < 0:
            raise InputError("budgets and the least accuracy cannot be negative", where=str(self))
        if self.resamples < 1:
            raise InputError("resamples must be at least 1", where=str(self))


@dataclass(frozen=True)
class Selection:
    """What was chosen; `selection.json` is at `out`.

    Attributes:
        out: Location of the selection directory.
        winner: Name of the chosen candidate.
        gate: `"true"` if it may be registered, else `"false"`.
        reason: One sentence.
        verdicts: Per candidate, why it was taken or not.
        test: Per candidate, its score on the test split.
        metrics: The winner's numbers, by name.
    """

    out: str
    winner: str
    gate: str
    reason: str
    verdicts: Mapping[str, str]
    test: Mapping[str, Score]
    metrics: Mapping[str, float]


def select_candidate(
    evaluation: str,
    candidates: Mapping[str, str],
    shards: str,
    out: str,
    settings: SelectSettings | None = None,
    champion: str = "",
) -> Selection:
    """Chooses the cheapest candidate within the budget and writes why.

    Args:
        evaluation: Location of the evaluation directory.
        candidates: Locations of the exported models that were evaluated, by name.
        shards: Location of the shards that they were evaluated on.
        out: Location of the selection directory.
        settings: Budgets.
        champion: Location of the model that is served now; empty for none. It is scored on the
            same validation rows, on those whose intent it knows.

    Raises:
        InputError: Evaluation, candidates and shards do not belong together.
        ManifestError: A directory is not whole.
    """
    settings = settings or SelectSettings()
    measured_dir, shards_dir = localise(evaluation), localise(shards)
    folders = {name: localise(location) for name, location in candidates.items()}
    measured = _read_evaluation(measured_dir)
    _require_same(measured, folders, shards_dir, settings)
    rows = read_rows(shards_dir, "validation", settings.task)
    compared = _against_champion(measured_dir, measured, rows, champion, settings)
    choice = choose(_contenders(measured, compared), _budget(settings))
    test_rows = read_rows(shards_dir, "test", settings.task)
    readings = {
        name: read_all(open_served(folder, settings.task), test_rows, f"test {name}")
        for name, folder in folders.items()
    }
    test = score_readings(
        readings, test_rows, settings.task, seed=settings.seed, resamples=settings.resamples
    )
    selected = Selection(
        out=out,
        winner=choice.winner,
        gate="true" if choice.passed else "false",
        reason=choice.reason,
        verdicts=choice.verdicts,
        test=test,
        metrics=_metrics(measured["candidates"], choice.winner, test),
    )
    content = {
        **_as_json(selected, settings, len(rows), len(test_rows)),
        "model": {"location": candidates[choice.winner], **model_identity(folders[choice.winner])},
        "champion": _champion_json(champion, compared, choice),
    }
    with output_dir(out) as folder:
        _reference(measured_dir, measured, folders[choice.winner], choice.winner).write(folder)
        text = json.dumps(round_floats(content), indent=1, ensure_ascii=False)
        (folder / SELECTION_NAME).write_text(text + "\n", encoding="utf-8")
        write_manifest(folder, SELECTION_KIND, winner=selected.winner, gate=selected.gate)
    logger.info("%s (gate %s): %s", selected.winner, selected.gate, selected.reason)
    return selected


@dataclass(frozen=True)
class _Comparison:
    """The champion on the validation rows whose intent it knows, beside the candidates."""

    rows: int
    accuracy: float
    sha256: str
    losses: Mapping[str, Interval]
    new_labels: tuple[str, ...]


def _read_evaluation(folder: Path) -> dict[str, Any]:
    verify_manifest(folder, EVALUATION_KIND)
    content: dict[str, Any] = json.loads((folder / EVALUATION_NAME).read_text(encoding="utf-8"))
    return content


def _require_same(
    measured: Mapping[str, Any],
    folders: Mapping[str, Path],
    shards: Path,
    settings: SelectSettings,
) -> None:
    """Refuses an evaluation of other models, other shards or another task."""
    if measured["task"] != settings.task:
        raise InputError(f"an evaluation of task {measured['task']!r}", where="evaluation")
    if measured["shards_sha256"] != content_sha256(read_manifest(shards)):
        raise InputError("the evaluation was made on other shards", where=str(shards))
    if TEACHER not in folders or measured["candidates"].keys() != folders.keys():
        raise InputError(
            f"the evaluation is of {', '.join(measured['candidates'])}",
            where="candidates",
            fix="give the same candidates",
        )
    for name, folder in folders.items():
        if model_identity(folder)["sha256"] != measured["candidates"][name]["model"]["sha256"]:
            raise InputError(f"{name} is not the model that was evaluated", where=str(folder))


def _against_champion(
    measured_dir: Path,
    measured: Mapping[str, Any],
    rows: Sequence[Row],
    champion: str,
    settings: SelectSettings,
) -> _Comparison | None:
    """Scores the champion on the rows the candidates were scored on; None without one."""
    if not champion:
        return None
    folder = localise(champion)
    model = open_served(folder, settings.task)
    known = set(model.labels)
    both = np.array([settings.task == "answer" or row.wanted in known for row in rows])
    shared = [row for row, keep in zip(rows, both, strict=True) if keep]
    reference = readings_hits(read_all(model, shared, "test champion"))
    losses = {
        name: paired_loss(
            reference, _recorded(measured_dir, name).only(both), settings.seed, settings.resamples
        )
        for name in measured["candidates"]
    }
    return _Comparison(
        rows=len(shared),
        accuracy=reference.share,
        sha256=model_identity(folder)["sha256"],
        losses=losses,
        new_labels=tuple(label for label in measured["labels"] if label not in known),
    )


def _recorded(folder: Path, name: str) -> Hits:
    """Returns what a candidate got right in the evaluation, in the order of the rows."""
    import pyarrow.parquet as pq

    table = pq.read_table(folder / "predictions" / f"{name}.parquet", columns=["right", "of"])
    return hits(table["right"].to_pylist(), table["of"].to_pylist())


def _reference(
    measured_dir: Path, measured: Mapping[str, Any], winner: Path, name: str
) -> Reference:
    """Returns what the winner saw in the validation tickets, to compare live traffic with."""
    import pyarrow.parquet as pq

    if measured["task"] != "intent":
        return Reference((), None)
    serving = json.loads((winner / SERVING_FILE).read_text(encoding="utf-8"))
    path = measured_dir / "predictions" / f"{name}.parquet"
    table = pq.read_table(path, columns=["predicted", "confidence"])
    seen = zip(table["predicted"].to_pylist(), table["confidence"].to_pylist(), strict=True)
    threshold = float(serving["out_of_scope_threshold"])
    return Reference(tuple(serving["labels"]), seen_by_model(seen, threshold))


def _contenders(measured: Mapping[str, Any], compared: _Comparison | None) -> dict[str, Contender]:
    return {
        name: Contender(
            latency_ms=each["latency"]["cpu_median_ms"],
            loss_points=Interval(**each["loss_points"]),
            champion_loss_points=compared.losses[name] if compared and compared.rows else None,
            accuracy=each["accuracy"]["value"],
            new_labels=compared.new_labels if compared else (),
        )
        for name, each in measured["candidates"].items()
    }


def _budget(settings: SelectSettings) -> Budget:
    return Budget(
        settings.budget_points,
        settings.champion_points,
        settings.min_accuracy,
        replace_equal=settings.replace_equal,
    )


def _metrics(
    candidates: Mapping[str, Any], winner: str, test: Mapping[str, Score]
) -> dict[str, float]:
    row, score = candidates[winner], test[winner]
    metrics = {
        "validation_accuracy": row["accuracy"]["value"],
        "validation_loss_points": row["loss_points"]["value"],
        "test_accuracy": score.accuracy.value,
        "test_loss_points": score.loss_points.value,
        "test_macro_f1": score.macro_f1,
        "latency_ms": row["latency"]["cpu_median_ms"],
        "speedup": row["speedup"],
        "parameters_total": float(row["parameters"]["total"]),
        "parameters_encoder": float(row["parameters"]["encoder"]),
        "teacher_test_accuracy": test[TEACHER].accuracy.value,
    }
    return {name: round(value, 6) for name, value in metrics.items()}


def _as_json(
    selected: Selection, settings: SelectSettings, rows: int, test_rows: int
) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "task": settings.task,
        "winner": selected.winner,
        "gate": selected.gate,
        "reason": selected.reason,
        "verdicts": dict(selected.verdicts),
        "settings": asdict(settings),
        "rows": {"validation": rows, "test": test_rows},
        "test": {name: score.as_json() for name, score in selected.test.items()},
        "metrics": dict(selected.metrics),
    }


def _champion_json(
    location: str, compared: _Comparison | None, choice: Choice
) -> dict[str, Any] | None:
    if compared is None:
        return None
    return {
        "location": location,
        "sha256": compared.sha256,
        "rows": compared.rows,
        "accuracy": compared.accuracy,
        "loss_points": {name: asdict(loss) for name, loss in compared.losses.items()},
        "winner_loss_points": compared.losses[choice.winner].value,
        "new_labels": list(compared.new_labels),
    }
