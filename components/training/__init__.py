"""Training shared by fine-tuning, recovery after pruning, and distillation.

A stage describes one training as a `TrainSpec` and calls `run_training(spec)`, which starts the
ranks, shows progress and returns a `TrainResult`. Importing this imports no torch.
"""

from components.training.run import run_training
from components.training.spec import (
    Distillation,
    Divergence,
    Lora,
    Relation,
    TrainResult,
    TrainSpec,
    read_spec,
    write_spec,
)

__all__ = [
    "Distillation",
    "Divergence",
    "Lora",
    "Relation",
    "TrainResult",
    "TrainSpec",
    "read_spec",
    "run_training",
    "write_spec",
]
