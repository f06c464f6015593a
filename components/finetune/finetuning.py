"""Fine-tunes a base model on tickets with torchrun ranks; the result is the teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from components.base_model import find_base, found_everywhere
from components.training import Lora, TrainResult, TrainSpec, run_training
from components.training.checkpoint import content_digest

LORA_RANK = 8


@dataclass(frozen=True)
class FinetuneSettings:
    """How the teacher is trained; `TrainSpec` says what each means to the loop.

    The defaults are all-MiniLM-L6-v2's, chosen on validation rows of BANKING77: a head starting
    from nothing wants a rate ten times the body's, and frozen embeddings (half of the model) cost
    no accuracy and save their share of the optimizer and of what the ranks exchange.

    Args:
        task: `intent` or `answer`.
        epochs: Passes over the train split.
        batch_size: Rows a step over all ranks.
        learning_rate: Peak rate of the body.
        head_learning_rate: Peak rate of pooler and classifier (task `intent`); 0 takes the body's.
        warmup: Share of the steps over which the rate rises.
        weight_decay: AdamW's.
        label_smoothing: Share of the label's mass spread over all classes.
        max_length: Tokens a row is cut to.
        seed: Of head, order and dropout.
        ranks: Processes on each node.
        nodes: Machines or pods that take part; more than one wants a trainer.
        trainer: What runs the ranks: empty is this machine, `trainjob://NAMESPACE/RUNTIME` a
            TrainJob by that TrainingRuntime.
        threads: Threads a rank; 0 shares the cores out.
        precision: `auto` probes.
        freeze_embeddings: The embeddings keep their values.
        freeze_layers: Lowest layers that keep their values.
        lora_rank: Rank of the adapters; 0 trains the weights themselves; -1 takes 8 for task
            `answer` and 0 for `intent`.
        lora_targets: Comma-separated names of the adapted modules; empty adapts every linear.
    """

    task: Literal["intent", "answer"] = "intent"
    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 2e-4
    head_learning_rate: float = 1e-3
    warmup: float = 0.1
    weight_decay: float = 0.01
    label_smoothing: float = 0.0
    max_length: int = 64
    seed: int = 7
    ranks: int = 2
    nodes: int = 1
    trainer: str = ""
    threads: int = 0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    freeze_embeddings: bool = True
    freeze_layers: int = 0
    lora_rank: int = -1
    lora_targets: str = ""

    @property
    def lora(self) -> Lora | None:
        """The adapters asked for."""
        rank = self.lora_rank
        if rank < 0:
            rank = LORA_RANK if self.task == "answer" else 0
        if not rank:
            return None
        targets = tuple(name.strip() for name in self.lora_targets.split(",") if name.strip())
        return Lora(r=rank, alpha=2 * rank, targets=targets)


@dataclass(frozen=True)
class FinetuneResult:
    """What fine-tuning did; the model itself is the directory at `out`.

    Args:
        out: Location of the teacher's directory.
        base_model: What it was made from, as it was named.
        base_sha256: Digest of the base model's contents.
        training: What the training did.
    """

    out: str
    base_model: str
    base_sha256: str
    training: TrainResult


def finetune_model(
    shards: str, base_model: str, out: str, settings: FinetuneSettings, checkpoints: str
) -> FinetuneResult:
    """Fine-tunes a base model on the train split and publishes a plain Hugging Face directory.

    Args:
        shards: Location of the shards.
        base_model: `minilm`, a location, or `owner/name` on the Hub.
        out: Location of the result, published whole or not at all.
        settings: How to train.
        checkpoints: Folder private to this training, resumed from after a break; with a trainer
            an `s3://` location, like `shards`.

    Raises:
        InputError: The shards, the base model or a setting cannot be used.
        ManifestError: A directory is not whole.
        LaunchError: A rank failed.
        ClusterError: The trainer's cluster refuses or stays away.
    """
    base = find_base(base_model)
    digest = content_digest(base)
    by_name = bool(settings.trainer) and found_everywhere(base_model)
    training = run_training(
        TrainSpec(
            task=settings.task,
            model_dir=base_model if by_name else str(base),
            shards=shards,
            out=out,
            checkpoints=checkpoints,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            head_learning_rate=settings.head_learning_rate,
            warmup=settings.warmup,
            weight_decay=settings.weight_decay,
            label_smoothing=settings.label_smoothing,
            max_length=settings.max_length,
            seed=settings.seed,
            ranks=settings.ranks,
            nodes=settings.nodes,
            trainer=settings.trainer,
            threads=settings.threads,
            precision=settings.precision,
            freeze_embeddings=settings.freeze_embeddings and settings.lora is None,
            freeze_layers=settings.freeze_layers,
            lora=settings.lora,
            lineage={"base_model": base_model, "base_sha256": digest},
            what="fine-tune",
        )
    )
    return FinetuneResult(out, base_model, digest, training)
