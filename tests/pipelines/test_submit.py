"""`deskgraph submit`: a version, a run, its steps as they go, and how it ended."""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kg_schema.errors import InputError
from pipelines import cli
from pipelines.client import PipelinesClient
from pipelines.kfp_api import KfpError
from pipelines.packages import read_package
from pipelines.run_follower import RunFollower, last_words, planned_steps
from pipelines.submission import EXPERIMENT, follow, submit
from tests.kfp_server import KfpServer
from tests.pipelines.tiny_pipeline import NAME

WORKFLOW = "deskgraph-tiny-x7k2p"
LINK = "http://page/#/runs/details/1"
AGAIN = "deskgraph submit --host http://h"


def node(
    name: str, state: str, start: int = 0, end: int | None = None, *children: str
) -> dict[str, Any]:
    def at(second: int) -> str:
        return f"2026-11-23T10:{second // 60:02d}:{second % 60:02d}Z"

    return {
        "display_name": name,
        "state": state,
        "start_time": at(start),
        "end_time": "1970-01-01T00:00:00Z" if end is None else at(end),
        "child_tasks": [{"pod_name": child} for child in children],
    }


def done(name: str, start: int, end: int) -> list[dict[str, Any]]:
    return [
        node(f"{name}-driver", "SUCCEEDED", start, start + 3),
        node(name, "SUCCEEDED", start + 3, end),
    ]


@pytest.fixture
def client(kfp_server: KfpServer) -> PipelinesClient:
    return PipelinesClient(kfp_server.access(), retry_for_s=5)


@pytest.fixture
def run_id(client: PipelinesClient, tiny_package: Path) -> str:
    return submit(client, read_package(tiny_package), lambda line: None)


def followed(
    kfp_server: KfpServer,
    client: PipelinesClient,
    run_id: str,
    *acts: Callable[[], object],
    stream: io.StringIO | None = None,
    **options: Any,
) -> tuple[int, list[str], str]:
    """Follows a run; each act happens while the follower waits for its next look."""
    left = list(acts)
    out, said = stream or io.StringIO(), []
    follower = RunFollower(client, run_id, stream=out, sleep=lambda seconds: left.pop(0)())
    code = follow(client, run_id, said.append, link=LINK, again=AGAIN, follower=follower, **options)
    return code, said, out.getvalue()


def test_a_run_is_started_with_its_values_from_a_version_by_content(
    client: PipelinesClient, kfp_server: KfpServer, tiny_package: Path
) -> None:
    said: list[str] = []
    package = read_package(tiny_package)
    first = submit(
        client,
        package,
        said.append,
        parameters=["rows=4", "note=a=b", 'options={"deep": [1]}', "fail=false"],
        experiment="tests",
        run_name="by hand",
    )
    run = kfp_server.all("runs")[0]
    assert run["run_id"] == first
    assert run["display_name"] == "by hand"
    assert run["runtime_config"]["parameters"] == {
        "rows": 4, "note": "a=b", "options": {"deep": [1]}, "fail": False,
    }  # fmt: skip
    assert kfp_server.all("experiments")[0]["display_name"] == "tests"
    submit(client, package, said.append)
    assert re.fullmatch(rf"{NAME}-\d{{8}}-\d{{6}}", kfp_server.all("runs")[1]["display_name"])
    assert said[0] == f"{NAME} {package.version} uploaded"
    assert said[2] == f"{NAME} {package.version} was there already"
    assert len(kfp_server.all("versions")) == 1


def test_a_wrong_parameter_uploads_nothing(
    client: PipelinesClient, kfp_server: KfpServer, tiny_package: Path
) -> None:
    with pytest.raises(InputError, match="no such parameter"):
        submit(client, read_package(tiny_package), print, parameters=["x=1"])
    assert kfp_server.all("pipelines") == []


def test_steps_are_told_as_they_go(
    client: PipelinesClient, kfp_server: KfpServer, run_id: str
) -> None:
    begun = [node("root", "RUNNING"), node("count-driver", "RUNNING", 5)]
    code, said, told = followed(
        kfp_server,
        client,
        run_id,
        lambda: kfp_server.play(run_id, "RUNNING", *begun),
        lambda: kfp_server.play(run_id, "RUNNING", *done("count", 5, 17)),
        lambda: kfp_server.away_for(0.7),
        lambda: kfp_server.play(
            run_id,
            "SUCCEEDED",
            *done("count", 5, 17),
            node("look-driver", "SUCCEEDED", 18, 21),
            node("look", "SUCCEEDED", 21, 21),
        ),
    )
    lines = [" ".join(line.split()) for line in told.splitlines()]
    assert lines == ["count running", "count done in 12 s", "look kept from an earlier run"]
    assert code == 0
    assert said[-1].startswith("SUCCEEDED in ")
    assert said[-1].endswith(LINK)


def test_on_a_terminal_one_line_is_rewritten(
    client: PipelinesClient, kfp_server: KfpServer, run_id: str
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    _, _, told = followed(
        kfp_server,
        client,
        run_id,
        lambda: kfp_server.play(run_id, "RUNNING", node("count-driver", "RUNNING", 5)),
        lambda: kfp_server.play(run_id, "SUCCEEDED", *done("count", 5, 17)),
        stream=Terminal(),
    )
    assert re.search(r"\r\x1b\[Kcount [\d hmins]+ \| [\d hmins]+ in all", told)
    assert told.endswith("\r\x1b[K")


@pytest.mark.parametrize(
    ("template", "suffix"),
    [("system-container-impl", ""), ("retry-system-container-impl", "(1)")],
)
def test_a_failed_steps_own_line_is_told(
    template: str, suffix: str, client: PipelinesClient, kfp_server: KfpServer, run_id: str
) -> None:
    path = "deskgraph-tiny-x7k2p.root.look"
    step = f"{WORKFLOW}-{fnv1a(path)}"
    pod = f"{WORKFLOW}-{template}-{fnv1a(path + '.executor' + suffix)}"
    kfp_server.logs[pod] = (
        "I1123 10:00:00 launcher_v2.go:1] start\n"
        '[KFP Executor 2026] deskgraph-error {"message": "t.csv: no column x", "exit_code": 2}\n'
        "F1123 10:00:01 main.go:49] failed to execute component: exit status 2\n"
    )
    code, said, told = followed(
        kfp_server,
        client,
        run_id,
        lambda: kfp_server.play(
            run_id,
            "FAILED",
            *done("count", 5, 17),
            node("look-driver", "SUCCEEDED", 18, 21, step),
            node("look", "FAILED", 21, 30),
        ),
    )
    assert code == 1
    assert said[0] == "look: t.csv: no column x"
    assert said[1].startswith("FAILED in ")
    assert "look                     failed in 12 s" in told


def test_steps_that_are_told_later_than_the_runs_end_are_waited_for(
    client: PipelinesClient, kfp_server: KfpServer, run_id: str
) -> None:
    running = [node("count-driver", "SUCCEEDED", 5, 8), node("count", "RUNNING", 8)]
    failed = [running[0], node("count", "FAILED", 8, 20)]
    _, said, told = followed(
        kfp_server,
        client,
        run_id,
        lambda: kfp_server.play(run_id, "FAILED", *running),
        lambda: kfp_server.play(run_id, "FAILED", *failed),
    )
    assert "failed in 15 s" in told
    assert said[0] == "count: its pod left no message"
    kfp_server.play(run_id, "FAILED", *running)
    code, said, _ = followed(kfp_server, client, run_id, *[lambda: None] * 5)
    assert (code, len(said)) == (1, 1)


def test_a_branch_that_cannot_begin_is_named(
    client: PipelinesClient, kfp_server: KfpServer, run_id: str
) -> None:
    failed = node("root-driver", "FAILED", 0, 4)
    _, said, _ = followed(
        kfp_server, client, run_id, lambda: kfp_server.play(run_id, "FAILED", failed)
    )
    assert said[0] == "root-driver: failed"


def test_a_driver_that_fails_is_its_steps_failure(
    client: PipelinesClient, kfp_server: KfpServer, run_id: str
) -> None:
    path = "deskgraph-tiny-x7k2p.root.count"
    pod = f"{WORKFLOW}-system-container-driver-{fnv1a(path + '-driver')}"
    kfp_server.logs[pod] = (
        "{\n}\nF1123 10:00:01.123456 1 main.go:104] KFP driver: no such secret deskgraph-graph\n"
    )
    failed = node("count-driver", "FAILED", 5, 9, f"{WORKFLOW}-{fnv1a(path)}")
    code, said, _ = followed(
        kfp_server, client, run_id, lambda: kfp_server.play(run_id, "FAILED", failed)
    )
    assert (code, said[0]) == (1, "count: KFP driver: no such secret deskgraph-graph")


def fnv1a(text: str) -> int:
    """FNV-1a with 32 bits, as its authors give it."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def test_at_interrupt_the_run_goes_on_and_one_is_told_how(
    client: PipelinesClient, kfp_server: KfpServer, run_id: str
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    code, said, _ = followed(kfp_server, client, run_id, interrupt)
    assert code == 130
    assert client.run(run_id).state == "PENDING"
    assert f"{AGAIN} --follow {run_id}" in said[1]
    assert f"{AGAIN} --end {run_id}" in said[2]
    code, said, _ = followed(kfp_server, client, run_id, interrupt, end_on_interrupt=True)
    assert (code, client.run(run_id).state) == (130, "CANCELING")
    code, said, _ = followed(kfp_server, client, run_id, lambda: kfp_server.play(run_id, "FAILED"))
    assert code == 1
    assert said[0] == "somebody ended the run"
    assert said[-1].startswith("FAILED in")


def test_a_log_in_that_runs_out_leaves_the_run(
    client: PipelinesClient, kfp_server: KfpServer, run_id: str
) -> None:
    with pytest.raises(KfpError, match=f"not logged in.*--follow {run_id}"):
        followed(kfp_server, client, run_id, lambda: setattr(kfp_server, "token", "new"))


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("", ""),
        ('{"error_message": "Failed to read logs"}', ""),
        (
            "Traceback (most recent call last):\n  File x\nValueError: no rows\n",
            "ValueError: no rows",
        ),
        ("a.b.CustomError: x\nI1123 10:00 launcher] end\n", "a.b.CustomError: x"),
        ("ValueError: x\nF1123 10:00 1 m.go:1] failed\nError: exit status 1\n", "ValueError: x"),
        ("{\n}\nF1123 10:00:01.1 main.go:49] no such secret\ntime=1 level\n", "no such secret"),
        ("one\ntwo\nI1123 10:00:01.1 main.go:49] done\n", "two"),
        ("deskgraph-error not json", "deskgraph-error not json"),
        ("x" * 999, "x" * 299 + "…"),
    ],
)
def test_the_last_words_of_a_log(log: str, said: str) -> None:
    assert last_words(log) == said


def test_retries_and_shown_names_come_from_the_version() -> None:
    prune = {
        "componentRef": {"name": "comp-prune"},
        "taskInfo": {"name": "prune-small"},
        "retryPolicy": {"maxRetryCount": 2},
    }
    spec = {
        "root": {"dag": {"tasks": {"inner": {"componentRef": {"name": "comp-inner"}}}}},
        "components": {
            "comp-inner": {"dag": {"tasks": {"prune-2": prune}}},
            "comp-prune": {"executorLabel": "exec-prune"},
        },
    }
    for content in (spec, {"pipeline_spec": spec, "platform_spec": {}}):
        (step,) = planned_steps(SimpleNamespace(pipeline_spec=content))
        assert (step.task, step.shown, step.retries) == ("prune-2", "prune-small", 2)


def test_the_command(
    kfp_server: KfpServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tiny_package: Path,
) -> None:
    def compile_package(name: str, profile: Any, out: Path) -> None:
        assert (name, profile.name) == ("training", "cluster")
        out.write_bytes(tiny_package.read_bytes())

    monkeypatch.setattr("pipelines.submission.compile_package", compile_package)
    command = ["submit", "--host", kfp_server.url, "--ui", "http://page/", "--no-follow"]
    assert cli.main([*command, "--param", "rows=5"]) == 0
    (run,) = kfp_server.all("runs")
    assert [each["display_name"] for each in kfp_server.all("experiments")] == [EXPERIMENT]
    assert f"http://page/#/runs/details/{run['run_id']}" in capsys.readouterr().out
    assert cli.main([*command, "--param", "rows=five"]) == 2
    assert "--param rows: is 'five'" in capsys.readouterr().err
    kfp_server.play(run["run_id"], "SUCCEEDED")
    assert cli.main([*command[:3], "--follow", run["run_id"]]) == 0
    assert cli.main([*command[:3], "--end", run["run_id"]]) == 0
    capsys.readouterr()
    assert cli.main([*command[:3], "--follow", "none"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert re.fullmatch(r"deskgraph: http://\S+: cannot read run none: .*not found\n", told.err)


def test_to_follow_a_run_nothing_that_compiles_is_loaded(
    client: PipelinesClient, kfp_server: KfpServer, run_id: str
) -> None:
    kfp_server.play(run_id, "SUCCEEDED")
    command = ["submit", "--host", kfp_server.url, "--follow", run_id]
    code = (
        "import sys\n"
        "from pipelines import cli\n"
        f"assert cli.main({command!r}) == 0\n"
        "heavy = {'kfp', 'kfp_server_api', 'mlflow', 'torch'} & sys.modules.keys()\n"
        "assert heavy == {'kfp_server_api'}, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_hint_after_an_interrupt_logs_in_the_same_way(
    kfp_server: KfpServer,
    run_id: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    def interrupt(follower: RunFollower) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(RunFollower, "follow", interrupt)
    cookie = tmp_path / "my cookie"
    cookie.write_text("session=1", encoding="utf-8")
    command = ["submit", "--host", kfp_server.url, "--cookie-file", str(cookie)]
    assert cli.main([*command, "--follow", run_id]) == 130
    assert f"deskgraph {shlex.join(command)} --end {run_id}" in capsys.readouterr().out
