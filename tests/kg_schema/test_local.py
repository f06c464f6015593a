"""Servers that start by themselves: on loopback, found again, and whole after a kill."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kg_schema import local
from kg_schema.errors import InputError
from kg_schema.local import RunningServer, ServerError, attach, start_server
from kg_schema.ports import LOOPBACK, free_ports
from kg_schema.recipes import EmbeddedRecipe
from kg_schema.writer import GraphWriter


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A data folder; its server, if the test leaves one, is stopped."""
    folder = tmp_path / "a graph"
    yield folder
    server = attach(folder)
    if server is not None:
        server.stop()


def _names(server: RunningServer) -> list[str]:
    with GraphWriter(server.settings()) as writer:
        rows = writer.read("MATCH (n:Thing) RETURN n.name AS name ORDER BY name", what="read")
    return [row["name"] for row in rows]


def _add(server: RunningServer, name: str) -> None:
    with GraphWriter(server.settings()) as writer:
        writer.write("CREATE (:Thing {name: $name})", {"name": name}, what="add")


def test_what_was_committed_outlives_a_kill_and_a_stop(data_dir: Path) -> None:
    server = start_server("embedded", data_dir)
    _add(server, "first")
    assert start_server("embedded", data_dir) == server
    assert attach(data_dir) == server
    _add(server, "second")
    os.kill(server.pid, signal.SIGKILL)
    os.waitpid(server.pid, 0)
    assert attach(data_dir) is None
    risen = start_server("embedded", data_dir)
    assert risen.pid != server.pid
    assert risen.password == server.password
    assert _names(risen) == ["first", "second"]
    risen.stop()
    risen.stop()
    assert attach(data_dir) is None
    with pytest.raises(ProcessLookupError):
        os.kill(risen.pid, 0)


def test_it_listens_on_loopback_alone_and_keeps_its_password(
    engine_server: RunningServer,
) -> None:
    for name in ("password", "server.json"):
        mode = stat.S_IMODE((engine_server.data_dir / name).stat().st_mode)
        assert mode == 0o600, name
    command = Path(f"/proc/{engine_server.pid}/cmdline")
    if command.exists():
        assert engine_server.password not in command.read_text()
        assert _listening(engine_server.pid) <= {"0100007F", "0000000000000000FFFF00000100007F"}
    assert engine_server.password not in repr(engine_server)
    assert len(engine_server.password) >= 24


def _listening(pid: int) -> set[str]:
    """Addresses the process listens on, in the kernel's notation."""
    sockets = set()
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        try:
            sockets.add(os.readlink(handle))
        except OSError:
            continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            parts = line.split()
            if parts[3] == "0A" and f"socket:[{parts[9]}]" in sockets:
                found.add(parts[1].split(":")[0])
    assert found
    return found


def test_another_process_finds_it(graph_server: RunningServer) -> None:
    code = "import sys; from kg_schema.local import attach; print(attach(sys.argv[1]).pid)"
    said = subprocess.run(
        [sys.executable, "-c", code, str(graph_server.data_dir)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(said.stdout) == graph_server.pid


def test_a_process_id_used_again_is_no_server(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "server.json").write_text(
        json.dumps({"engine": "embedded", "pid": os.getpid(), "port": 7687})
    )
    assert attach(data_dir) is None


@pytest.mark.parametrize("text", ["", "{", "{}", '{"pid": "x", "port": 1, "engine": "embedded"}'])
def test_a_torn_record_is_no_server(data_dir: Path, text: str) -> None:
    data_dir.mkdir()
    (data_dir / "server.json").write_text(text)
    assert attach(data_dir) is None


def test_a_taken_port_is_refused(data_dir: Path) -> None:
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"{port}: the port is taken"):
            start_server("embedded", data_dir, port)


def test_another_engines_folder_and_unknown_engines_are_refused(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "engine").write_text("neo4j\n")
    with pytest.raises(InputError, match="data of the neo4j engine"):
        start_server("embedded", data_dir)
    with pytest.raises(InputError, match="choose embedded or neo4j"):
        start_server("oracle", data_dir)


def test_a_server_that_is_slow_to_show_itself_is_waited_for(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a machine where the program is read from a cold disk after the fork.
    seen = local._command_line
    shown_from = time.monotonic() + 1
    monkeypatch.setattr(
        local, "_command_line", lambda pid: seen(pid) if time.monotonic() > shown_from else ""
    )
    server = start_server("embedded", data_dir)
    assert attach(data_dir) == server


def test_a_server_that_ends_at_once_is_said_with_its_last_words(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> list[str]:
        return [sys.executable, "-c", "print('no such thing as a heap')", str(data_dir / "data")]

    monkeypatch.setattr(EmbeddedRecipe, "prepare", broken)
    with pytest.raises(ServerError, match="ended while starting: no such thing as a heap"):
        start_server("embedded", data_dir)
    assert attach(data_dir) is None
    with (data_dir / "output").open("wb") as output, pytest.raises(ServerError) as caught:
        start_server("embedded", data_dir, output=output)
    assert str(caught.value) == f"{data_dir}: the server ended while starting: its words are above"
    assert (data_dir / "output").read_text() == "no such thing as a heap\n"


def test_without_the_wheel_the_way_out_is_said(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"deskgraph\[offline\]"):
        start_server("embedded", data_dir)


def test_without_java_the_way_out_is_said(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(data_dir))
    with pytest.raises(InputError, match=r"java and mvn not found on PATH.*--engine embedded"):
        start_server("neo4j", data_dir)


def test_ports_lie_below_those_that_connections_are_given() -> None:
    text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    assert all(free_ports(2) + 1 < int(text.split()[0]) for _ in range(200))
