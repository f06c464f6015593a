"""The compression table: a teacher and what pruning and distillation make of it."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.compression_table import TEACHER, WINNER, draw, markdown_table
from benchmarks.decoders import KINDS, make_decoder
from benchmarks.frozen import svm_hits
from benchmarks.models import ROWS, Workbench, make_all, workbenches
from benchmarks.recipes import make_recipe
from benchmarks.speed import (
    MAIN,
    QUICK_REPEATS,
    REPEATS,
    SHAPES,
    served_arm,
    shape_name,
    summarise,
    texts_of,
    time_arms,
    torch_arm,
)
from components.base_model import find_base
from components.export.confidence import out_of_scope_label
from components.model_dir import read_model_manifest
from components.scoring.latency import machine
from components.scoring.served import Reading, Row, open_served, read_all, read_rows, readings_hits
from components.scoring.statistics import (
    RESAMPLES,
    Hits,
    accuracy_interval,
    hits,
    paired_loss,
)
from components.shard.sharding import ShardSettings, shard_tickets
from components.shards import read_manifest, read_split
from components.slicing.families import family_of
from components.slicing.scorers import SCORERS
from components.storage import localise, output_file
from components.training.spec import Task
from kg_schema.errors import InputError
from pipelines.services import environment

RESULT_NAME = "result.json"
TABLE_NAME = "table.md"
PLOT_NAME = "compression.png"

SEEDS = (7, 11, 13)
COMPRESSED = ("pruned", "distilled", WINNER)
LABEL_COLUMNS = ("intent", "label", "category")
BOOTSTRAP_SEED = 17
POSITIONS = 64


def bench_compression(
    out: Path,
    *,
    data: str,
    text_column: str = "text",
    label_column: str = "",
    base_model: str = "minilm",
    task: Task = "intent",
    seeds: Sequence[int] = SEEDS,
    quick: bool = False,
) -> Path:
    """Trains, compresses and exports over several seeds, then reads the test split and times.

    Nothing is chosen here: the recipes are fixed, and what export chooses (precision, confidence)
    it chooses on the validation split. A model that is whole under `out` is not made again.

    Args:
        out: Folder of result.json, table.md, the plot, and the models.
        data: Location of a CSV or JSON Lines file, or of a folder with `train.csv` and, where the
            test split is a file of its own, `test.csv`.
        text_column: Column of the text in a CSV.
        label_column: Column of the label; empty takes the first of `intent`, `label` and
            `category` that the CSV has.
        base_model: As in `deskgraph run`, or a tiny decoder with random weights: `tiny-qwen2`,
            `tiny-llama`.
        task: `intent`, or `answer` for causal language models.
        seeds: Of the trainings; the splits stay the same.
        quick: One short pass of everything on one seed, to see that it works.

    Returns:
        The path of `result.json`.

    Raises:
        InputError: The data, the base model or both do not fit the task.
    """
    if not seeds:
        raise InputError("no seeds to train with", where="--seed")
    seeds = seeds[:1] if quick else seeds
    shards = _shard(data, text_column, label_column, task, out / "shards")
    fresh = base_model in KINDS
    if fresh:
        base_model = _tiny_decoder(base_model, shards, out)
    train_rows = int(read_manifest(shards)["rows"]["train"])
    given: dict[str, Any] = {"fresh": fresh, "positions": _positions(base_model), "quick": quick}
    recipes = {seed: make_recipe(task, train_rows, seed, **given) for seed in seeds}
    benches = workbenches(out / "models", shards, base_model, recipes)
    make_all(benches)
    rows = read_rows(shards, "test", task)
    readings = _read(benches, rows, task)
    scored = {name: [readings_hits(each) for each in read] for name, read in readings.items()}
    if task == "intent":
        scored["svm"] = [hits(svm_hits(base_model, shards, rows))]
    speed = _time(benches[0], rows, task, quick=quick)
    result = _result(benches, scored, speed)
    outside = out_of_scope_label(read_manifest(shards)["labels"])
    if outside is not None:
        result["out_of_scope"] = {
            name: _out_of_scope(outside, rows, read, [bench.served(name) for bench in benches])
            for name, read in readings.items()
        }
    result |= {
        "quick": quick,
        "task": task,
        "base_model": base_model,
        "seeds": [*seeds],
        "data": _described(shards),
        "machine": machine(("torch", "transformers", "scikit-learn")),
    }
    with output_file(str(out / RESULT_NAME)) as path:
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (out / TABLE_NAME).write_text(markdown_table(result), encoding="utf-8")
    draw(result, out / PLOT_NAME)
    return out / RESULT_NAME


def _shard(tickets: str, text_column: str, label_column: str, task: Task, out: Path) -> Path:
    test = ""
    if "://" not in tickets and Path(tickets).is_dir() and (Path(tickets) / "train.csv").is_file():
        beside = Path(tickets) / "test.csv"
        tickets, test = str(Path(tickets) / "train.csv"), str(beside) if beside.is_file() else ""
    settings = ShardSettings(
        task=task,
        text_column=text_column,
        label_column=label_column or _label_column(localise(tickets)),
        validation_fraction=0.1,
        test_fraction=0.2,
    )
    shard_tickets(tickets, str(out), settings, test)
    return out


def _label_column(path: Path) -> str:
    """Returns the label's column: of a CSV the first known name in its head, else `intent`."""
    if path.suffix != ".csv":
        return LABEL_COLUMNS[0]
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            header = next(csv.reader(lines), [])
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=str(path)) from error
    known = [name for name in LABEL_COLUMNS if name in header]
    if not known:
        raise InputError(
            f"its columns are {', '.join(header)}",
            where=str(path),
            fix="name the label's with --label-column",
        )
    return known[0]


def _tiny_decoder(kind: str, shards: Path, out: Path) -> str:
    from components.training.checkpoint import content_digest

    table = read_split(shards, "train")
    texts = [text for name in ("text", "answer") for text in table.column(name).to_pylist() if text]
    folder = out / "base" / f"{kind}-{content_digest(shards)[:8]}"
    if not (folder / "config.json").is_file():
        make_decoder(kind, texts, folder, BOOTSTRAP_SEED)
    return str(folder)


def _positions(base_model: str) -> int:
    """Returns how many positions the small models keep: 0 where no table of them is learned."""
    config = json.loads((find_base(base_model) / "config.json").read_text(encoding="utf-8"))
    return POSITIONS if family_of(config["model_type"]).positions else 0


def _read(
    benches: Sequence[Workbench], rows: Sequence[Row], task: Task
) -> dict[str, list[list[Reading]]]:
    """Returns what each row of the table made of the test split, seed by seed."""
    return {
        name: [
            read_all(open_served(bench.served(name), task), rows, f"test {name}")
            for bench in benches
        ]
        for name in ROWS
    }


def _out_of_scope(
    label: str, rows: Sequence[Row], seeds: Sequence[Sequence[Reading]], served: Sequence[Path]
) -> dict[str, float]:
    """Returns how well a row of the table tells tickets that are none of our business.

    A ticket counts as turned away where its label is the out-of-scope one, or its confidence is
    below the threshold that export fitted on the validation split.
    """
    away = []
    for readings, directory in zip(seeds, served, strict=True):
        threshold = _serving(directory)["out_of_scope_threshold"]
        away.append([each.predicted == label or each.confidence < threshold for each in readings])
    shares = np.mean(np.asarray(away, float), axis=0)
    outside = np.array([row.wanted == label for row in rows])
    return {
        "rows": int(outside.sum()),
        "turned_away": round(float(shares[outside].mean()), 6) if outside.any() else 0.0,
        "turned_away_wrongly": round(float(shares[~outside].mean()), 6),
    }


def _time(
    bench: Workbench, rows: Sequence[Row], task: Task, *, quick: bool
) -> dict[str, dict[str, Any]]:
    """Times every shape: all rows as served, teacher and winner in torch too."""
    from tokenizers import Tokenizer

    models = (TEACHER, *COMPRESSED)
    tokenizers = []
    for name in models:
        tokenizer = Tokenizer.from_file(str(bench.served(name) / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizers.append(tokenizer)
    arms = {name: served_arm(bench.served(name), task) for name in models}
    arms |= {f"{name} in torch": torch_arm(bench.trained(name)) for name in (TEACHER, WINNER)}
    repeats = QUICK_REPEATS if quick else REPEATS
    texts = [row.text for row in rows]
    # A batch's texts would else be tokenised on threads that nobody times.
    with environment({"TOKENIZERS_PARALLELISM": "false"}):
        return {
            shape_name(shape): summarise(
                time_arms(arms, texts_of(shape, texts, tokenizers), repeats[shape[0]]), TEACHER
            )
            for shape in SHAPES
        }


def _result(
    benches: Sequence[Workbench],
    scored: Mapping[str, Sequence[Hits]],
    speed: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    rows = {name: _row(name, benches, scored, speed) for name in scored}
    result: dict[str, Any] = {
        f"{name}_accuracy": rows[name]["accuracy"]["value"] if name in rows else None
        for name in (TEACHER, "scratch", "svm")
    }
    for name in COMPRESSED:
        row = rows[name]
        result |= {
            f"{name}_accuracy": row["accuracy"]["value"],
            f"{name}_loss_points": row["loss_points"]["value"],
            f"{name}_params_total": row["parameters"]["total"],
            f"{name}_params_encoder": row["parameters"]["encoder"],
            f"{name}_cut_total": row["cut"]["total"],
            f"{name}_cut_encoder": row["cut"]["encoder"],
            f"{name}_speedup_same_runtime": row["speedup"]["value"],
        }
    main = speed[shape_name(MAIN)]
    result["winner_speedup_total"] = round(
        main[f"{TEACHER} in torch"]["cpu_median_ms"] / main[WINNER]["cpu_median_ms"], 3
    )
    return {
        **result,
        "rows": list(rows.values()),
        "scores": {
            score: read_model_manifest(benches[0].narrowed(score))["validation"]["accuracy"]
            for score in SCORERS
        },
        "speed": speed,
        "recipes": [_plain(asdict(bench.recipe)) for bench in benches],
    }


def _plain(recipe: dict[str, Any]) -> dict[str, Any]:
    """Leaves out where a stage was told to keep things."""
    return {
        stage: {name: value for name, value in settings.items() if name != "teacher_cache"}
        for stage, settings in recipe.items()
    }


def _row(
    name: str,
    benches: Sequence[Workbench],
    scored: Mapping[str, Sequence[Hits]],
    speed: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    own, teacher = mean_hits(scored[name]), mean_hits(scored[TEACHER])
    row: dict[str, Any] = {
        "row": name,
        "accuracy": _rounded(asdict(accuracy_interval(own, BOOTSTRAP_SEED))),
        "loss_points": _rounded(asdict(paired_loss(teacher, own, BOOTSTRAP_SEED))),
        "accuracy_by_seed": [round(each.share, 6) for each in scored[name]],
        "test_rows": len(own.right),
        "resamples": RESAMPLES,
    }
    if name not in ROWS:
        return row
    manifests = [read_model_manifest(bench.served(name)) for bench in benches]
    whole = read_model_manifest(benches[0].served(TEACHER))["parameters"]
    parameters = manifests[0]["parameters"]
    row |= {
        "parameters": parameters,
        "cut": {part: round(1 - parameters[part] / whole[part], 6) for part in parameters},
        "validation_by_seed": [each.get("validation", {}).get("accuracy") for each in manifests],
        "served_as": [_serving(bench.served(name))["recipe"] for bench in benches],
        "onnx_megabytes": round(
            (benches[0].served(name) / "onnx" / "model.onnx").stat().st_size / 2**20, 2
        ),
    }
    timed = speed[shape_name(MAIN)].get(name)
    return row | ({"speedup": timed["speedup"], "ms": timed["cpu_median_ms"]} if timed else {})


def _serving(directory: Path) -> dict[str, Any]:
    """Returns what export tells of a model."""
    content: dict[str, Any] = json.loads((directory / "onnx" / "serving.json").read_text("utf-8"))
    return content


def mean_hits(seeds: Sequence[Hits]) -> Hits:
    """Returns, row by row, what was right on average over seeds.

    An interval over these tells how much other tickets would change the mean; how much other
    seeds do is in `accuracy_by_seed`.
    """
    return Hits(np.mean([each.right for each in seeds], axis=0), seeds[0].of)


def _rounded(interval: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in interval.items()}


def _described(shards: Path) -> dict[str, Any]:
    manifest = read_manifest(shards)
    return {
        "sources": [each["sha256"] for each in manifest["source"]],
        "rows": manifest["rows"],
        "labels": len(manifest["labels"]),
        "split_seed": manifest["seed"],
    }
