"""Starts the ranks of a distributed job with torchrun, follows them and ends them.

One builder makes the command for this machine and for a cluster's pods. The ranks talk to their
launcher in events: one JSON object a line on standard output, after `EVENT_MARK`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kg_schema.errors import DeskGraphError

logger = logging.getLogger(__name__)

Event = Mapping[str, Any]

EVENT_MARK = "deskgraph-event "
FOLLOWED = "DESKGRAPH_FOLLOWED"
TAIL_LINES = 12
TERMINATE_S = 5.0
CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
# Where torchrun's own report begins in what it and its ranks wrote together.
_REPORT = re.compile(r"[EW]\d{4} .*torch/distributed/elastic/(agent|multiprocessing)/")
# Torch's warnings while ranks find each other, as where there is no IPv6: no cause of an end.
_MEETING = re.compile(r"(\[rank\d+\]:)?\[[IW]\d{3,4} [^\]]*\] \[c10d\] ")
_ROOT_CAUSE = re.compile(
    r"Root Cause.*?rank\s*:\s*(?P<rank>\d+).*?exitcode\s*:\s*(?P<code>-?\d+)", re.DOTALL
)


class LaunchError(DeskGraphError):
    """A rank failed; the message ends with the last lines that it wrote."""


def torchrun_command(
    module: str,
    arguments: Sequence[str],
    *,
    ranks: int = 0,
    nodes: int = 1,
    rendezvous: str = "",
    python: str = sys.executable,
) -> list[str]:
    """Returns the command that starts `ranks` processes of a module on this node.

    Args:
        module: Dotted name, run as `python -m`.
        arguments: The module's own arguments.
        ranks: Processes on each node; 0 leaves them, the nodes and where they meet to the `PET_`
            variables that Kubeflow Trainer sets in a TrainJob's pods.
        nodes: Machines (or pods) that take part, each running this same command.
        rendezvous: `host:port` where they meet; wanted with more than one node.
        python: The interpreter, as the node knows it.

    Raises:
        LaunchError: Several nodes and no place to meet.
    """
    run = [python, "-m", "torch.distributed.run"]
    end = ["--max-restarts=0", "-m", module, *arguments]
    if not ranks:
        return [*run, *end]
    if nodes > 1 and not rendezvous:
        raise LaunchError(f"{nodes} nodes have no place to meet", fix="give host:port")
    meet = (
        ["--rdzv-backend=c10d", f"--rdzv-endpoint={rendezvous}"] if rendezvous else ["--standalone"]
    )
    return [*run, *meet, f"--nnodes={nodes}", f"--nproc-per-node={ranks}", *end]


def threads_a_rank(ranks: int) -> int:
    """Returns the cores this process may use, shared out among `ranks`; at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(cores, _cores_of_the_pod() or cores) // ranks)


def _cores_of_the_pod() -> int:
    """Returns the whole cores of this container's limit; 0 without one."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = CPU_LIMIT.read_text(encoding="ascii").split()
        return max(1, int(quota) // int(period))  # `max` is no limit
    return 0


def follow(
    module: str,
    arguments: Sequence[str],
    *,
    ranks: int,
    threads: int,
    on_event: Callable[[Event], None],
) -> None:
    """Runs the ranks on this machine to their end and hands on their events as they come.

    However this call ends (an exception of `on_event`, Ctrl-C, even kill -9), the ranks end too:
    each holds the far end of a pipe and leaves when it closes.

    Raises:
        LaunchError: A rank failed.
    """
    with tempfile.TemporaryDirectory(prefix="deskgraph-ranks-") as logs:
        command = torchrun_command(module, arguments, ranks=ranks)
        at = command.index("-m", command.index("torch.distributed.run"))
        command[at:at] = [f"--log-dir={logs}", "--redirects=2"]
        with (Path(logs) / "torchrun.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_environment(threads),
                start_new_session=True,
            )
            with _ended(process):
                for event in _events(process):
                    on_event(event)
                code = process.wait()
        if code:
            raise _failure(Path(logs), code)


def emit(kind: str, **values: Any) -> None:
    """Writes one event, from a rank, for the launcher that follows it."""
    sys.stdout.write(f"{EVENT_MARK}{json.dumps({'event': kind, **values})}\n")
    sys.stdout.flush()


def read_event(line: str) -> Event | None:
    """Returns the event that a line holds; None where it holds none."""
    if not line.startswith(EVENT_MARK):
        return None
    event: Event = json.loads(line.removeprefix(EVENT_MARK))
    return event


def leave_with_launcher() -> None:
    """Makes this rank leave at once when its launcher is gone, however that one ended.

    Does nothing in a rank that no launcher follows (a pod's).
    """
    if os.environ.get(FOLLOWED):
        threading.Thread(target=_leave_at_end_of_input, daemon=True).start()


def _leave_at_end_of_input() -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            continue
    os._exit(1)


def _environment(threads: int) -> dict[str, str]:
    # The ranks of one machine meet on the loopback interface; its name need not resolve.
    own = {
        FOLLOWED: "1",
        "GLOO_SOCKET_IFNAME": LOOPBACK,
        "OMP_NUM_THREADS": str(threads),
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    return {**os.environ, **own}


def _events(process: subprocess.Popen[bytes]) -> Iterator[Event]:
    assert process.stdout is not None  # noqa: S101 - asked for in Popen
    for raw in process.stdout:
        line = raw.decode("utf-8", errors="replace").rstrip()
        if (event := read_event(line)) is not None:
            yield event
        elif line:
            logger.info("%s", line)


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        _signal_group(process, signal.SIGTERM)
        try:
            process.wait(TERMINATE_S)
        except subprocess.TimeoutExpired:
            _signal_group(process, signal.SIGKILL)
            process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def _failure(logs: Path, code: int) -> LaunchError:
    report = (logs / "torchrun.log").read_text(encoding="utf-8", errors="replace")
    cause = _ROOT_CAUSE.search(report)
    if cause is None:
        return LaunchError(f"torchrun exited with {code}: {_tail(report.splitlines())}")
    said = "\n".join(
        path.read_text(encoding="utf-8", errors="replace")
        for path in sorted(logs.glob(f"*/attempt_*/{cause['rank']}/stderr.log"))
    )
    return LaunchError(f"{_how(cause)}: {_tail(said.splitlines()) or 'it wrote nothing'}")


def last_words(lines: Sequence[str]) -> str:
    """Returns the end of what one node's ranks wrote, which rank failed first, in one line.

    Args:
        lines: What torchrun and its ranks wrote together, as a pod's log has it.
    """
    own = [line for line in lines if not _MEETING.match(line)]
    report = next((at for at, line in enumerate(own) if _REPORT.match(line)), len(own))
    said = _tail(own[:report]) or _tail(own) or _tail(lines) or "it wrote nothing"
    cause = _ROOT_CAUSE.search("\n".join(lines))
    return f"{_how(cause)}: {said}" if cause else said


def _how(cause: re.Match[str]) -> str:
    code = int(cause["code"])
    how = f"was ended by signal {-code}" if code < 0 else f"exited with {code}"
    return f"rank {cause['rank']} {how}"


def _tail(lines: Sequence[str]) -> str:
    said = [line.strip() for line in lines if line.strip() and not line.startswith(EVENT_MARK)]
    return " | ".join(said[-TAIL_LINES:])
