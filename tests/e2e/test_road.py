"""The whole road by the command a person types, on models small enough for a test.

One run is killed under way and started again; its winner answers over the graph. Bad input leaves
what that run made as it was.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.commands import command, deskgraph, run_arguments


@pytest.fixture(scope="module")
def killed_and_finished(site: Path) -> Iterator[subprocess.CompletedProcess[str]]:
    """A run that is killed while it prunes, then started again and finished."""
    first = subprocess.Popen(
        command(*run_arguments(site, "out")), stderr=subprocess.PIPE, text=True
    )
    assert first.stderr is not None
    for line in first.stderr:
        if re.search(r"\] prune …", line):
            first.send_signal(signal.SIGKILL)
            break
    first.wait(30)
    first.stderr.close()
    yield deskgraph(*run_arguments(site, "out"), "--ask", "There is no sound from my X-200 phone")


@pytest.mark.timeout(600)
def test_a_killed_run_goes_on_from_its_last_finished_step(
    site: Path, killed_and_finished: subprocess.CompletedProcess[str]
) -> None:
    done = killed_and_finished
    assert done.returncode == 0, done.stderr
    for step in ("shard", "finetune"):
        assert re.search(rf"\] {step} +kept from an earlier run", done.stderr), done.stderr
    assert re.search(r"\] prune +done in", done.stderr)
    assert "version 1, alias champion" in done.stdout
    assert (site / "out" / "report" / "index.html").stat().st_size > 10_000


@pytest.mark.timeout(600)
def test_the_winner_answers_over_the_graph(
    site: Path, killed_and_finished: subprocess.CompletedProcess[str]
) -> None:
    assert "intent no_sound" in killed_and_finished.stdout
    assert "Product P_X200" in killed_and_finished.stdout
    asked = deskgraph(
        "ask", "There is no sound from my X-200 phone", "--run", site / "out", "--json"
    )
    assert asked.returncode == 0, asked.stderr
    answer = json.loads(asked.stdout)
    facts = {fact["id"] for fact in answer["facts"]}
    assert not answer["degraded"]
    assert all(set(claim["facts"]) <= facts for claim in answer["answer"]["claims"])
    deployed = json.loads((site / "out" / "deployed.json").read_text())
    assert (Path(deployed["model"]) / "encoder" / "manifest.json").is_file()
    listed = deskgraph("models", "list", "--run", site / "out")
    assert "champion" in listed.stdout


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("no.csv", None, r"no\.csv"),
        ("broken.jsonl", '{"text": "a b c", "intent": "x"}\n' * 6 + '{"text": "a\n', ":7"),
    ],
)
def test_bad_input_is_one_line_and_leaves_the_earlier_run_as_it_was(
    site: Path,
    killed_and_finished: subprocess.CompletedProcess[str],
    name: str,
    content: str | None,
    said: str,
) -> None:
    path = site / name
    if content is not None:
        path.write_text(content, encoding="utf-8")
    kept = {p: p.read_bytes() for p in (site / "out" / "report").iterdir()}
    done = deskgraph(
        "run", "--profile", site / "tiny.yaml", "--tickets", path, "--out", site / "out"
    )
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("deskgraph: ")]
    assert len(lines) == 1, done.stderr
    assert re.search(said, lines[0])
    assert "Traceback" not in done.stderr
    assert {p: p.read_bytes() for p in (site / "out" / "report").iterdir()} == kept
    assert deskgraph("models", "list", "--run", site / "out").stdout.count("champion") == 1


def test_help_is_quick() -> None:
    def cpu_seconds() -> float:
        before = os.times()
        deskgraph("--help")
        after = os.times()
        return (after.children_user - before.children_user) + (
            after.children_system - before.children_system
        )

    assert min(cpu_seconds() for _ in range(3)) < 0.3
