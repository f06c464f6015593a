"""The distill steps: a teacher in, and a small model or a pruned one taught by it out."""

# Two components: an input artifact that may be absent cannot be read in a pod (kfp 2.17).

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
) -> None:
    """Cuts a small student from the teacher and teaches it; `code` only keys the cache."""
    from components.distill.step import distill_step
    from components.stage import reported

    with reported():
        done = distill_step(
            task, teacher.path, "", shards.path, model.path, settings, checkpoints, name
        )
        model.metadata.update(done)


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def distill_into(
    task: str,
    teacher: dsl.Input[dsl.Model],
    student: dsl.Input[dsl.Model],
    shards: dsl.Input[dsl.Dataset],
    settings: dict,
    checkpoints: str,
    name: str,
    code: str,
    model: dsl.Output[dsl.Model],
) -> None:
    """Teaches a given student; `code` only keys the cache."""
    from components.distill.step import distill_step
    from components.stage import reported

    with reported():
        done = distill_step(
            task, teacher.path, student.path, shards.path, model.path, settings, checkpoints, name
        )
        model.metadata.update(done)
