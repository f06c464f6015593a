"""Starts one training, as torchrun ranks or in this process, and returns what it did."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from components.base_model import find_base, found_everywhere
from components.launch import Event, LaunchError, follow, threads_a_rank
from components.storage import local_path, localise
from components.training.checkpoint import drop_checkpoints
from components.training.spec import TrainResult, TrainSpec, write_spec
from kg_schema.errors import DeskGraphError, InputError
from kg_schema.progress import Progress

logger = logging.getLogger(__name__)

WORKER = "components.training.worker"


def run_training(spec: TrainSpec) -> TrainResult:
    """Trains as `spec` says and publishes the model at `spec.out`.

    Without a trainer, `spec.ranks` processes of this machine do; a single rank without an
    accelerator is this process: a launcher and a second start of torch would cost more than a
    small training does. With one, it starts a TrainJob, watches it and fetches its model.

    Goes on from the newest whole checkpoint under `spec.checkpoints`, if there is one of this same
    training; those checkpoints are dropped on success. Interrupting it ends every rank.

    Raises:
        InputError: The spec, the shards or the models cannot be used.
        LaunchError: A rank failed; the message ends with the rank's last lines.
        ClusterError: The cluster refuses or stays away.
    """
    follower = _Follower()
    if spec.trainer:
        return _on_a_cluster(spec, follower)
    here = at_hand(spec)
    with follower:
        result = _alone(here, follower) if _needs_no_launcher(here) else _launched(here, follower)
    drop_checkpoints(Path(here.checkpoints))
    return result


def at_hand(spec: TrainSpec) -> TrainSpec:
    """Returns the same training with what it reads on this machine, and its threads.

    Raises:
        InputError: Something cannot be found.
    """
    named = found_everywhere(spec.model_dir)
    model = find_base(spec.model_dir) if named else localise(spec.model_dir)
    return replace(
        spec,
        model_dir=str(model.absolute()),
        shards=str(localise(spec.shards).absolute()),
        teacher=str(localise(spec.teacher).absolute()) if spec.teacher else "",
        checkpoints=str(local_path(spec.checkpoints).absolute()),
        threads=spec.threads or threads_a_rank(spec.ranks),
    )


def _on_a_cluster(spec: TrainSpec, follower: _Follower) -> TrainResult:
    from components.training.train_job import run_train_job

    try:
        with follower:
            return run_train_job(spec, follower.take)
    except LaunchError as error:
        raise follower.error or error from None


def _needs_no_launcher(spec: TrainSpec) -> bool:
    if spec.ranks > 1:
        return False
    import torch

    # With several accelerators in sight, the trainer would spread itself over all of them.
    return not torch.cuda.is_available()


def _alone(spec: TrainSpec, follower: _Follower) -> TrainResult:
    from components.training.session import train
    from components.training.world import join_world

    def tell(kind: str, **values: Any) -> None:
        follower.take({"event": kind, **values})

    return train(spec, join_world(), tell)


def _launched(spec: TrainSpec, follower: _Follower) -> TrainResult:
    with tempfile.TemporaryDirectory(prefix="deskgraph-train-") as folder:
        path = Path(folder) / "spec.json"
        write_spec(spec, path)
        try:
            follow(
                WORKER,
                [str(path)],
                ranks=spec.ranks,
                threads=spec.threads,
                on_event=follower.take,
            )
        except LaunchError as error:
            raise follower.error or error from None
    if follower.result is None:
        raise LaunchError("the ranks ended without a result", where=spec.what)
    return follower.result


class _Follower:
    """Turns the ranks' events into progress lines, a result or an error."""

    def __init__(self) -> None:
        self.result: TrainResult | None = None
        self.error: DeskGraphError | None = None
        self._progress: Progress | None = None

    def __enter__(self) -> _Follower:
        return self

    def __exit__(self, *ended: object) -> None:
        self._close()

    def take(self, event: Event) -> None:
        """Handles one event."""
        values = {name: value for name, value in event.items() if name != "event"}
        match event["event"]:
            case "start":
                self._close()
                self._progress = Progress(values["total"], values["what"])
                self._progress.__enter__()
            case "advance":
                if self._progress is not None:
                    self._progress.advance(values["units"])
            case "log":
                logger.info("%s", values["line"])
            case "error":
                kind = InputError if values.pop("exit_code") == InputError.exit_code else None
                self.error = self.error or (kind or DeskGraphError)(
                    values["what"], where=values["where"], fix=values["fix"]
                )
            case "result":
                self.result = TrainResult(**values)

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.__exit__(None, None, None)
            self._progress = None
