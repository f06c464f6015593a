"""Migrating at once, from real processes: each migration is applied by one, and none hangs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kg_schema import write_lock
from kg_schema.local import RunningServer
from kg_schema.migrate import migrate, read_migrations
from kg_schema.ontology import load_ontology
from kg_schema.prune import withdraw_source
from kg_schema.write_lock import WriteLock, WriteLockError
from kg_schema.writer import GraphWriter

FORGET = "MATCH (n:SchemaMigration) WHERE n.version STARTS WITH 'V' DELETE n"
HELD = "MATCH (n:WriteLock) WHERE n.owner IS NOT NULL RETURN count(n) AS total"
MIGRATE = """
import json, sys
from pathlib import Path
from kg_schema.connection import GraphSettings
from kg_schema.migrate import migrate
from kg_schema.ontology import load_ontology
from kg_schema.writer import GraphWriter
with GraphWriter(GraphSettings.from_env()) as writer:
    ontology = load_ontology()
    writer.engine()
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(migrate(writer, ontology, Path(sys.argv[1])).applied))
"""
HOLD = """
import time
from kg_schema import write_lock
from kg_schema.connection import GraphSettings
write_lock.LEASE_S, write_lock.BEAT_S = 2.0, 0.2
with write_lock.WriteLock(GraphSettings.from_env()):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def folder(writer: GraphWriter, tmp_path: Path) -> Iterator[Path]:
    """The package's migrations, unapplied, and four more."""
    for migration in read_migrations():
        text = ";\n".join(migration.statements)
        (tmp_path / f"{migration.version}__{migration.name}.cypher").write_text(text)
    for number in range(4):
        (tmp_path / f"V90{number}__more.cypher").write_text(
            f"CREATE INDEX product_more{number} IF NOT EXISTS FOR (n:Product) ON (n.more{number});"
        )
    writer.write(FORGET, what="forget")
    yield tmp_path
    for number in range(4):
        writer.administer(f"DROP INDEX product_more{number} IF EXISTS", what="clean")
    writer.write(FORGET, what="forget")
    migrate(writer, load_ontology())


def started(server: RunningServer, code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **server.environment()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_processes_at_once_apply_each_migration_once(
    engine_server: RunningServer, writer: GraphWriter, folder: Path
) -> None:
    processes = [started(engine_server, MIGRATE, str(folder)) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    # All stand at the line; then they go.
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0] for process in processes]
    applied = [version for line in said for version in json.loads(line)]
    assert sorted(applied) == ["V001", "V900", "V901", "V902", "V903"]
    assert writer.read(HELD, what="count")[0]["total"] == 0


def test_a_dead_holders_lock_ends_by_itself(
    engine_server: RunningServer, writer: GraphWriter, folder: Path
) -> None:
    process = started(engine_server, HOLD)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert writer.read(HELD, what="count")[0]["total"] == 1
    begun = time.monotonic()
    assert "V900" in migrate(writer, load_ontology(), folder).applied
    assert time.monotonic() - begun < 20


def test_a_living_holder_outlasts_its_lease(
    writer: GraphWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_lock, "LEASE_S", 1.5)
    monkeypatch.setattr(write_lock, "BEAT_S", 0.2)
    with WriteLock(writer.settings) as held:
        with (
            pytest.raises(WriteLockError, match=r"another process writes to it \(.+:\d+:"),
            WriteLock(writer.settings, wait_s=2.5),
        ):
            pytest.fail("two hold it")
        held.require(writer)
    assert writer.read(HELD, what="count")[0]["total"] == 0


def test_one_that_was_stopped_for_long_goes_no_further(
    writer: GraphWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_lock, "LEASE_S", 0.2)
    monkeypatch.setattr(write_lock, "BEAT_S", 60.0)
    with WriteLock(writer.settings) as stopped, WriteLock(writer.settings, wait_s=10):
        with pytest.raises(WriteLockError, match="took the writing over"):
            stopped.require(writer)
        stopped.__exit__(None, None, None)
        assert writer.read(HELD, what="count")[0]["total"] == 1, "it is the other's"


def test_threads_at_once_hold_it_one_after_another(writer: GraphWriter) -> None:
    inside, most = [0], [0]

    def work() -> None:
        with WriteLock(writer.settings):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.05)
            inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [1]


def test_only_a_process_that_has_ended_here_is_gone() -> None:
    ended = subprocess.Popen([sys.executable, "-c", "pass"])
    ended.wait()
    place = write_lock._place()
    assert write_lock._gone(f"{place}:{ended.pid}:x") == f"{place}:{ended.pid}:x"
    assert write_lock._gone(f"{place}:{os.getpid()}:x") == ""
    assert write_lock._gone(f"another-host:1:{ended.pid}:x") == ""
    assert write_lock._gone("it has just ended") == ""


def test_who_asks_often_asks_the_server_once_its_word_is_old(
    writer: GraphWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_lock, "LEASE_S", 0.2)
    with WriteLock(writer.settings) as stopped, WriteLock(writer.settings, wait_s=10):
        stopped.require_soon(writer)
        monkeypatch.setattr(write_lock, "BEAT_S", 0.0)
        with pytest.raises(WriteLockError, match="took the writing over"):
            stopped.require_soon(writer)


def test_taking_a_source_back_waits_for_a_load(
    writer: GraphWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_lock.WriteLock.__init__, "__kwdefaults__", {"wait_s": 0.5})
    with WriteLock(writer.settings):
        with pytest.raises(WriteLockError, match="another process writes to it"):
            withdraw_source(writer.settings, "crm")
        assert withdraw_source(writer.settings, "crm", dry_run=True).written == 0
