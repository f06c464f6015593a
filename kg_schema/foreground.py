"""A graph server as a pod's main process: `python -m kg_schema.foreground --data DIR`.

It binds the address it is told, takes its password from NEO4J_PASSWORD, says what the server says
on its own output, and ends with the server: at SIGTERM in order, by itself with exit code 1.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from kg_schema.errors import DeskGraphError, InputError
from kg_schema.local import RunningServer, ServerError, start_server
from kg_schema.ports import LOOPBACK
from kg_schema.recipes import Memory

PASSWORD_VARIABLE = "NEO4J_PASSWORD"  # noqa: S105 - the variable's name
LEAST_PASSWORD_CHARACTERS = 8
WATCH_S = 1.0

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Runs the embedded server until SIGTERM or SIGINT.

    Args:
        argv: Arguments without the program's name; those of the process by default.
        environment: Where the password is read.

    Returns:
        0 after an orderly stop; else the error's exit code, with one line on standard error.
    """
    arguments = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    # Told to stop while it starts, it takes the server with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(arguments, _password(environment))
    except DeskGraphError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


def _run(arguments: argparse.Namespace, password: str) -> int:
    server: RunningServer | None = None
    try:
        server = start_server(
            "embedded",
            arguments.data,
            arguments.port,
            host=arguments.host,
            password=password,
            memory=Memory(heap_mb=arguments.heap_mb),
            output=sys.stdout.buffer,
        )
        while server.alive():
            time.sleep(WATCH_S)
    except KeyboardInterrupt:
        logger.info("told to stop")
        if server is not None:
            server.stop()
        return 0
    raise ServerError("the server has ended by itself", where=str(server.data_dir))


def _password(environment: Mapping[str, str]) -> str:
    password = environment.get(PASSWORD_VARIABLE, "")
    if len(password) < LEAST_PASSWORD_CHARACTERS:
        raise InputError(
            f"needs a password of {LEAST_PASSWORD_CHARACTERS} characters or more",
            where=PASSWORD_VARIABLE,
            fix="set it, in a pod from the secret deskgraph-graph",
        )
    return password


def build_parser() -> argparse.ArgumentParser:
    """Builds the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m kg_schema.foreground",
        description="Runs the embedded graph server until it is told to stop.",
        epilog=f"Its password is read from {PASSWORD_VARIABLE}; the user is root.",
        allow_abbrev=False,
    )
    parser.add_argument("--data", type=Path, required=True, help="folder for its data")
    parser.add_argument("--host", default=LOOPBACK, help="address to bind (default: loopback)")
    parser.add_argument(
        "--port", type=int, default=7687, help="Bolt port; HTTP is the next (default: 7687)"
    )
    parser.add_argument("--heap-mb", type=int, default=512, help="Java's heap (default: 512)")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
