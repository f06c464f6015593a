"""What both distill steps do, with the folders that their checkpoints go to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from components.distill.distilling import DistillSettings, distill_model
from components.stage import parse_settings
from components.training.checkpoint import checkpoint_folder


def distill_step(
    task: str,
    teacher: str,
    student: str,
    shards: str,
    out: str,
    settings: Mapping[str, Any],
    checkpoints: str,
    name: str,
) -> dict[str, Any]:
    """Distills as a step does: settings by name, checkpoints under the run's location.

    Args:
        task: `intent` or `answer`.
        teacher: The teacher's directory.
        student: The student's; empty cuts one from the teacher.
        shards: The shards' directory.
        out: Where the model goes.
        settings: Fields of `DistillSettings`.
        checkpoints: Where trainings keep resume points; empty keeps none.
        name: Whose they are.

    Returns:
        What the distillation did, as plain values.

    Raises:
        InputError: A setting, the shards or a model cannot be used.
        LaunchError: A rank failed.
    """
    with (
        checkpoint_folder(checkpoints, name) as folder,
        # What the teacher says of the train split serves every student of the run.
        checkpoint_folder(checkpoints, "teacher-outputs") as outputs,
    ):
        chosen = parse_settings(DistillSettings, settings, task=task, teacher_cache=outputs)
        return asdict(distill_model(teacher, shards, out, chosen, folder, student))
