"""Steps forked from a warm process: alone in it, with kfp's own exit codes and output."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from pipelines.warm import read_command, warm_steps

# As kfp.local hands a lightweight component over.
SCRIPT = (
    'program_path=$(mktemp -d)\nprintf "%s" "$0" > "$program_path/ephemeral_component.py"\n'
    "_KFP_RUNTIME=true python3 -m kfp.dsl.executor_main"
    ' --component_module_path "$program_path/ephemeral_component.py" "$@"\n'
)
TELL = """
def tell(out: str):
    import os, sys
    warm = "transformers.trainer" in sys.modules
    with open(out, "a") as lines:
        lines.write(f"{os.getpid()} {warm} {os.environ.get('A_SECRET')} {os.getcwd()}\\n")
"""
BREAK = "def tell(out: str):\n    raise SystemExit(3)\n"


def command(source: str, out: Path, name: str = "tell") -> list[str]:
    outputs = {"outputFile": f"{out}.json"}
    given = json.dumps({"inputs": {"parameterValues": {"out": str(out)}}, "outputs": outputs})
    arguments = ["--executor_input", given, "--function_to_execute", name]
    return ["sh", "-ec", SCRIPT.replace("python3", sys.executable), source, *arguments]


def test_commands_of_lightweight_components_are_read(tmp_path: Path) -> None:
    read = read_command(command(TELL, tmp_path))
    assert read is not None
    assert (read[0], read[1][-2:]) == (TELL, ["--function_to_execute", "tell"])
    assert read_command(["python3", "train.py"]) is None
    assert read_command([]) is None


@pytest.mark.timeout(120)
def test_each_step_is_a_process_of_its_own_that_has_its_imports(tmp_path: Path) -> None:
    from kfp.local import subprocess_task_handler as handler

    plain = handler.run_local_subprocess
    out = tmp_path / "told"
    with warm_steps():
        run = handler.run_local_subprocess
        assert run(command(TELL, out), {"A_SECRET": "s1"}) == 0
        assert run(command(TELL, out)) == 0
        assert run(command(BREAK, out)) == 3
        assert run(command(TELL.replace("tell", "shard"), out, "shard")) == 0
        assert run([sys.executable, "-c", "raise SystemExit(5)"]) == 5
    assert handler.run_local_subprocess is plain
    first, second, light = (line.split() for line in out.read_text().splitlines())
    assert first[0] != second[0] and str(os.getpid()) not in (first[0], second[0])
    assert (first[1], second[1], light[1]) == ("True", "True", "False")
    assert (first[2], second[2]) == ("s1", "None")
    assert first[3] == os.getcwd()
