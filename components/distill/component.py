"""The distill step: a teacher and a student (or the wish for a small one) in, a model out."""

from typing import Optional

from kfp import dsl

from components.image import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def distill(
    task: str,
    teacher: dsl.Input[dsl.Model],
    shards: dsl.Input[dsl.Dataset],
    settings: dict,
    checkpoints: str,
    name: str,
    code: str,
    model: dsl.Output[dsl.Model],
    student: Optional[dsl.Input[dsl.Model]] = None,  # noqa: UP045  kfp reads Optional only
) -> None:
    """Distills the teacher into the student; without one a smaller shape is cut and taught."""
    from dataclasses import asdict

    from components.distill.distilling import DistillSettings, distill_model
    from components.stage import parse_settings, reported
    from components.training.checkpoint import checkpoint_folder

    with (
        reported(),
        checkpoint_folder(checkpoints, name) as folder,
        # What the teacher says of the train split serves every student of the run.
        checkpoint_folder(checkpoints, "teacher-outputs") as outputs,
    ):
        chosen = parse_settings(DistillSettings, settings, task=task, teacher_cache=outputs)
        given = student.path if student is not None else ""
        result = distill_model(teacher.path, shards.path, model.path, chosen, folder, given)
        model.metadata.update(asdict(result))
