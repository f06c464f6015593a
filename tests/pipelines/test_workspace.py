"""The folder of a run: refuses the foreign, keeps two runs apart, sweeps what is half-made."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kg_schema.errors import InputError
from pipelines.workspace import Workspace


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="something else"):
        Workspace(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="is a file"):
        Workspace(tmp_path / "out")


def test_a_second_run_is_kept_out_and_a_killed_one_is_forgotten(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = (
        "import sys, time; from pathlib import Path; from pipelines.workspace import Workspace\n"
        f"with Workspace(Path({str(out)!r})).lock(): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="another run"), Workspace(out).lock():
            pass
        other.kill()
        other.wait()
        with Workspace(out).lock():
            pass


def test_sweep_removes_only_what_no_finished_step_remembers(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "out")
    kept, dropped = workspace.pipeline / "run-1", workspace.pipeline / "run-2"
    for folder in (kept, dropped):
        (folder / "shard").mkdir(parents=True)
    entry = {"shards": {"uri": str(kept / "shard" / "shards")}}
    (workspace.cache / "key.json").write_text(json.dumps(entry))
    workspace.sweep()
    assert kept.exists()
    assert not dropped.exists()


def test_forget_keeps_registry_and_graph(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "out")
    (workspace.registry / "mlflow.db").write_text("versions")
    (workspace.cache / "key.json").write_text("{}")
    workspace.forget()
    assert (workspace.registry / "mlflow.db").exists()
    assert not any(workspace.cache.iterdir())
