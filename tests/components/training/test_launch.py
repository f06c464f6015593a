import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from components.launch import (
    Event,
    LaunchError,
    follow,
    last_words,
    threads_a_rank,
    torchrun_command,
)

MODULE = "tests.components.training.ranks"
FOLLOWER = f"""
from components.launch import follow
follow({MODULE!r}, ["wait"], ranks=2, threads=1, on_event=lambda e: print(e["pid"], flush=True))
"""


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pids: Sequence[int], within_s: float = 10.0) -> bool:
    end = time.monotonic() + within_s
    while any(alive(pid) for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def test_one_builder_makes_the_command_for_a_laptop_and_for_a_cluster() -> None:
    here = torchrun_command("a.worker", ["spec.json"], ranks=2)
    assert here[:3] == [sys.executable, "-m", "torch.distributed.run"]
    assert "--standalone" in here
    assert "--nproc-per-node=2" in here
    assert here[-3:] == ["-m", "a.worker", "spec.json"]
    there = torchrun_command("a.worker", [], ranks=8, nodes=4, rendezvous="node-0:29500")
    assert "--nnodes=4" in there
    assert "--rdzv-endpoint=node-0:29500" in there
    assert "--standalone" not in there
    with pytest.raises(LaunchError, match="meet"):
        torchrun_command("a.worker", [], ranks=8, nodes=4)
    pod = torchrun_command("a.worker", ["s3://b/spec.json"], python="python")
    run = ["python", "-m", "torch.distributed.run", "--max-restarts=0"]
    assert pod == [*run, "-m", "a.worker", "s3://b/spec.json"]


def test_cores_are_shared_out() -> None:
    assert threads_a_rank(1) >= threads_a_rank(2) >= threads_a_rank(10_000) == 1


@pytest.mark.parametrize(
    ("limit", "ranks", "threads"),
    [
        ("100000 100000", 1, 1),
        ("50000 100000", 1, 1),
        ("400000 100000", 2, 2),
        ("max 100000", 2, 4),
    ],
)
def test_a_pods_limit_counts_as_its_cores(
    limit: str, ranks: int, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr("components.launch.CPU_LIMIT", tmp_path / "cpu.max")
    assert threads_a_rank(1) == 8
    (tmp_path / "cpu.max").write_text(limit)
    assert threads_a_rank(ranks) == threads


def test_a_nodes_log_ends_in_which_rank_failed_and_what_it_said() -> None:
    report = (
        "E1123 18:38:52.747000 12122 torch/distributed/elastic/multiprocessing/api.py:1002] failed",
        "Traceback (most recent call last):",
        "Root Cause (first observed failure):",
        "[0]:",
        "  rank      : 1 (local_rank: 0)",
        "  exitcode  : -9 (pid: 12430)",
    )
    said = ('deskgraph-event {"event": "log", "line": "x"}', "first things first", "", "no shelf")
    assert last_words([*said, *report]) == (
        "rank 1 was ended by signal 9: first things first | no shelf"
    )
    assert last_words(said) == "first things first | no shelf"
    assert last_words(["Traceback", "No module named torch"]) == "Traceback | No module named torch"
    assert last_words([]) == "it wrote nothing"
    meeting = "[W731 12:00:00.123456789 socket.cpp:767] [c10d] The IPv6 network addresses of (x, 1)"
    assert last_words([meeting, said[1], f"[rank1]:{meeting}", said[3], *report]) == (
        "rank 1 was ended by signal 9: first things first | no shelf"
    )
    assert last_words([meeting]) == meeting


def test_a_failing_rank_is_named_with_its_last_lines_and_the_others_end(tmp_path: Path) -> None:
    events: list[Event] = []
    with pytest.raises(LaunchError) as caught:
        follow(MODULE, ["fail", str(tmp_path)], ranks=2, threads=1, on_event=events.append)
    assert "rank 1 exited with 3" in str(caught.value)
    assert "the shelf is empty" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {event["rank"] for event in events} == {0, 1}
    assert {event["threads"] for event in events} == {"1"}
    assert gone([event["pid"] for event in events])


def test_an_interrupt_ends_every_rank() -> None:
    pids: list[int] = []

    def interrupt(event: Event) -> None:
        pids.append(event["pid"])
        if len(pids) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow(MODULE, ["wait"], ranks=2, threads=1, on_event=interrupt)
    assert gone(pids)


def test_ranks_do_not_outlive_a_launcher_that_was_killed() -> None:
    launcher = subprocess.Popen([sys.executable, "-c", FOLLOWER], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout is not None
    pids = [int(launcher.stdout.readline()) for _ in range(2)]
    assert all(alive(pid) for pid in pids)
    os.kill(launcher.pid, signal.SIGKILL)
    launcher.wait()
    launcher.stdout.close()
    assert gone(pids)
