"""Rounds of a pruning: cut, learn from the teacher, compare, and go on from where it broke off.

Everything lies in one folder: `way.json` (what each round keeps), `cut-N` while round N learns,
`round-N` when it has, `recovered` at the end. What is whole is never made again.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import torch

from components.model_dir import load_model, read_compression, read_model_manifest, save_model
from components.prune.budget import Budget
from components.prune.targets import take_aim
from components.prune.work import Work
from components.slicing.cutting import Cut, Origin, cut_to_plan, read_plan
from components.slicing.planning import (
    Counts,
    count_stairs,
    keep_best,
    most_influential,
    spread_in_steps,
)
from components.slicing.scorers import score_parts
from components.slicing.slicer import Plan, Shape
from components.slicing.vocabulary import Trimmed
from components.storage import output_dir, output_file
from components.training import TrainSpec, run_training
from serving.manifest import ManifestError

WAY_NAME = "way.json"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Way:
    """What each round keeps.

    Args:
        counts: By round.
        layers: By round, as indices into the teacher, spread evenly.
        told: What compression.json says of the target; empty without one.
    """

    counts: tuple[Counts, ...]
    layers: tuple[tuple[int, ...], ...]
    told: Mapping[str, Any]


def run_rounds(work: Work) -> tuple[Path, dict[str, Any]]:
    """Cuts and trains, round after round.

    Returns:
        The directory of the result, and what its compression.json is to tell.

    Raises:
        InputError: The family, the shards or the settings do not allow it.
        PruneError: Not even the first round stays within the budget.
    """
    way = _find_way(work)
    settings = work.settings
    told: list[dict[str, Any]] = []
    budget = Budget(work) if settings.max_loss_points else None
    for number in range(1, settings.rounds + 1):
        folder = _finish_round(work, way, number)
        told.append(_tell_round(folder, number))
        if budget is not None and not budget.holds(told):
            break
    kept = sum(each.get("within_budget", True) for each in told)
    source = work.model_after(kept)
    if budget is not None and settings.recovery_epochs:
        source = _train(work, source, work.folder / "recovered", settings.recovery_epochs)
    compression = {**read_compression(source), **way.told}
    if settings.staged:
        compression["rounds"] = told
    if budget is not None:
        compression["budget"] = {**budget.told, "round": kept}
    return source, compression


def _find_way(work: Work) -> Way:
    """Returns what each round keeps; found once, because measured times are never the same."""
    path = work.folder / WAY_NAME
    if not path.exists():
        model, tokenizer = load_model(work.teacher)
        settings, shape = work.settings, Shape.of(model.config)
        words = work.trim(model, tokenizer).kept if settings.has_target else ()
        aim = take_aim(model, words, settings)
        size = settings.size.part_way(aim.depth)
        stairs = count_stairs(model.config.model_type, shape, size, settings.rounds)
        layers = spread_in_steps(shape.layers, [each.layers for each in stairs])
        found = {"counts": [astuple(each) for each in stairs], "layers": layers, "told": aim.told}
        with output_file(str(path)) as part:
            part.write_text(json.dumps(found), encoding="utf-8")
    kept = json.loads(path.read_text(encoding="utf-8"))
    return Way(
        counts=tuple(Counts(*each) for each in kept["counts"]),
        layers=tuple(tuple(each) for each in kept["layers"]),
        told=kept["told"],
    )


def _finish_round(work: Work, way: Way, number: int) -> Path:
    """Returns the folder of a round's model, made unless it is there whole."""
    settings, done = work.settings, work.model_after(number)
    if _is_whole(done):
        return done
    epochs = settings.epochs_after(number)
    if not epochs:
        _cut(work, way, number, done)
        return done
    start = work.folder / f"cut-{number}"
    if not _is_whole(start):
        _cut(work, way, number, start)
    _train(work, start, done, epochs)
    shutil.rmtree(start)
    return done


def _cut(work: Work, way: Way, number: int, out: Path) -> None:
    """Writes the model of the round before, cut further, not yet trained."""
    settings = work.settings
    torch.manual_seed(settings.seed)
    model, tokenizer = load_model(work.model_after(number - 1))
    # What no row has in it is no part of the steps: all of it goes in the first round.
    whole = Trimmed(tokenizer, tuple(range(model.config.vocab_size)))
    trimmed = work.trim(model, tokenizer) if number == 1 else whole
    calibration = work.calibration(tokenizer)
    scores = score_parts(model, calibration, settings.score, settings.seed)
    if number == 1:
        origin = Origin.of(model, scores, work.lineage["parent"])
        before = Plan.whole(origin.shape)
    else:
        origin, before = _read_before(work, number)
    counts = way.counts[number - 1]
    if settings.layer_choice == "influence":
        layers = most_influential(scores.influence, counts.layers)
    else:
        layers = tuple(before.layers.index(layer) for layer in way.layers[number - 1])
    plan = keep_best(scores, layers, counts, trimmed.kept)
    cut = cut_to_plan(model, trimmed.tokenizer, plan, before.then(plan), origin)
    untrained = settings.staged and not settings.epochs_after(number)
    _save(work, cut, work.validate(cut.model, cut.tokenizer) if untrained else {}, out)


def _read_before(work: Work, number: int) -> tuple[Origin, Plan]:
    """Returns the teacher, and what the round before a round left of it."""
    from transformers import AutoConfig

    told = read_compression(work.model_after(number - 1))
    config = AutoConfig.from_pretrained(
        work.teacher, local_files_only=True, trust_remote_code=False
    )
    origin = Origin(
        digest=told["parent"],
        shape=Shape.of(config),
        parameters=told["parameters"]["before"],
        influence=told["layer_influence"],
    )
    return origin, read_plan(told)


def _save(work: Work, cut: Cut, figures: Mapping[str, float], out: Path) -> None:
    measured = {"validation": figures} if figures else {}
    with output_dir(str(out)) as folder:
        save_model(
            cut.model,
            cut.tokenizer,
            folder,
            task=work.settings.task,
            compression=cut.compression,
            **work.lineage,
            **measured,
        )
    parameters = cut.compression["parameters"]
    logger.info("pruned: %s parameters of %s", parameters["after"], parameters["before"])


def _train(work: Work, start: Path, out: Path, epochs: int) -> Path:
    """Trains a pruned model from the teacher's outputs, unless that is done, and returns `out`."""
    if _is_whole(out):
        return out
    settings, compression = work.settings, read_compression(start)
    run_training(
        TrainSpec(
            task=settings.task,
            model_dir=str(start),
            shards=str(work.shards),
            out=str(out),
            checkpoints=str(work.folder / "training"),
            teacher=str(work.teacher),
            epochs=epochs,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            max_length=settings.max_length,
            dropout=settings.dropout,
            seed=settings.seed,
            ranks=settings.ranks,
            threads=settings.threads,
            precision=settings.precision,
            distillation=settings.distillation(
                compression["kept_layers"], len(compression["layer_influence"])
            ),
            compression=compression,
            lineage=work.lineage,
            what="recover",
        )
    )
    return out


def _tell_round(folder: Path, number: int) -> dict[str, Any]:
    """Returns what compression.json tells of a finished round."""
    compression, manifest = read_compression(folder), read_model_manifest(folder)
    kept = ("kept_heads", "kept_channels", "kept_hidden", "kept_vocabulary")
    return {
        "round": number,
        "kept_layers": compression["kept_layers"],
        "kept": {name.removeprefix("kept_"): compression[name]["count"] for name in kept},
        "parameters": compression["parameters"]["after"],
        "validation": manifest.get("validation", {}),
    }


def _is_whole(folder: Path) -> bool:
    try:
        read_model_manifest(folder)
    except ManifestError:
        return False
    return True
