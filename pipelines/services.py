"""What commands start around their work and stop after it: the graph server, the environment."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kg_schema.connection import GraphSettings
from kg_schema.errors import InputError
from kg_schema.local import RunningServer, attach, start_server

PORT_NOTE = "port"
STARTER_NOTE = "starter"
ENGINE_NOTE = "engine"

logger = logging.getLogger(__name__)


@contextmanager
def local_graph(folder: Path, engine: str = "embedded") -> Iterator[RunningServer]:
    """Gives a data folder's graph server; one that did not run is stopped again.

    So is one that a killed command left running; one that `deskgraph graph start` started stays.

    Raises:
        ServerError: It does not come up.
    """
    running = attach(folder) if folder.exists() else None
    ours = running is None or _left_behind(folder, running)
    server = running or _start(folder, engine)
    if ours:
        (folder / STARTER_NOTE).write_text(f"{os.getpid()} {server.pid}", encoding="utf-8")
    try:
        yield server
    finally:
        if ours:
            server.stop()
            (folder / STARTER_NOTE).unlink(missing_ok=True)


def _left_behind(folder: Path, server: RunningServer) -> bool:
    """Whether a command that is gone started this very server."""
    try:
        starter, started = (folder / STARTER_NOTE).read_text(encoding="utf-8").split()
    except (FileNotFoundError, ValueError):
        return False
    if int(started) != server.pid:
        return False  # an older note: somebody else has started this one since
    try:
        os.kill(int(starter), 0)
    except ProcessLookupError:
        return True
    return False


@contextmanager
def graph_of(run: Path, uri: str = "") -> Iterator[GraphSettings | None]:
    """Gives the graph to answer over: the one named, NEO4J_URI's, or the run's own.

    Args:
        run: A run's `--out`.
        uri: `--graph-uri`; empty looks further.

    Yields:
        How to reach it; None where the run has no graph.
    """
    if named := uri or os.environ.get("NEO4J_URI", ""):
        yield GraphSettings.from_env(named)
        return
    mark = run / "graph" / ENGINE_NOTE
    if not mark.exists():
        yield None
        return
    with local_graph(run / "graph", mark.read_text(encoding="utf-8").strip()) as server:
        yield server.settings()


def _start(folder: Path, engine: str) -> RunningServer:
    # The address is a parameter of cached steps: the same port keeps what they made.
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / PORT_NOTE
    port = int(note.read_text(encoding="utf-8")) if note.exists() else 0
    try:
        server = start_server(engine, folder, port)
    except InputError:
        if not port:
            raise
        logger.info("port %d is taken now; another is chosen", port)
        server = start_server(engine, folder)
    note.write_text(server.uri.rsplit(":", 1)[1], encoding="utf-8")
    return server


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Sets environment variables for this process and its children, and restores them."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
