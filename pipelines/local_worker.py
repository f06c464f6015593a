"""Runs a compiled pipeline through kfp.local; `deskgraph run` follows it from outside."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

from pipelines.warm import warm_steps


def run_compiled(
    package: Path, arguments: dict[str, Any], root: Path, cache: Path
) -> dict[str, Any]:
    """Runs a compiled pipeline, each step in a process of its own.

    Args:
        package: The compiled YAML.
        arguments: Pipeline parameters by name.
        root: Where the steps' artifacts go; a new folder a run.
        cache: Where finished steps are remembered.

    Returns:
        The pipeline's outputs: artifacts as their paths, parameters as they are.

    Raises:
        RuntimeError: A step failed; its own words are in the log.
    """
    from kfp import components, dsl, local

    # Images and resources mean nothing here; the run says so once by itself.
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="kfp")
    warnings.filterwarnings("ignore", message=".*have no effect in the current local runner.*")
    local.init(
        runner=local.SubprocessRunner(use_venv=False),
        pipeline_root=str(root),
        raise_on_error=True,
        enable_caching=True,
        cache_root=str(cache),
    )
    with warm_steps():
        pipeline = components.load_component_from_file(str(package))
        outputs = pipeline(**arguments).outputs
    return {
        name: value.path if isinstance(value, dsl.Artifact) else value
        for name, value in outputs.items()
    }


def end_with_parent() -> None:
    """Ends this process and the step under way when the other end of standard input closes.

    So a run that was killed leaves nothing behind that goes on writing.
    """
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            continue
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main(argv: list[str]) -> int:
    """Takes one JSON file that names package, arguments, root, cache and where the outputs go.

    Expects a process group of its own, and standard input held open by its parent.
    """
    # kfp says which steps it kept through the root logger, outside of its own set-up.
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    threading.Thread(target=end_with_parent, daemon=True).start()
    job = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    try:
        outputs = run_compiled(
            Path(job["package"]), job["arguments"], Path(job["root"]), Path(job["cache"])
        )
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    out = Path(job["outputs"])
    temporary = out.with_suffix(".tmp")
    temporary.write_text(json.dumps(outputs), encoding="utf-8")
    temporary.replace(out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
