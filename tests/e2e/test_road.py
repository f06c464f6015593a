"""The whole road by the command a person types, on models small enough for a test.

One run is killed under way and started again; its winner answers over the graph. Bad input leaves
what that run made as it was. A language model goes the same road.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.components.training import tiny

TIMEOUT_S = 280
SMALL = {"ranks": 1, "batch_size": 8}
PROFILE = {
    "description": "As small as it gets.",
    "settings": {
        "finetune": {**SMALL, "epochs": 12, "learning_rate": 0.01, "freeze_embeddings": False},
        "prune": {**SMALL, "recovery_epochs": 2, "vocabulary": 0, "multiple": 8},
        "distill": {**SMALL, "epochs": 2, "layers": 1},
        "distill_pruned": {**SMALL, "epochs": 2},
        "evaluate": {"latency_repeats": 5, "resamples": 200},
        "select": {"resamples": 200},
    },
}


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "pipelines.cli", *map(str, arguments)]


def deskgraph(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tickets, base models and a profile."""
    folder = tmp_path_factory.mktemp("road")
    rows = "".join(json.dumps(row) + "\n" for row in tiny.tickets())
    (folder / "tickets.jsonl").write_text(rows, encoding="utf-8")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(PROFILE), encoding="utf-8")
    tiny.make_base(folder / "encoder")
    tiny.make_decoder(folder / "decoder")
    return folder


def run_arguments(site: Path, out: str) -> list[str | Path]:
    return [
        "run", "--profile", site / "tiny.yaml", "--base-model", site / "encoder",
        "--tickets", site / "tickets.jsonl", "--graph", "samples:graph", "--out", site / out,
    ]  # fmt: skip


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
    runs = list((site / "out" / "pipeline").iterdir())
    assert len(runs) <= 2


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
    listed = deskgraph("models", "list", "--run", site / "out")
    assert "champion" in listed.stdout


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("name", "content", "columns", "said"),
    [
        ("no.csv", None, (), r"no\.csv"),
        ("column.csv", "text,intent\nhello there,greeting\n", ("--label-column", "label"), "text"),
        ("latin.csv", "text,intent\ncaf\xe9 closed,hours\n".encode("latin-1"), (), "UTF-8"),
        ("broken.jsonl", '{"text": "a b c", "intent": "x"}\n' * 6 + '{"text": "a\n', (), ":7"),
    ],
)
def test_bad_input_is_one_line_and_leaves_the_earlier_run_as_it_was(
    site: Path,
    killed_and_finished: subprocess.CompletedProcess[str],
    name: str,
    content: str | bytes | None,
    columns: tuple[str, ...],
    said: str,
) -> None:
    path = site / name
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    kept = {p: p.read_bytes() for p in (site / "out" / "report").iterdir()}
    done = deskgraph(
        "run", "--profile", site / "tiny.yaml", "--tickets", path, "--out", site / "out", *columns
    )
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("deskgraph: ")]
    assert len(lines) == 1, done.stderr
    assert re.search(said, lines[0])
    assert "Traceback" not in done.stderr
    assert {p: p.read_bytes() for p in (site / "out" / "report").iterdir()} == kept
    assert deskgraph("models", "list", "--run", site / "out").stdout.count("champion") == 1


@pytest.mark.timeout(600)
def test_a_language_model_goes_the_same_road(site: Path) -> None:
    done = deskgraph(
        "run", "--profile", site / "tiny.yaml", "--base-model", site / "decoder",
        "--tickets", site / "tickets.jsonl", "--task", "answer", "--out", site / "answers",
        "--ask", "my phone battery drains fast",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "deskgraph-answer-tickets" in done.stdout
    assert "answers     not compared" in done.stdout


def test_help_is_quick() -> None:
    def cpu_seconds() -> float:
        before = os.times()
        deskgraph("--help")
        after = os.times()
        return (after.children_user - before.children_user) + (
            after.children_system - before.children_system
        )

    assert min(cpu_seconds() for _ in range(3)) < 0.3
