"""What an export is asked for and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from kg_schema.errors import DeskGraphError, InputError

Task = Literal["intent", "answer"]
Precision = Literal["auto", "int8", "fp32"]


class ExportError(DeskGraphError):
    """No exported graph says what the model says."""


@dataclass(frozen=True)
class ExportSettings:
    """How a model is exported, and how closely the graph must follow it.

    Args:
        task: What the model does.
        precision: `auto` takes int8 if it passes the gate and is faster on this machine.
        min_agreement: Least share of validation rows (tokens, for `answer`) on which graph and
            model choose the same class.
        max_accuracy_loss: Most points of validation accuracy that the graph may lose.
        gate_rows: Rows of the validation split that are compared, evenly spaced; 0 takes all.
        calibration_rows: Rows of the train split on which int8 learns the range of activations.
        probe_tokens: Length of the row that is timed.
        probe_repeats: Times each graph is timed.
        threads: Of ONNX Runtime, as served.
        out_of_scope_label: The label of tickets that are none of our business; empty takes the
            one of `OUT_OF_SCOPE` that the labels hold, if there is one.
        max_rejected: Most of the rightly answered in-scope validation rows that the confidence
            threshold may turn away.
    """

    task: Task = "intent"
    precision: Precision = "auto"
    min_agreement: float = 0.995
    max_accuracy_loss: float = 0.2
    gate_rows: int = 2000
    calibration_rows: int = 256
    probe_tokens: int = 32
    probe_repeats: int = 40
    threads: int = 1
    out_of_scope_label: str = ""
    max_rejected: float = 0.02

    def __post_init__(self) -> None:
        """Refuses settings that no export can run with.

        Raises:
            InputError: A setting is out of its range.
        """
        if self.precision not in ("auto", "int8", "fp32"):
            raise InputError(f"precision is {self.precision!r}", fix="use auto, int8 or fp32")
        if not 0.0 < self.min_agreement <= 1.0:
            raise InputError(f"min_agreement is {self.min_agreement}", fix="use a share")
        if not 0.0 <= self.max_rejected < 1.0:
            raise InputError(f"max_rejected is {self.max_rejected}", fix="use a share below 1")
        for name in ("calibration_rows", "probe_tokens", "probe_repeats", "threads"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}", fix="use 1 or more")
        if self.gate_rows < 0:
            raise InputError(f"gate_rows is {self.gate_rows}", fix="use 0 or more")


@dataclass(frozen=True)
class ExportResult:
    """What an export did; the model itself is the directory at `out`.

    Args:
        out: Location of the exported model's directory.
        precision: `int8` or `fp32`.
        recipe: Name of the quantisation that passed; `fp32` without one.
        agreement: As in `onnx/serving.json`.
        milliseconds: Median time of one row, by graph that was timed.
        temperature: Divides the logits before the softmax.
        out_of_scope_threshold: Least confidence of an answer.
        megabytes: Size of the graph.
    """

    out: str
    precision: str
    recipe: str
    agreement: Mapping[str, float | str]
    milliseconds: Mapping[str, float]
    temperature: float
    out_of_scope_threshold: float
    megabytes: float
