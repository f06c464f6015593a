"""Exports a model to the graph that is served, in the precision that this machine runs best."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from components.export.agreement import (
    TORCH_ROWS,
    Agreement,
    Readings,
    compare,
    evenly,
    graph_runner,
    read_with,
    torch_runner,
)
from components.export.confidence import (
    fit_temperature,
    fit_threshold,
    out_of_scope_label,
    softmax,
)
from components.export.probing import interleaved
from components.export.settings import ExportError, ExportResult, ExportSettings
from components.export.smoothing import smooth_model
from components.model_dir import lineage_of, load_model, read_model_manifest
from components.onnx_graph.graph import INPUTS, write_graph
from components.onnx_graph.lean import lean_classifier
from components.onnx_graph.quantise import RECIPES, quantise_graph
from components.shards import read_manifest as read_shards_manifest
from components.storage import localise, output_dir
from components.training.data import (
    IGNORED,
    Collator,
    TicketRows,
    by_length,
    read_rows,
    require_rows,
)
from kg_schema.errors import InputError
from serving.manifest import content_sha256, write_manifest
from serving.runtime import open_session

__all__ = ["ExportError", "ExportResult", "ExportSettings", "export_model"]

ONNX_FOLDER = "onnx"
GRAPH_NAME = "model.onnx"
SERVING_NAME = "serving.json"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Graph:
    """A graph on disk and how it did."""

    path: Path
    recipe: str
    precision: str
    readings: Readings
    agreement: Agreement


@dataclass(frozen=True)
class _Work:
    """What every step of one export needs.

    Args:
        model: As it was given.
        lean: The same without what its head does not read; the graphs are made of it.
        train: Rows of the train split, to learn ranges on.
        rows: Rows of the validation split, to compare on.
        collate: Pads.
        reference: What the model makes of `rows`.
        folder: Where graphs go.
        settings: The export's.
    """

    model: Any
    lean: Any
    train: TicketRows
    rows: TicketRows
    collate: Collator
    reference: Readings
    folder: Path
    settings: ExportSettings

    def try_graph(self, path: Path, recipe: str, precision: str) -> _Graph:
        """Reads the validation rows with a graph, one by one, and compares."""
        run = graph_runner(open_session(path, self.settings.threads))
        readings = read_with(run, self.rows, self.collate, 1, f"check {recipe}")
        agreement = compare(self.reference, readings)
        logger.info("%s: %s", recipe, agreement)
        return _Graph(path, recipe, precision, readings, agreement)


def export_model(model: str, shards: str, out: str, settings: ExportSettings) -> ExportResult:
    """Copies a model directory and adds `onnx/model.onnx` and `onnx/serving.json` to it.

    Args:
        model: Location of the model's directory.
        shards: Location of the shards; the validation split is the gate, and what confidence is
            fitted on.
        out: Location of the exported directory, published whole or not at all.
        settings: Precision and gate.

    Raises:
        ExportError: No graph, not even fp32, follows the model closely enough.
        InputError: The model, the shards or the settings do not fit each other.
        ManifestError: The model or the shards are not whole.
    """
    source, shards_dir = localise(model), localise(shards)
    manifest = read_model_manifest(source)
    labels = _labels(manifest, read_shards_manifest(shards_dir), settings, model)
    torch_model, tokenizer = load_model(source)
    length = int(manifest["max_length"])

    def read(split: str, most: int) -> TicketRows:
        rows = evenly(read_rows(shards_dir, split, tokenizer, settings.task, length), most)
        return require_rows(rows, shards_dir, split)

    train, rows = read("train", settings.calibration_rows), read("validation", settings.gate_rows)
    collate = Collator(settings.task, tokenizer.pad_token_id or 0)
    with output_dir(out) as folder:
        _copy(source, folder, manifest)
        (folder / ONNX_FOLDER).mkdir(exist_ok=True)
        size = TORCH_ROWS[settings.task]
        reference = read_with(torch_runner(torch_model), rows, collate, size, "check torch")
        work = _Work(
            model=torch_model,
            lean=lean_classifier(torch_model),
            train=train,
            rows=rows,
            collate=collate,
            reference=reference,
            folder=folder / ONNX_FOLDER,
            settings=settings,
        )
        graph, times = _choose(work)
        graph.path.replace(folder / ONNX_FOLDER / GRAPH_NAME)
        for left in (folder / ONNX_FOLDER).glob("*.onnx"):
            if left.name != GRAPH_NAME:
                left.unlink()
        serving = _serving(graph, times, labels, length, tokenizer.pad_token_id or 0, settings)
        _write_json(folder / ONNX_FOLDER / SERVING_NAME, serving)
        lineage = {**lineage_of(manifest), "exported_from": content_sha256(manifest)}
        write_manifest(folder, manifest["kind"], **lineage)
        written = (folder / ONNX_FOLDER / GRAPH_NAME).stat().st_size
    return ExportResult(
        out=out,
        precision=graph.precision,
        recipe=graph.recipe,
        agreement=serving["agreement"],
        milliseconds=times,
        temperature=serving["temperature"],
        out_of_scope_threshold=serving["out_of_scope_threshold"],
        megabytes=round(written / 2**20, 2),
    )


def _labels(
    manifest: Mapping[str, Any], data: Mapping[str, Any], settings: ExportSettings, where: str
) -> list[str]:
    if manifest["task"] != settings.task:
        raise InputError(
            f"a model for task {manifest['task']!r}",
            where=where,
            fix=f"use one for task {settings.task!r}",
        )
    if settings.task == "answer":
        return []
    labels: list[str] = list(manifest["labels"])
    if labels != list(data["labels"]):
        raise InputError(
            f"its {len(labels)} labels are not the {len(data['labels'])} of the shards",
            where=where,
            fix="export it with the shards it was trained on",
        )
    return labels


def _copy(source: Path, folder: Path, manifest: Mapping[str, Any]) -> None:
    for entry in manifest["files"]:
        if not entry["path"].startswith(f"{ONNX_FOLDER}/"):
            target = folder / entry["path"]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / entry["path"], target)


def _choose(work: _Work) -> tuple[_Graph, dict[str, float]]:
    """Returns the graph to serve and the median milliseconds of those that were timed."""
    plain = work.folder / "fp32.onnx"
    write_graph(work.lean, plain, per_token=work.settings.task == "answer")
    quantised = _quantised(work, plain) if work.settings.precision != "fp32" else None
    times = _times(work, plain, quantised)
    if quantised is not None and (
        work.settings.precision == "int8" or times["int8"] < times["fp32"]
    ):
        return quantised, times
    graph = work.try_graph(plain, "fp32", "fp32")
    if not graph.agreement.passes(work.settings):
        raise ExportError(
            f"the fp32 graph agrees with the model on {graph.agreement.argmax:.2%} of the"
            f" validation rows, {graph.agreement.accuracy:.2%} against"
            f" {graph.agreement.torch_accuracy:.2%} right",
            fix="the exporter mistakes this model: try another torch or transformers version",
        )
    return graph, times


def _quantised(work: _Work, plain: Path) -> _Graph | None:
    """Returns the first recipe's graph that passes the gate; None if none does.

    Raises:
        ExportError: None does, and int8 was asked for.
    """
    smoothed, target = work.folder / "smoothed.onnx", work.folder / "int8.onnx"
    per_token = work.settings.task == "answer"
    for recipe in RECIPES:
        if recipe.smooth and not smoothed.is_file():
            _write_smoothed(work, smoothed)
        source = smoothed if recipe.smooth else plain
        quantise_graph(source, target, recipe, lookups=per_token)
        graph = work.try_graph(target, recipe.name, "int8")
        if graph.agreement.passes(work.settings):
            return graph
    if work.settings.precision == "int8":
        raise ExportError(
            "no int8 graph follows the model closely enough", fix="use precision auto or fp32"
        )
    logger.warning("no int8 graph follows the model closely enough; serving fp32")
    return None


def _write_smoothed(work: _Work, path: Path) -> None:
    size = TORCH_ROWS[work.settings.task]
    batches = (work.collate(taken) for taken in by_length(work.train, size, 0, 1))
    model = smooth_model(work.lean, batches)
    write_graph(model, path, per_token=work.settings.task == "answer")


def _times(work: _Work, plain: Path, quantised: _Graph | None) -> dict[str, float]:
    """Times the graphs and the model on one row of the probe's length."""
    config = work.model.config
    tokens = min(work.settings.probe_tokens, getattr(config, "max_position_embeddings", 1 << 30))
    ids = torch.randint(config.vocab_size, (1, tokens), generator=torch.Generator().manual_seed(0))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    paths = {"fp32": plain, **({"int8": quantised.path} if quantised else {})}
    runners = {
        name: graph_runner(open_session(path, work.settings.threads))
        for name, path in paths.items()
    }
    runners["torch"] = torch_runner(work.model)
    threads = torch.get_num_threads()
    torch.set_num_threads(work.settings.threads)
    try:
        return interleaved(
            {name: lambda run=run: run(batch) for name, run in runners.items()},  # type: ignore[misc]
            work.settings.probe_repeats,
        )
    finally:
        torch.set_num_threads(threads)


def _serving(
    graph: _Graph,
    times: Mapping[str, float],
    labels: list[str],
    length: int,
    pad: int,
    settings: ExportSettings,
) -> dict[str, Any]:
    """Returns what `serving.json` tells."""
    temperature, threshold = _confidence(graph.readings, labels, settings)
    agreement = graph.agreement
    return {
        "task": settings.task,
        "labels": labels,
        "max_length": length,
        "pad_token_id": pad,
        "inputs": list(INPUTS),
        "precision": graph.precision,
        "recipe": graph.recipe,
        "temperature": temperature,
        "out_of_scope_threshold": threshold,
        "agreement": {
            "argmax": round(agreement.argmax, 6),
            "accuracy": round(agreement.accuracy, 6),
            "torch_accuracy": round(agreement.torch_accuracy, 6),
            "positions": agreement.positions,
            "split": "validation",
        },
        # The same rows chose the precision and fitted the confidence: none of it is a test result.
        "fitted_on": "validation",
        "milliseconds": dict(times),
    }


def _confidence(
    readings: Readings, labels: list[str], settings: ExportSettings
) -> tuple[float, float]:
    """Returns temperature and least confidence; 1 and 0 for a language model."""
    if readings.logits is None:
        return 1.0, 0.0
    known = readings.labels != IGNORED
    logits, wanted = readings.logits[known], readings.labels[known]
    temperature = fit_temperature(logits, wanted)
    name = out_of_scope_label(labels, settings.out_of_scope_label)
    outside = None if name is None else labels.index(name)
    probabilities = softmax(logits, temperature)
    return temperature, fit_threshold(probabilities, wanted, outside, settings.max_rejected)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
