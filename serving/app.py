"""The serving process: `python -m serving.app --model DIR --port N`, or `serve` from Python."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from kg_schema.errors import DeskGraphError
from serving.settings import ServerSettings, parse_settings

_LOG = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Serves as the arguments and the environment say, until told to stop.

    Args:
        argv: Arguments without the program's name; those of the process by default.

    Returns:
        0 after an orderly stop; else the error's exit code, with one line on standard error.
    """
    try:
        serve(parse_settings(sys.argv[1:] if argv is None else argv))
    except DeskGraphError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def serve(settings: ServerSettings) -> None:
    """Serves one model directory over V1, V2 and gRPC; blocks until SIGTERM or SIGINT.

    The listeners answer at once; readiness comes when the model's manifest has been verified and
    the model is loaded.

    Raises:
        InputError: A port is taken.
        DeskGraphError: The model directory is not whole, or cannot be served.
    """
    # Idle BLAS threads spin: on busy cores they cost many times what they bring.
    os.environ.setdefault("OMP_NUM_THREADS", str(settings.threads))
    arguments, sys.argv = sys.argv, sys.argv[:1]
    try:
        # KServe reads the process's arguments when it is imported, and would take some for its own.
        from serving.model import DeskGraphModel
        from serving.server import DeskGraphServer
        from serving.telemetry import configure_logging
    finally:
        sys.argv = arguments
    configure_logging()
    DeskGraphServer(settings).start([DeskGraphModel(settings)])


if __name__ == "__main__":
    raise SystemExit(main())
