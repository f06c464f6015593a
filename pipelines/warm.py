"""Steps of a local run that start warm: forked from a process that has imported what they need.

A step on a laptop is a process of its own, as in a pod it is a container. Starting it from nothing
costs 5 to 13 s of imports (torch, and transformers' trainer above all), eighteen times a run. Here
one server imports once, in the background, and every step is forked from it: as alone in its
process as before, with the same log, and there at once.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver, get_context
from pathlib import Path
from typing import Any

# What several steps import, none of which starts threads or looks at a device when imported.
PRELOADED = (
    "kfp.dsl.executor_main",
    "onnxruntime",
    "pyarrow.parquet",
    "components.training.session",
    "components.export.exporting",
    "components.slicing.cutting",
)
LIGHT = frozenset({"detect_change", "fingerprint", "no_graph", "shard"})
"""Functions of the steps that come first and import little: they run while the server imports."""
RUNTIME = "_KFP_RUNTIME"
"""Tells kfp that it runs a step, so that it leaves out what compiles pipelines."""
PROGRAM = '"$program_path/ephemeral_component.py"'


@contextmanager
def warm_steps() -> Iterator[None]:
    """Lets kfp.local fork its steps from a warm process, where the platform can fork."""
    from kfp.local import subprocess_task_handler as handler

    started = handler.run_local_subprocess

    def run(full_command: list[str], env_vars: dict[str, str] | None = None) -> int:
        step = read_command(full_command)
        if step is None or not LIGHT.isdisjoint(step[1]):
            return int(started(full_command, env_vars))
        return _fork(*step, env_vars or {})

    _start_server()
    handler.run_local_subprocess = run
    try:
        yield
    finally:
        handler.run_local_subprocess = started


def read_command(full_command: Sequence[str]) -> tuple[str, list[str]] | None:
    """Returns a lightweight component's source and arguments; None of another kind of command."""
    for at, part in enumerate(full_command[:-1]):
        if PROGRAM in part and '"$@"' in part:
            return full_command[at + 1], list(full_command[at + 2 :])
    return None


def _start_server() -> None:
    """Starts the server, which imports while this process goes on."""
    get_context("forkserver").set_forkserver_preload(list(PRELOADED))
    before = os.environ.get(RUNTIME)
    os.environ[RUNTIME] = "true"
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ[RUNTIME]
        else:
            os.environ[RUNTIME] = before


def _fork(source: str, arguments: list[str], variables: Mapping[str, str]) -> int:
    """Runs a step and returns its exit code."""
    process: Any = get_context("forkserver").Process(
        target=_execute, args=(source, arguments, dict(variables))
    )
    process.start()
    process.join()
    code: int = process.exitcode
    return code


def _execute(source: str, arguments: list[str], variables: Mapping[str, str]) -> None:
    """Does in the step's own process what kfp's command line does."""
    os.environ.update(variables, **{RUNTIME: "true"})
    logging.getLogger().handlers.clear()  # kfp sets its own up
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    from kfp.dsl import executor_main

    with tempfile.TemporaryDirectory(prefix="deskgraph-step-") as folder:
        program = Path(folder) / "ephemeral_component.py"
        program.write_text(source, encoding="utf-8")
        sys.argv = ["executor_main", "--component_module_path", str(program), *arguments]
        executor_main.executor_main()
