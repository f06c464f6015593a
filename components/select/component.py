"""The select step: the cheapest candidate within the budget, and the one look at the test split."""

from typing import NamedTuple

from kfp import dsl

from components.image import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def select(
    task: str,
    evaluation: dsl.Input[dsl.Artifact],
    teacher: dsl.Input[dsl.Model],
    pruned: dsl.Input[dsl.Model],
    distilled: dsl.Input[dsl.Model],
    pruned_distilled: dsl.Input[dsl.Model],
    shards: dsl.Input[dsl.Dataset],
    champion: str,
    settings: dict,
    code: str,
    selection: dsl.Output[dsl.Artifact],
    winner: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
) -> NamedTuple("Outputs", [("Output", str), ("reason", str), ("content_sha256", str)]):
    """Chooses on validation rows, then reads the test split once; `code` only keys the cache.

    `Output` is the gate, "true" or "false": a local run resolves conditions by that name alone.
    `content_sha256` is the winner's, as it is registered.
    """
    from pathlib import Path

    from components.encoder import add_encoder
    from components.model_dir import copy_model
    from components.scoring.served import model_identity
    from components.select.selection import SelectSettings, select_candidate
    from components.stage import parse_settings, reported

    with reported():
        chosen = parse_settings(SelectSettings, settings, task=task)
        candidates = {
            "teacher": teacher.path,
            "pruned": pruned.path,
            "distilled": distilled.path,
            "pruned_distilled": pruned_distilled.path,
        }
        result = select_candidate(
            evaluation.path, candidates, shards.path, selection.path, chosen, champion
        )
        copy_model(candidates[result.winner], winner.path)
        if task == "intent":
            add_encoder(Path(winner.path))
        metrics.log_metric("winner", result.winner)
        for name, value in result.metrics.items():
            metrics.log_metric(name, value)
        return (result.gate, result.reason, model_identity(Path(winner.path))["sha256"])
