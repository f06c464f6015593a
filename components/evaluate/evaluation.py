"""Measures the exported candidates on the validation split, as they are served."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.model_dir import read_compression
from components.scoring.latency import Latency, interleaved_latency, machine
from components.scoring.scores import TEACHER, Score, round_floats, score_readings
from components.scoring.served import (
    Row,
    ServedModel,
    Task,
    model_identity,
    open_served,
    read_all,
    read_rows,
    readings_table,
)
from components.scoring.statistics import RESAMPLES
from components.shards import read_manifest
from components.storage import localise, output_dir
from kg_schema.errors import InputError
from serving.manifest import content_sha256, write_manifest

EVALUATION_KIND = "evaluation"
EVALUATION_NAME = "evaluation.json"
SPLIT = "validation"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluateSettings:
    """How candidates are measured.

    Attributes:
        task: What the models do.
        seed: Of the bootstrap.
        resamples: Bootstrap resamples.
        latency_repeats: Requests timed a candidate.
    """

    task: Task = "intent"
    seed: int = 17
    resamples: int = RESAMPLES
    latency_repeats: int = 200

    def __post_init__(self) -> None:
        if min(self.resamples, self.latency_repeats) < 1:
            raise InputError("resamples and latency_repeats must be at least 1")


@dataclass(frozen=True)
class Candidate:
    """One measured candidate.

    Attributes:
        score: On the validation split.
        latency: At batch 1, one thread, tokenization included.
        speedup: The teacher's median processor time over this one's.
        parameters: `total` and `encoder`.
        cut: Share of the teacher's parameters that is gone, `total` and `encoder`.
        onnx_bytes: Size of the served graph.
        precision: Of the served graph.
        model: Digest and lineage, as its manifest says.
    """

    score: Score
    latency: Latency
    speedup: float
    parameters: Mapping[str, int]
    cut: Mapping[str, float]
    onnx_bytes: int
    precision: str
    model: Mapping[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """What was measured; the files are at `out`.

    Attributes:
        out: Location of `evaluation.json` and the predictions.
        task: What the models do.
        rows: Validation rows scored.
        labels: Intents the teacher knows; none for task `answer`.
        candidates: By name.
    """

    out: str
    task: Task
    rows: int
    labels: tuple[str, ...]
    candidates: Mapping[str, Candidate]


def evaluate_candidates(
    candidates: Mapping[str, str],
    shards: str,
    out: str,
    settings: EvaluateSettings | None = None,
) -> Evaluation:
    """Scores and times exported models on the same rows and writes what came out.

    `evaluation.json` holds the numbers and what they depend on, `predictions/NAME.parquet` what
    each candidate said of each row.

    Args:
        candidates: Locations of exported model directories by name, `teacher` among them.
        shards: Location of the shards.
        out: Location of the evaluation directory.
        settings: How to measure.

    Raises:
        InputError: The teacher is missing, a model is not exported or for another task, or there
            is nothing to score.
        ManifestError: A directory is not whole.
    """
    settings = settings or EvaluateSettings()
    if TEACHER not in candidates:
        raise InputError(f"no candidate {TEACHER!r} to compare with", where="candidates")
    shards_dir = localise(shards)
    rows = read_rows(shards_dir, SPLIT, settings.task)
    folders = {name: localise(location) for name, location in candidates.items()}
    models = {name: open_served(folder, settings.task) for name, folder in folders.items()}
    readings = {name: read_all(model, rows, f"evaluate {name}") for name, model in models.items()}
    scores = score_readings(
        readings, rows, settings.task, seed=settings.seed, resamples=settings.resamples
    )
    latencies = _latencies(models, rows, settings)
    measured = Evaluation(
        out=out,
        task=settings.task,
        rows=len(rows),
        labels=models[TEACHER].labels,
        candidates=_candidates(folders, scores, latencies),
    )
    with output_dir(out) as folder:
        _write_predictions(folder, rows, readings)
        content = _as_json(measured, settings, content_sha256(read_manifest(shards_dir)))
        text = json.dumps(content, indent=1, ensure_ascii=False)
        (folder / EVALUATION_NAME).write_text(text + "\n", encoding="utf-8")
        write_manifest(folder, EVALUATION_KIND, task=settings.task, split=SPLIT)
    for name, each in measured.candidates.items():
        logger.info(
            "%s: accuracy %.2f%%, %.2f points lost, %.2f ms",
            name,
            100 * each.score.accuracy.value,
            each.score.loss_points.value,
            each.latency.cpu_median_ms,
        )
    return measured


def _latencies(
    models: Mapping[str, ServedModel], rows: Sequence[Row], settings: EvaluateSettings
) -> dict[str, Latency]:
    """Times all models on the same texts, evenly spaced over the split."""
    step = max(1, len(rows) // settings.latency_repeats)
    texts = [row.text for row in rows[::step]]
    calls = {name: model.infer for name, model in models.items()}
    return interleaved_latency(calls, texts, settings.latency_repeats)


def _candidates(
    folders: Mapping[str, Path],
    scores: Mapping[str, Score],
    latencies: Mapping[str, Latency],
) -> dict[str, Candidate]:
    parameters = {name: _parameters(folder) for name, folder in folders.items()}
    reference = parameters[TEACHER]
    return {
        name: Candidate(
            score=scores[name],
            latency=latencies[name],
            speedup=latencies[TEACHER].cpu_median_ms / max(latencies[name].cpu_median_ms, 1e-9),
            parameters=parameters[name],
            cut={
                part: 1 - parameters[name][part] / count if count else 0.0
                for part, count in reference.items()
            },
            onnx_bytes=(folder / "onnx" / "model.onnx").stat().st_size,
            precision=_precision(folder),
            model=model_identity(folder),
        )
        for name, folder in folders.items()
    }


def _parameters(folder: Path) -> dict[str, int]:
    """Returns total and encoder parameters, as the model's manifest or compression tells them."""
    counted = model_identity(folder).get("parameters")
    if counted is None:
        counted = read_compression(folder).get("parameters_after")
    if not isinstance(counted, dict) or not {"total", "encoder"} <= counted.keys():
        raise InputError("the manifest does not count its parameters", where=str(folder))
    return {part: int(counted[part]) for part in ("total", "encoder")}


def _precision(folder: Path) -> str:
    serving = json.loads((folder / "onnx" / "serving.json").read_text(encoding="utf-8"))
    return str(serving.get("precision", ""))


def _write_predictions(folder: Path, rows: Sequence[Row], readings: Mapping[str, Any]) -> None:
    import pyarrow.parquet as pq

    (folder / "predictions").mkdir()
    for name, read in readings.items():
        pq.write_table(readings_table(rows, read), folder / "predictions" / f"{name}.parquet")


def _as_json(
    measured: Evaluation, settings: EvaluateSettings, shards_sha256: str
) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "task": measured.task,
        "split": SPLIT,
        "rows": measured.rows,
        "labels": list(measured.labels),
        "shards_sha256": shards_sha256,
        "settings": asdict(settings),
        "machine": machine(),
        "candidates": {
            name: {
                **each.score.as_json(),
                "latency": asdict(each.latency),
                **round_floats(
                    {
                        "speedup": each.speedup,
                        "parameters": each.parameters,
                        "cut": each.cut,
                        "onnx_bytes": each.onnx_bytes,
                        "precision": each.precision,
                        "model": each.model,
                    }
                ),
            }
            for name, each in measured.candidates.items()
        },
    }
