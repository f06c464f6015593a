"""The prune step: the teacher in, a structurally smaller model out."""

from kfp import dsl

from components.image import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def prune(
    task: str,
    teacher: dsl.Input[dsl.Model],
    shards: dsl.Input[dsl.Dataset],
    settings: dict,
    checkpoints: str,
    name: str,
    code: str,
    model: dsl.Output[dsl.Model],
) -> None:
    """Prunes uniformly and recovers by distillation; `code` only keys the cache."""
    from dataclasses import asdict

    from components.prune.pruning import PruneSettings, prune_model
    from components.stage import parse_settings, reported
    from components.training.checkpoint import checkpoint_folder

    with (
        reported(),
        checkpoint_folder(checkpoints, name) as folder,
        # What the teacher says of the train split serves every student of the run.
        checkpoint_folder(checkpoints, "teacher-outputs") as outputs,
    ):
        chosen = parse_settings(PruneSettings, settings, task=task, teacher_cache=outputs)
        result = prune_model(teacher.path, shards.path, model.path, chosen, folder)
        model.metadata.update(asdict(result))
