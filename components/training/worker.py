"""One rank of a training: `torchrun -m components.training.worker SPEC [RESULT]`."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import asdict, replace

from components.launch import emit, leave_with_launcher
from components.storage import in_object_store, localise
from components.training.checkpoint import checkpoint_folder
from components.training.mirror import Mirror
from components.training.run import at_hand
from components.training.session import train
from components.training.spec import TrainResult, TrainSpec, read_spec, write_result
from components.training.world import World, join_world
from kg_schema.errors import DeskGraphError


def main(arguments: list[str]) -> int:
    """Trains by a spec; its events go to standard output.

    Args:
        arguments: Location of the spec and, where whoever waits is on another machine, the
            location that the result is written to, after the model.

    Returns:
        0, or 1 after an `error` event that says what, where and how to mend it.
    """
    leave_with_launcher()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        world = join_world()
        result = _train(read_spec(localise(arguments[0])), world)
        if world.first and len(arguments) > 1:
            write_result(result, arguments[1])
    except DeskGraphError as error:
        said = {"what": error.what, "where": error.where, "fix": error.fix}
        emit("error", exit_code=error.exit_code, **said)
        return 1
    if world.first:
        emit("result", **asdict(result))
    return 0


def _train(spec: TrainSpec, world: World) -> TrainResult:
    if not in_object_store(spec.checkpoints):
        return train(spec, world, emit)
    with checkpoint_folder("", "") as folder:
        here = at_hand(replace(spec, checkpoints=folder))
        # As a launcher here sets it; without it accelerate takes more threads than asked for.
        os.environ.setdefault("OMP_NUM_THREADS", str(here.threads))
        return train(here, world, emit, Mirror(spec.checkpoints))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
