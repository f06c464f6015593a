"""The run's own graph server: started, found again, stopped; never left behind, never stolen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kg_schema.local import attach, start_server
from pipelines.services import environment, graph_of, local_graph


def test_started_for_the_block_on_the_same_port_each_time(tmp_path: Path) -> None:
    folder = tmp_path / "graph"
    with local_graph(folder) as server:
        first = server.uri
        with local_graph(folder) as again:
            assert again.pid == server.pid
        assert attach(folder) is not None
    assert attach(folder) is None
    with local_graph(folder) as server:
        assert server.uri == first


def test_a_server_somebody_started_is_left_running(tmp_path: Path) -> None:
    server = start_server("embedded", tmp_path / "graph")
    try:
        with local_graph(tmp_path / "graph") as used:
            assert used.pid == server.pid
        assert attach(tmp_path / "graph") is not None
    finally:
        server.stop()


def test_what_a_killed_command_left_is_taken_over_and_stopped(tmp_path: Path) -> None:
    folder = tmp_path / "graph"
    code = (
        "import time; from pathlib import Path; from pipelines.services import local_graph\n"
        f"with local_graph(Path({str(folder)!r})) as s: print(s.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        os.kill(run.pid, signal.SIGKILL)
    with local_graph(folder) as server:
        assert server.pid == pid
    assert attach(folder) is None


def test_a_run_without_a_graph_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEO4J_URI", raising=False)
    with graph_of(tmp_path) as settings:
        assert settings is None


def test_a_named_graph_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO4J_URI", "bolt://127.0.0.1:1")
    with graph_of(tmp_path, "bolt://127.0.0.1:2") as settings:
        assert settings is not None
        assert settings.uri == "bolt://127.0.0.1:2"


def test_the_environment_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESKGRAPH_A", "before")
    with environment({"DESKGRAPH_A": "during", "DESKGRAPH_B": "during"}):
        assert os.environ["DESKGRAPH_B"] == "during"
    assert os.environ["DESKGRAPH_A"] == "before"
    assert "DESKGRAPH_B" not in os.environ


def test_an_old_note_gives_nobody_a_right_to_a_newer_server(tmp_path: Path) -> None:
    folder = tmp_path / "graph"
    server = start_server("embedded", folder)
    try:
        (folder / "starter").write_text("999999999 1")
        with local_graph(folder):
            pass
        assert attach(folder) is not None
    finally:
        server.stop()
