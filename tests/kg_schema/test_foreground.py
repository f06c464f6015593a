"""A graph server as a pod's main process: it heeds its password, its address and its signals."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kg_schema.connection import GraphSettings, GraphUnavailable
from kg_schema.foreground import main
from kg_schema.local import attach
from kg_schema.ports import EVERYWHERE, LOOPBACK, free_ports, reached_at
from kg_schema.writer import GraphWriter

PASSWORD = "given by the secret"
READY_S = 100


@pytest.fixture(autouse=True)
def _same_signals() -> Iterator[None]:
    """What `main` sets for its process is not left to the tests'."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@contextmanager
def _foreground(
    data: Path, port: int, host: str = LOOPBACK
) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The process, once it has said that its server answers, and what it said until then."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "kg_schema.foreground", "--data", str(data)),
            *("--host", host, "--port", str(port), "--heap-mb", "256"),
        ],
        env={
            **os.environ,
            "NEO4J_PASSWORD": PASSWORD,
            "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process, _read_until(process, "answers on")
    finally:
        if process.poll() is None:
            process.kill()
        if (server := attach(data)) is not None:
            server.stop()
        process.communicate()


def _read_until(process: subprocess.Popen[str], words: str) -> list[str]:
    assert process.stdout is not None
    said: list[str] = []
    until = time.monotonic() + READY_S
    while select.select([process.stdout], [], [], max(0, until - time.monotonic()))[0]:
        line = process.stdout.readline()
        said.append(line)
        if words in line:
            return said
        if not line:
            break
    raise AssertionError("".join(said) or "it said nothing")


def _settings(port: int, password: str = PASSWORD, host: str = LOOPBACK) -> GraphSettings:
    uri = f"bolt://{host}:{port}"
    return GraphSettings(uri=uri, username="root", password=password, database="deskgraph")


def _listens(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def test_it_takes_the_given_password_and_ends_in_order(tmp_path: Path) -> None:
    port = free_ports(2)
    with _foreground(tmp_path / "data", port) as (process, said):
        assert any("ArcadeDB" in line for line in said), "the server's own words are its output"
        with GraphWriter(_settings(port)) as writer:
            assert writer.read("RETURN 1 AS one", what="read") == [{"one": 1}]
        with pytest.raises(GraphUnavailable, match="password"):
            GraphWriter(_settings(port, "another password")).read("RETURN 1", what="log in")
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0
        assert not _listens(LOOPBACK, port)
        assert not _listens(LOOPBACK, port + 1)


def test_it_binds_the_address_it_is_told_and_ends_with_its_server(tmp_path: Path) -> None:
    # Another loopback address stands for a pod's: what listens there, listens there alone.
    port, host = free_ports(2), "127.0.0.2"
    with _foreground(tmp_path / "data", port, host) as (process, _):
        assert _listens(host, port)
        assert not _listens(LOOPBACK, port)
        with GraphWriter(_settings(port, host=host)) as writer:
            assert writer.read("RETURN 1 AS one", what="read") == [{"one": 1}]
        server = attach(tmp_path / "data")
        assert server is not None
        os.kill(server.pid, signal.SIGKILL)
        said, _ = process.communicate(timeout=20)
        assert process.returncode == 1
        assert "ended by itself" in said


@pytest.mark.parametrize("password", ["", "short"])
def test_without_a_password_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], password: str
) -> None:
    given = {"NEO4J_PASSWORD": password} if password else {}
    assert main(["--data", str(tmp_path)], given) == 2
    assert capsys.readouterr().err.startswith("NEO4J_PASSWORD: needs a password of 8 characters")


def test_another_password_for_the_same_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "password").write_text(PASSWORD)
    assert main(["--data", str(tmp_path)], {"NEO4J_PASSWORD": "another password"}) == 2
    assert "made with another password" in capsys.readouterr().err


def test_a_server_bound_everywhere_is_reached_on_loopback() -> None:
    assert {reached_at(host) for host in EVERYWHERE} == {LOOPBACK}
    assert reached_at("10.0.0.7") == "10.0.0.7"
