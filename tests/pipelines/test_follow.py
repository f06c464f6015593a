"""The follower of a local run's log: steps, time left, and the one clear line of a failure."""

from __future__ import annotations

import io

from pipelines.follow import Follower


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def follower(clock: Clock) -> tuple[Follower, io.StringIO]:
    out = io.StringIO()
    steps = {"shard": "shard", "finetune": "finetune", "export": "export-teacher"}
    expected = {"shard": 10.0, "finetune": 100.0, "export": 20.0}
    return Follower(steps, expected, stream=out, clock=clock), out


def test_time_left_follows_the_pace_of_the_steps_done() -> None:
    clock = Clock()
    follow, out = follower(clock)
    follow.take("12:00:00 - INFO - Executing task 'shard'")
    assert follow.remaining == 130
    clock.now = 20.0
    follow.take("Task 'shard' finished with status SUCCESS")
    assert follow.remaining == (100 + 20) * (20 + 30) / (10 + 30)
    assert follow.durations == {"shard": 20.0}
    assert "[ 1/3] shard" in out.getvalue()
    assert "done in 20 s" in out.getvalue()


def test_a_cached_step_is_said_to_be_kept() -> None:
    follow, out = follower(Clock())
    follow.take("INFO - Task export cache hit (key=0123456789ab); skipping execution.")
    assert follow.cached == ["export-teacher"]
    assert "kept from an earlier run" in out.getvalue()
    assert follow.durations == {}


def test_a_typed_error_becomes_the_steps_message() -> None:
    follow, _ = follower(Clock())
    follow.take("Executing task 'shard'")
    follow.take('    deskgraph-error {"message": "t.csv: no column x", "exit_code": 2}')
    follow.take("Task 'shard' finished with status FAILURE")
    assert follow.failure is not None
    assert (follow.failure.step, follow.failure.exit_code) == ("shard", 2)
    assert follow.failure.message == "t.csv: no column x"


def test_a_traceback_leaves_no_message() -> None:
    follow, _ = follower(Clock())
    follow.take("Executing task 'shard'")
    follow.take("    ZeroDivisionError: division by zero")
    follow.take("Task 'shard' finished with status FAILURE")
    assert follow.failure is not None
    assert follow.failure.message == ""


def test_colours_and_progress_lines() -> None:
    follow, out = follower(Clock())
    follow.read(["Executing task \x1b[96m'finetune'\x1b[0m\n"])
    follow.read(["    train: 120 of 552 steps, 3.21/s, 2 min 15 s left\n", "    noise\n"])
    assert "finetune: train: 120 of 552 steps" in out.getvalue()
    assert "noise" not in out.getvalue()


def test_what_a_step_says_of_itself_counts_for_it_and_for_the_pace() -> None:
    clock = Clock()
    follow, _ = follower(clock)
    follow.take("Executing task 'finetune'")
    clock.now = 50.0
    follow.take("    train: 25 of 100 rows, 0.50/s, 2 min 30 s left")
    # 200 s where 100 were expected, so the steps still to come are slower too.
    pace = (200 + 30) / (100 + 30)
    assert follow.remaining == 150 + (10 + 20) * pace
    clock.now = 210.0
    assert follow.remaining < (10 + 20) * (210 + 30) / (100 + 30) + 1
