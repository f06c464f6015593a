"""The evaluate step: the four candidates side by side on the validation split."""

from kfp import dsl

from components.image import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def evaluate(
    task: str,
    teacher: dsl.Input[dsl.Model],
    pruned: dsl.Input[dsl.Model],
    distilled: dsl.Input[dsl.Model],
    pruned_distilled: dsl.Input[dsl.Model],
    shards: dsl.Input[dsl.Dataset],
    settings: dict,
    code: str,
    evaluation: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    confusion: dsl.Output[dsl.ClassificationMetrics],
) -> None:
    """Measures the models as they are served; `code` only keys the cache."""
    from components.evaluate.evaluation import EvaluateSettings, evaluate_candidates
    from components.evaluate.page import log_confusion, log_metrics
    from components.stage import parse_settings, reported

    with reported():
        chosen = parse_settings(EvaluateSettings, settings, task=task)
        candidates = {
            "teacher": teacher.path,
            "pruned": pruned.path,
            "distilled": distilled.path,
            "pruned_distilled": pruned_distilled.path,
        }
        measured = evaluate_candidates(candidates, shards.path, evaluation.path, chosen)
        log_metrics(measured, metrics)
        log_confusion(measured, confusion)
