"""What one training is: a frozen description that travels to every rank as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from components.storage import output_file
from kg_schema.errors import InputError

Task = Literal["intent", "answer"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Divergence = Literal["forward", "reverse", "jsd"]
Relation = Literal["states", "attention"]

RANKS = 2


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters (Hu et al. 2021), trained in place of the weights, merged before saving.

    Args:
        r: Rank of each adapter.
        alpha: Scale; the update is multiplied by alpha / r.
        dropout: Dropout before the adapter.
        targets: Names of the linear modules adapted; empty takes every linear but the head.
    """

    r: int = 8
    alpha: int = 16
    dropout: float = 0.0
    targets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Distillation:
    """How much a student learns from its teacher and how much from the labels.

    The loss is `soft_weight * T^2 * D(teacher_T, student_T) + hard_weight * CE + hidden_weight
    * hidden distance` (Hinton et al. 2015; Sanh et al. 2019). For task `answer`
    D is taken token by token over the target.

    Args:
        temperature: T, softens both distributions.
        divergence: D: `forward` KL(teacher || student), `reverse` KL(student || teacher), or `jsd`,
            the generalised Jensen-Shannon divergence with beta 0.5.
        top_k: For task `answer`: tokens whose probabilities are kept of the teacher at each target
            token, everything else being one more class; read once, 6 * `top_k` + 2 bytes a target
            token. They are taken at `temperature`, so another one reads the teacher anew. 0 runs
            the teacher along and compares all tokens.
        relation: What `hidden_weight` weighs: `states`, the cosine distance of hidden states
            through projections to the teacher's width; or `attention`, KL(teacher || student) of
            the last layers' query, key and value relations (Wang et al. 2021), for which the
            teacher runs along.
        relation_heads: Equal parts that every width of both models is cut into for `attention`;
            0 takes as many as fit, up to the teacher's attention heads.
        soft_weight: Weight of the teacher's logits.
        hard_weight: Weight of the labels; rows without a label add nothing to this term.
        hidden_weight: Weight of what lies behind the logits; 0 neither caches nor compares it.
            Wants a student of the teacher's family that reads its tokens or some of them.
        layer_map: Pairs (student layer, teacher layer), 1-based, whose outputs are compared;
            empty spreads the student's layers evenly over the teacher's, last on last.
        cache: Folder of the teacher's cached outputs, shared by the trainings that name it;
            empty keeps them under the training's checkpoints.
        augment: Copies of each train row with other words (`components.training.augment`), which
            the teacher reads and no label goes with; an epoch is 1 + `augment` times as long.
            Task `intent` only.
        probe: Largest share of the teacher's distribution that a linear probe on the base model's
            frozen embeddings (`components.training.probe`) takes; the validation split decides how
            much of it helps. 0 for none. Task `intent` only.
        base_model: That base model, as in fine-tuning; wanted with `probe`.
    """

    temperature: float = 2.0
    soft_weight: float = 1.0
    hard_weight: float = 0.5
    hidden_weight: float = 0.0
    layer_map: tuple[tuple[int, int], ...] = ()
    cache: str = ""
    augment: int = 0
    probe: float = 0.0
    base_model: str = ""
    divergence: Divergence = "forward"
    top_k: int = 0
    relation: Relation = "states"
    relation_heads: int = 0

    def require_fit(self, task: Task) -> None:
        """Refuses terms that no training of this task can learn from.

        Raises:
            InputError: A setting is out of its range or is not for this task.
        """
        if self.temperature <= 0:
            raise InputError(f"temperature is {self.temperature}", fix="use a positive one")
        for name, known in (("divergence", Divergence), ("relation", Relation)):
            if getattr(self, name) not in get_args(known):
                raise InputError(
                    f"unknown {name} {getattr(self, name)!r}",
                    fix=f"use one of {', '.join(get_args(known))}",
                )
        for name in ("augment", "top_k", "relation_heads"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}", fix="use 0 or more")
        if self.top_k and task == "intent":
            raise InputError(
                "top_k is for task answer", fix="set it to 0: a classifier's logits are kept whole"
            )
        if self.augment and task == "answer":
            raise InputError(
                "changed texts have no answers to learn", fix="set augment to 0 for task answer"
            )
        if not 0 <= self.probe <= 1:
            raise InputError(f"probe is {self.probe}", fix="use a share from 0 to 1")
        if self.probe and task == "answer":
            raise InputError("a probe names intents", fix="set probe to 0 for task answer")
        if self.augment and not (self.soft_weight or self.hidden_weight):
            raise InputError(
                "changed texts have no labels to learn", fix="use a soft_weight or set augment to 0"
            )


@dataclass(frozen=True)
class TrainSpec:
    """One training, the same on every rank; JSON through `write_spec` and `read_spec`.

    Args:
        task: `intent` (sequence classification) or `answer` (causal language model).
        model_dir: Location of the model that is trained (a Hugging Face directory). For `intent` a
            directory without a classification head gets a fresh one for the shards' labels. With
            a `trainer` it may be a base model's name that every pod finds.
        shards: Location of the shards; the train split is trained on.
        out: Location of the trained model's directory, published whole or not at all.
        checkpoints: Folder private to this training; resumed from, emptied on success. With a
            `trainer` an `s3://` location, through which all that the ranks read and write goes.
        teacher: Location of the teacher's directory; wanted with `distillation`, which no
            `trainer` runs.
        epochs: Passes over the train split.
        batch_size: Rows a step over all ranks together; a multiple of `ranks` x `nodes`.
        learning_rate: Peak rate of the body.
        head_learning_rate: Peak rate of the pooler, the classification head and the distillation's
            projections; 0 takes `learning_rate`.
        warmup: Share of the steps over which the rate rises; it falls linearly after.
        weight_decay: AdamW's, on matrices only.
        max_grad_norm: Gradients are clipped to this norm.
        label_smoothing: Share of the label's mass spread over all classes.
        dropout: Of hidden states and attention, while training; negative keeps the model's own.
        activation: Of the feed-forward blocks, as transformers names it, in the published model
            too; empty keeps the model's own.
        max_length: Tokens a row is cut to (prompt and target together for `answer`).
        seed: Of the head's initialisation, the order of rows and dropout.
        ranks: Processes on each node.
        nodes: Machines or pods that take part; more than one wants a `trainer`.
        trainer: What runs the ranks: empty is this machine, `trainjob://NAMESPACE/RUNTIME` a
            TrainJob (see `components.training.train_job`).
        threads: Threads a rank; 0 divides the cores that a node may use by `ranks`.
        precision: `auto` times fp32 against bf16 at the start and takes bf16 if faster.
        freeze_embeddings: Word, position and type embeddings keep their values.
        freeze_layers: Lowest encoder layers that keep their values.
        lora: Adapters in place of the weights; None trains the weights.
        distillation: Learning from `teacher`; None learns from labels alone.
        compression: Written to `out` as compression.json when given.
        lineage: Extra keys for the published manifest.
        what: First words of the progress lines.
    """

    task: Task
    model_dir: str
    shards: str
    out: str
    checkpoints: str
    teacher: str = ""
    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 1e-4
    head_learning_rate: float = 0.0
    warmup: float = 0.1
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    label_smoothing: float = 0.0
    dropout: float = -1.0
    activation: str = ""
    max_length: int = 64
    seed: int = 7
    ranks: int = RANKS
    nodes: int = 1
    trainer: str = ""
    threads: int = 0
    precision: Precision = "auto"
    freeze_embeddings: bool = False
    freeze_layers: int = 0
    lora: Lora | None = None
    distillation: Distillation | None = None
    compression: Mapping[str, Any] | None = None
    lineage: Mapping[str, Any] = field(default_factory=dict)
    what: str = "train"

    def __post_init__(self) -> None:
        """Refuses settings that no training can run with.

        Raises:
            InputError: A setting is out of its range or two contradict each other.
        """
        if self.task not in ("intent", "answer"):
            raise InputError(f"unknown task {self.task!r}", fix="use intent or answer")
        if self.precision not in ("auto", "fp32", "bf16", "fp16"):
            raise InputError(
                f"unknown precision {self.precision!r}", fix="use auto, fp32, bf16 or fp16"
            )
        for name in ("epochs", "batch_size", "ranks", "nodes", "max_length"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}", fix="use 1 or more")
        if self.learning_rate <= 0:
            raise InputError(f"learning_rate is {self.learning_rate}", fix="use a positive rate")
        if self.nodes > 1 and not self.trainer:
            raise InputError(
                f"{self.nodes} nodes and nothing that runs them",
                fix="set trainer to trainjob://NAMESPACE/RUNTIME, or nodes to 1",
            )
        if self.trainer and self.teacher:
            raise InputError(
                "a trainer's pods are taught by no teacher",
                where=self.trainer,
                fix="distil where the step runs: leave trainer empty",
            )
        world = self.ranks * self.nodes
        if self.batch_size % world:
            raise InputError(
                f"batch_size {self.batch_size} does not divide by {world} ranks",
                fix="use a multiple of the ranks",
            )
        if self.distillation is not None and not self.teacher:
            raise InputError("distillation without a teacher", fix="name the teacher's directory")
        if self.distillation is not None:
            self.distillation.require_fit(self.task)
            if self.distillation.probe and not self.distillation.base_model:
                raise InputError(
                    "the teacher names no base model to probe",
                    where=self.teacher,
                    fix="set probe to 0, or fine-tune the teacher with `deskgraph`",
                )


@dataclass(frozen=True)
class TrainResult:
    """What a training did; the model itself is the directory at `out`.

    Args:
        out: Location of the trained model's directory.
        steps: Optimizer steps of the whole training.
        resumed_from: Step of the checkpoint it went on from; 0 from the beginning.
        seconds: Wall time of the last start, set-up included.
        train_seconds: Wall time of its steps alone.
        tokens_per_second: Non-padding tokens trained on, all ranks together.
        train_loss: Mean loss of the last epoch.
        validation: Measured on the validation split; `accuracy` and `loss` (`perplexity` too for
            task `answer`, whose accuracy is of next tokens of the target); empty without rows.
        precision: What it was trained in.
        precision_probe: Milliseconds a step, by precision, where they were timed.
        ranks: Processes that trained.
        params: `{"total", "encoder"}` of the saved model.
    """

    out: str
    steps: int
    resumed_from: int
    seconds: float
    train_seconds: float
    tokens_per_second: float
    train_loss: float
    validation: Mapping[str, float]
    precision: str
    precision_probe: Mapping[str, float]
    ranks: int
    params: Mapping[str, int]


def write_spec(spec: TrainSpec, path: Path) -> None:
    """Writes `spec` as JSON."""
    path.write_text(json.dumps(asdict(spec), indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_spec(path: Path) -> TrainSpec:
    """Reads what `write_spec` wrote.

    Raises:
        InputError: The file is missing, not JSON, or has keys that no `TrainSpec` has.
    """
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"no training spec: {error}", where=str(path)) from error
    unknown = set(row) - {entry.name for entry in fields(TrainSpec)}
    if unknown:
        raise InputError(f"unknown settings {sorted(unknown)}", where=str(path))
    if row.get("lora"):
        row["lora"] = Lora(**{**row["lora"], "targets": tuple(row["lora"]["targets"])})
    if row.get("distillation"):
        pairs = tuple((int(low), int(high)) for low, high in row["distillation"]["layer_map"])
        row["distillation"] = Distillation(**{**row["distillation"], "layer_map": pairs})
    return TrainSpec(**row)


def write_result(result: TrainResult, location: str) -> None:
    """Writes `result` as JSON to a location.

    Raises:
        StorageError: It cannot be written.
    """
    with output_file(location) as path:
        path.write_text(json.dumps(asdict(result)), encoding="utf-8")


def read_result(path: Path) -> TrainResult:
    """Reads what `write_result` wrote."""
    return TrainResult(**json.loads(path.read_text(encoding="utf-8")))
