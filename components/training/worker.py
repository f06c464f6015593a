"""One rank of a training: `torchrun -m components.training.worker SPEC.json`."""

from __future__ import annotations

import logging
import sys
from dataclasses import asdict
from pathlib import Path

from components.launch import emit, leave_with_launcher
from components.training.session import train
from components.training.spec import read_spec
from components.training.world import join_world
from kg_schema.errors import DeskGraphError


def main(arguments: list[str]) -> int:
    """Trains by the spec that the one argument names; its events go to standard output.

    Returns:
        0, or 1 after an `error` event that says what, where and how to mend it.
    """
    leave_with_launcher()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        world = join_world()
        result = train(read_spec(Path(arguments[0])), world, emit)
    except DeskGraphError as error:
        said = {"what": error.what, "where": error.where, "fix": error.fix}
        emit("error", exit_code=error.exit_code, **said)
        return 1
    if world.first:
        emit("result", **asdict(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
