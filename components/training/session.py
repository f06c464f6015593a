"""One training, from opened model to published directory, as one of its ranks does it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
from transformers import set_seed

from components.launch import threads_a_rank
from components.model_dir import count_parameters, quieten_transformers, save_model
from components.shards import read_manifest
from components.storage import local_path, localise, output_dir
from components.training.checkpoint import (
    content_digest,
    newest_whole,
    step_of,
    training_digest,
    training_folder,
)
from components.training.data import Collator, read_rows, require_rows
from components.training.loop import ProgressReport, TicketTrainer
from components.training.losses import Objective
from components.training.measure import measure
from components.training.mirror import Mirror
from components.training.models import adapt, freeze, merged, open_model, set_dropout
from components.training.opened import Session, Tell, read_train_rows
from components.training.precision import (
    Format,
    check_precision,
    fastest,
    in_precision,
    probe_precision,
)
from components.training.spec import TrainResult, TrainSpec
from components.training.teaching import objective_of
from components.training.world import World
from kg_schema.errors import InputError

PRECISION_NAME = "precision.json"
PROBE_ROWS = 8


def train(spec: TrainSpec, world: World, tell: Tell, mirror: Mirror | None = None) -> TrainResult:
    """Trains as one of the ranks, and as the first one publishes the model.

    Args:
        spec: The training.
        world: The ranks.
        tell: Called on rank 0 as things come along.
        mirror: Where checkpoints outlive this machine's disk; None keeps them on it alone.

    Returns:
        What the training did, the same on every rank but for times.

    Raises:
        InputError: The settings, the shards or the models cannot be used.
        ManifestError: A directory is not whole.
    """
    start = time.perf_counter()
    quieten_transformers()
    torch.set_num_threads(spec.threads or threads_a_rank(world.size))
    check_precision(spec.precision, world.device)
    session = _open(spec, world, tell if world.first else _silent, mirror)
    objective = objective_of(session)
    precision, probe = _precision(session, objective)
    resumed = _newest(session)
    report = _run(session, objective, precision, resumed)
    model = _plain(session)
    rows = read_rows(session.shards, "validation", session.tokenizer, spec.task, spec.max_length)
    figures = measure(model, rows, spec.task, session.collator, world)
    steps_before = step_of(resumed) if resumed else 0
    steps = spec.epochs * -(-len(session.rows) // spec.batch_size)
    tokens = sum(session.rows.lengths) * spec.epochs * (steps - steps_before) / steps
    if world.first:
        _publish(session, model, figures)
    return TrainResult(
        out=spec.out,
        steps=steps,
        resumed_from=steps_before,
        seconds=round(time.perf_counter() - start, 2),
        train_seconds=round(report.seconds, 2),
        tokens_per_second=round(tokens / max(report.seconds, 1e-9), 1),
        train_loss=report.train_loss,
        validation=figures,
        precision=precision,
        precision_probe=probe,
        ranks=world.size,
        params=count_parameters(model),
    )


def _silent(kind: str, **values: Any) -> None:
    """The other ranks report nothing."""


def _newest(session: Session) -> Path | None:
    # By name: on other nodes the folder is another one, with the same checkpoint from the mirror.
    found = newest_whole(session.folder) if session.world.first else None
    name = session.world.from_first(found.name if found else "")
    return session.folder / name if name else None


def _open(spec: TrainSpec, world: World, tell: Tell, mirror: Mirror | None) -> Session:
    shards = localise(spec.shards)
    manifest = read_manifest(shards)
    labels = manifest["labels"] if spec.task == "intent" else []
    if spec.task == "intent" and not labels:
        raise InputError("no labels to learn", where=spec.shards)
    set_seed(spec.seed)
    directory = localise(spec.model_dir)
    model, tokenizer = open_model(directory, spec.task, labels, spec.activation)
    if spec.dropout >= 0:
        set_dropout(model, spec.dropout)
    if spec.lora is not None:
        model = adapt(model, spec.lora, spec.task)
    freeze(model, embeddings=spec.freeze_embeddings, layers=spec.freeze_layers)
    rows = read_train_rows(spec, shards, tokenizer)
    if spec.distillation is None or not (
        spec.distillation.soft_weight or spec.distillation.hidden_weight
    ):
        rows = rows.labelled()
    contents = [content_digest(directory), content_digest(shards)]
    if spec.teacher:
        contents.append(content_digest(localise(spec.teacher)))
    folder = training_folder(local_path(spec.checkpoints), training_digest(spec, contents))
    if mirror is not None:
        mirror.restore(folder)
    return Session(
        spec=spec,
        world=world,
        shards=shards,
        manifest=manifest,
        folder=folder,
        model=model.to(world.device),
        tokenizer=tokenizer,
        rows=require_rows(rows, shards, "train"),
        collator=Collator(spec.task, tokenizer.pad_token_id),
        tell=tell,
        mirror=mirror,
    )


def _precision(session: Session, objective: Objective) -> tuple[Format, dict[str, float]]:
    spec, world = session.spec, session.world
    if spec.precision != "auto":
        return spec.precision, {}
    chosen = session.folder / PRECISION_NAME
    kept = world.from_first(_kept_precision(chosen) if world.first else None)
    if kept is not None:  # a resumed training stays with what it began in
        return fastest(kept), kept
    rows = sorted(session.rows.rows, key=lambda row: len(row.ids))
    middle = len(rows) // 2
    batch = session.collator(rows[middle : middle + PROBE_ROWS])
    batch = {name: value.to(world.device) for name, value in batch.items()}

    def step(kind: Format) -> None:
        with in_precision(kind, world.device):
            loss = objective(session.model, batch)
        torch.autograd.backward(loss)
        session.model.zero_grad(set_to_none=True)

    session.model.train()
    with torch.random.fork_rng():
        times = world.from_first(probe_precision(step, world.device))
    if world.first:
        chosen.parent.mkdir(parents=True, exist_ok=True)
        chosen.write_text(json.dumps(times), encoding="utf-8")
    return fastest(times), times


def _kept_precision(path: Path) -> dict[str, float] | None:
    try:
        times: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return times


def _run(
    session: Session, objective: Objective, precision: Format, resumed: Path | None
) -> ProgressReport:
    spec = session.spec
    report = ProgressReport(
        spec.batch_size,
        lambda count: session.tell("advance", units=count),
        lambda epoch, loss: session.tell(
            "log", line=f"{spec.what}: epoch {epoch} of {spec.epochs}, loss {loss:.3f}"
        ),
    )
    trainer = TicketTrainer(
        spec,
        session.model,
        session.rows,
        objective=objective,
        collator=session.collator,
        world=session.world,
        precision=precision,
        folder=session.folder,
        mirror=session.mirror,
    )
    trainer.add_callback(report)
    steps = spec.epochs * -(-len(session.rows) // spec.batch_size)
    left = steps - (step_of(resumed) if resumed else 0)
    session.tell("start", what=f"{spec.what} ({precision})", total=left * spec.batch_size)
    trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    return report


def _plain(session: Session) -> Any:
    if hasattr(session.model, "hidden_projection"):
        del session.model.hidden_projection
    model = merged(session.model)
    model.config.use_cache = True
    return model


def _publish(session: Session, model: Any, figures: dict[str, float]) -> None:
    spec = session.spec
    lineage = {"data": content_digest(session.shards), "max_length": spec.max_length}
    if spec.teacher:
        lineage["parent"] = content_digest(localise(spec.teacher))
    if figures:
        lineage["validation"] = figures
    with output_dir(spec.out) as out:
        save_model(
            model.to("cpu"),
            session.tokenizer,
            out,
            task=spec.task,
            compression=dict(spec.compression) if spec.compression is not None else None,
            **{**lineage, **spec.lineage},
        )
