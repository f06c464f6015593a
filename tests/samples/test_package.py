from __future__ import annotations

import filecmp
import subprocess
import sys
from pathlib import Path

import pytest

from kg_schema.errors import InputError
from samples import SAMPLE_NAMES, sample_path


@pytest.mark.parametrize("name", SAMPLE_NAMES)
def test_each_part_is_a_folder_of_small_files(name: str) -> None:
    files = list(sample_path(name).iterdir())
    assert files
    assert all(path.suffix == ".jsonl" for path in files)
    assert max(path.stat().st_size for path in files) < 1_000_000


def test_all_parts_together_stay_small() -> None:
    total = sum(
        path.stat().st_size for name in SAMPLE_NAMES for path in sample_path(name).iterdir()
    )
    assert total < 12_000_000


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"samples:orders.*tickets, graph, gold"):
        sample_path("orders")


def _generate(out: Path, hash_seed: str) -> None:
    root = Path(__file__).resolve().parents[2]
    subprocess.run(
        [sys.executable, "-m", "samples.generate", "--out", str(out)],
        cwd=root,
        env={"PYTHONHASHSEED": hash_seed, "PATH": "/usr/bin:/bin"},
        check=True,
    )


def test_the_generator_writes_the_committed_bytes(tmp_path: Path) -> None:
    (tmp_path / "gold").mkdir()
    (tmp_path / "gold" / "stale.jsonl").write_text("{}\n")
    _generate(tmp_path, hash_seed="17")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(SAMPLE_NAMES)
    for name in SAMPLE_NAMES:
        compared = filecmp.dircmp(tmp_path / name, sample_path(name), ignore=[])
        assert not compared.left_only
        assert not compared.right_only
        _, different, failed = filecmp.cmpfiles(
            tmp_path / name, sample_path(name), compared.common_files, shallow=False
        )
        assert (different, failed) == ([], [])
