"""How much accuracy a pruning may cost, round by round."""

from __future__ import annotations

import logging
from typing import Any

from components.model_dir import load_model
from components.prune.settings import PruneError
from components.prune.work import Work
from kg_schema.errors import InputError

logger = logging.getLogger(__name__)


class Budget:
    """Compares rounds with the teacher on the validation split.

    Args:
        work: The pruning.

    Attributes:
        told: What compression.json says of it.

    Raises:
        InputError: Nothing in the validation split is labelled.
    """

    def __init__(self, work: Work) -> None:
        self._most = work.settings.max_loss_points
        figures = work.validate(*load_model(work.teacher))
        if not figures:
            raise InputError(
                "max_loss_points needs labelled rows in split 'validation'",
                where=str(work.shards),
                fix="set it to 0, or label some",
            )
        self._teacher = figures["accuracy"]
        self.told = {"max_loss_points": self._most, "teacher_accuracy": self._teacher}

    def holds(self, rounds: list[dict[str, Any]]) -> bool:
        """Judges the last of the rounds and notes it there.

        Raises:
            PruneError: It is the first one and loses too much.
        """
        last = rounds[-1]
        lost = 100 * (self._teacher - last["validation"]["accuracy"])
        last["within_budget"] = lost <= self._most + 1e-9
        if last["within_budget"]:
            return True
        if len(rounds) == 1:
            raise PruneError(
                f"the first round loses {lost:.2f} points of validation accuracy",
                where=f"max_loss_points {self._most}",
                fix="use more rounds or round_epochs, or larger shares",
            )
        logger.warning(
            "round %d loses %.2f points, more than %s: the result is round %d",
            last["round"],
            lost,
            self._most,
            last["round"] - 1,
        )
        return False
