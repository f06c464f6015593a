"""Starts a graph server for a laptop: on loopback unless told, its data kept in a named folder.

A data folder belongs to one server. `server.json` in it says which process serves it, `password`
(mode 0600) holds the random password, `server.log` what the server said. Starting where one is
already running gives that one back. A server outlives the process that started it until it is
stopped.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from kg_schema.connection import GraphSettings
from kg_schema.engines import Engine, Refused
from kg_schema.errors import DeskGraphError, InputError
from kg_schema.ports import LOOPBACK, free_ports, reached_at, taken
from kg_schema.recipes import Memory, Recipe, recipe_for

READY_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 30.0
POLL_S = 0.1
PORT_ATTEMPTS = 3
DATABASE = "deskgraph"
LOG_TAIL_LINES = 5

logger = logging.getLogger(__name__)


class ServerError(DeskGraphError):
    """The server of a data folder does not start, answer or stop."""


@dataclass(frozen=True)
class RunningServer:
    """A server that answers.

    Attributes:
        uri: Bolt address.
        username: User to log in as.
        password: Its password.
        database: The database to use.
        pid: Process id of the server itself.
        http_uri: HTTP address, which the embedded engine alone has.
        data_dir: The folder its data is in.
        engine: Which engine it is.
    """

    uri: str
    username: str
    password: str = field(repr=False)
    database: str
    pid: int
    http_uri: str
    data_dir: Path
    engine: Engine

    def settings(self) -> GraphSettings:
        """How to connect to it."""
        return GraphSettings(
            uri=self.uri,
            username=self.username,
            password=self.password,
            database=self.database,
            http_uri=self.http_uri,
        )

    def environment(self) -> dict[str, str]:
        """The environment in which `GraphSettings.from_env` finds it."""
        return {
            "NEO4J_URI": self.uri,
            "NEO4J_USERNAME": self.username,
            "NEO4J_PASSWORD": self.password,
            "NEO4J_DATABASE": self.database,
            "NEO4J_HTTP_URI": self.http_uri,
        }

    def alive(self) -> bool:
        """Whether its process lives; that says nothing of whether it answers."""
        return _alive(self.pid, self.data_dir)

    def stop(self) -> None:
        """Stops it cleanly; kills it if it has not ended within 30 s. Stopped already: nothing.

        Raises:
            ServerError: It lives on even so.
        """
        with _locked(self.data_dir):
            _end(self.pid, self.data_dir)
            (self.data_dir / "server.json").unlink(missing_ok=True)


@dataclass(frozen=True)
class _Record:
    """What `server.json` holds."""

    engine: str
    pid: int
    port: int
    host: str = LOOPBACK


def start_server(
    engine: str | Engine,
    data_dir: str | Path,
    port: int = 0,
    *,
    host: str = LOOPBACK,
    password: str = "",
    memory: Memory | None = None,
    output: IO[bytes] | None = None,
) -> RunningServer:
    """Starts the server of a data folder, or gives back the one that runs there.

    Args:
        engine: `embedded` (nothing but pip needed) or `neo4j` (Community; wants Java and Maven).
        data_dir: Folder for its data; made if absent.
        port: Bolt port; 0 takes a free one. The embedded engine takes the port after it too.
        host: Address it binds.
        password: Its password; the folder's own, random one by default.
        memory: Most memory it may take.
        output: Where its words go, and so none are told of a failed start; `server.log` in the
            folder by default.

    Raises:
        InputError: The engine is unknown, its parts are missing, the port is taken, the folder
            holds the data of the other engine, or was made with another password.
        ServerError: It does not come up within 90 s.
    """
    try:
        kind = Engine(engine)
    except ValueError:
        raise InputError(
            "no such engine", where=str(engine), fix="choose embedded or neo4j"
        ) from None
    folder = Path(data_dir).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        _claim(folder, kind)
        _keep_password(folder, password)
        running = _running(folder)
        if running is not None:
            if port and running.uri != f"bolt://{reached_at(host)}:{port}":
                raise InputError(
                    f"a server of this folder runs already, on {running.uri}", where=str(folder)
                )
            return running
        return _start(recipe_for(kind), folder, port, host, memory or Memory(), output)


def attach(data_dir: str | Path) -> RunningServer | None:
    """The server that runs on a data folder; None where none does.

    Raises:
        ServerError: Its process lives and does not answer.
    """
    folder = Path(data_dir).resolve()
    if not (folder / "server.json").exists():
        return None
    with _locked(folder):
        return _running(folder)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lets one process at a time start or stop the folder's server; others wait."""
    with (folder / "server.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _claim(folder: Path, engine: Engine) -> None:
    """Marks a new folder as this engine's, and refuses another's."""
    mark = folder / "engine"
    if not mark.exists():
        mark.write_text(f"{engine.value}\n", encoding="utf-8")
    owner = mark.read_text(encoding="utf-8").strip()
    if owner != engine.value:
        raise InputError(
            f"the folder holds the data of the {owner} engine",
            where=str(folder),
            fix="choose another folder",
        )


def _running(folder: Path) -> RunningServer | None:
    record = _read_record(folder)
    if record is None or not _alive(record.pid, folder):
        return None
    recipe = recipe_for(Engine(record.engine))
    server = _server(recipe, folder, record, _password(folder))
    _wait_ready(recipe, server, subprocess_of=None)
    return server


def _start(
    recipe: Recipe, folder: Path, port: int, host: str, memory: Memory, output: IO[bytes] | None
) -> RunningServer:
    password = _password(folder)
    home = folder / "data"
    home.mkdir(exist_ok=True)
    for attempt in range(PORT_ATTEMPTS):
        if port and taken(port, recipe.ports):
            raise InputError("the port is taken", where=f"{host}:{port}", fix="give another")
        chosen = port or free_ports(recipe.ports)
        command = recipe.prepare(home, chosen, folder / "password", memory, host)
        process = _spawn(command, home, folder / "server.log", output)
        record = _Record(engine=recipe.engine.value, pid=process.pid, port=chosen, host=host)
        _write_private(folder / "server.json", json.dumps(asdict(record)))
        server = _server(recipe, folder, record, password)
        try:
            _wait_ready(recipe, server, subprocess_of=process, told=output is not None)
        except BaseException:
            # Whatever ended the wait, Ctrl-C as well: leave no server that nobody knows of.
            if process.poll() is None:
                _end(process.pid, folder)
            (folder / "server.json").unlink(missing_ok=True)
            if port or attempt + 1 == PORT_ATTEMPTS or not taken(chosen, recipe.ports):
                raise
            continue
        logger.info("graph server %d answers on %s", process.pid, server.uri)
        return server
    raise ServerError("no free port found", where=str(folder))


def _spawn(
    command: list[str], home: Path, log: Path, output: IO[bytes] | None
) -> subprocess.Popen[bytes]:
    with contextlib.nullcontext(output) if output else log.open("ab") as stream:
        return subprocess.Popen(
            command,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _server(recipe: Recipe, folder: Path, record: _Record, password: str) -> RunningServer:
    address = reached_at(record.host)
    http = f"http://{address}:{record.port + 1}" if recipe.ports > 1 else ""
    return RunningServer(
        uri=f"bolt://{address}:{record.port}",
        username=recipe.username,
        password=password,
        database=DATABASE,
        pid=record.pid,
        http_uri=http,
        data_dir=folder,
        engine=recipe.engine,
    )


def _wait_ready(
    recipe: Recipe,
    server: RunningServer,
    subprocess_of: subprocess.Popen[bytes] | None,
    *,
    told: bool = False,
) -> None:
    """Waits until the server takes our password and has our database.

    Its log is quoted where it ends, unless whoever reads the error was `told` its words already.
    """
    until = time.monotonic() + READY_TIMEOUT_S
    reason = "it does not answer"
    while time.monotonic() < until:
        # Our own child is asked itself: for a moment after it began /proc shows no arguments of it.
        alive = (
            subprocess_of.poll() is None
            if subprocess_of is not None
            else _alive(server.pid, server.data_dir)
        )
        if not alive:
            log = _log_path(recipe, server.data_dir)
            words = "its words are above" if told else _log_tail(log)
            place = server.data_dir if told else log
            raise ServerError(f"the server ended while starting: {words}", where=str(place))
        try:
            if recipe.ready(server.settings()):
                return
        except Refused as refusal:
            reason = str(refusal)
        time.sleep(POLL_S)
    raise ServerError(
        f"process {server.pid} is no ready server after {READY_TIMEOUT_S:.0f} s: {reason}",
        where=str(server.data_dir if told else _log_path(recipe, server.data_dir)),
    )


def _end(pid: int, folder: Path) -> None:
    """Ends a process that is this folder's server: SIGTERM, and SIGKILL after 30 s."""
    if not _alive(pid, folder):
        return
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)
        until = time.monotonic() + STOP_TIMEOUT_S
        while time.monotonic() < until:
            if _ended(pid, folder):
                return
            time.sleep(POLL_S)
    raise ServerError(f"process {pid} does not end", where=str(folder))


def _ended(pid: int, folder: Path) -> bool:
    """Whether it has ended; a child's exit status is taken, so that no zombie stays."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return not _alive(pid, folder)


def _alive(pid: int, folder: Path) -> bool:
    """Whether the process lives and is this folder's server, not a later one of the same id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False
    return str(folder / "data") in _command_line(pid)


def _command_line(pid: int) -> str:
    """The process's arguments; empty for one that is dead and not yet reaped."""
    proc = Path("/proc", str(pid), "cmdline")
    if proc.parent.parent.joinpath("self").exists():
        try:
            return proc.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    listed = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return listed.stdout


def _password(folder: Path) -> str:
    """The folder's password; made on first use and readable by its owner alone."""
    path = folder / "password"
    if not path.exists():
        _write_private(path, secrets.token_urlsafe(24))
    return path.read_text(encoding="utf-8")


def _keep_password(folder: Path, password: str) -> None:
    """Makes a given password the folder's own, before its first server is started."""
    if not password:
        return
    path = folder / "password"
    if not path.exists():
        _write_private(path, password)
    elif path.read_text(encoding="utf-8") != password:
        raise InputError(
            "the folder was made with another password",
            where=str(folder),
            fix="give that one, or another folder",
        )


def _write_private(path: Path, text: str) -> None:
    """Writes a file of mode 0600 in one step, so that no reader meets half of it."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(path)


def _read_record(folder: Path) -> _Record | None:
    try:
        held = json.loads((folder / "server.json").read_text(encoding="utf-8"))
        return _Record(
            engine=str(held["engine"]),
            pid=int(held["pid"]),
            port=int(held["port"]),
            host=str(held.get("host", LOOPBACK)),
        )
    except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError, ValueError):
        return None


def _log_path(recipe: Recipe, folder: Path) -> Path:
    return folder / "data" / recipe.log if recipe.log else folder / "server.log"


def _log_tail(log: Path) -> str:
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return "no log"
    return " | ".join(line.strip() for line in text.splitlines()[-LOG_TAIL_LINES:])
