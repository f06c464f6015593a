from dataclasses import replace
from pathlib import Path

import pytest

from components.training.checkpoint import (
    checkpoint_folder,
    content_digest,
    drop_checkpoints,
    is_whole,
    mark_whole,
    newest_whole,
    training_digest,
    training_folder,
)
from components.training.spec import TrainSpec

SPEC = TrainSpec(task="intent", model_dir="m", shards="s", out="o", checkpoints="c")


def checkpoint(folder: Path, step: int) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "trainable.safetensors").write_bytes(b"12345678")
    (path / "optimizer.pt").write_bytes(b"1234")
    return path


def test_a_checkpoint_is_whole_only_with_its_marker_and_every_byte(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, 3)
    assert not is_whole(path)
    mark_whole(path)
    assert is_whole(path)
    (path / "optimizer.pt").write_bytes(b"123")
    assert not is_whole(path)
    (path / "optimizer.pt").unlink()
    assert not is_whole(path)


def test_training_goes_on_from_the_newest_whole_one(tmp_path: Path) -> None:
    for step in (9, 10):
        mark_whole(checkpoint(tmp_path, step))
    torn = checkpoint(tmp_path, 11)
    assert newest_whole(tmp_path) == tmp_path / "checkpoint-10"
    assert not torn.exists()
    assert newest_whole(tmp_path / "nowhere") is None


def test_other_settings_or_contents_are_another_training(tmp_path: Path) -> None:
    own = training_digest(SPEC, ["model", "shards"])
    assert training_digest(replace(SPEC, out="elsewhere", threads=2), ["model", "shards"]) == own
    assert training_digest(replace(SPEC, epochs=9), ["model", "shards"]) != own
    assert training_digest(SPEC, ["model", "other shards"]) != own


def test_a_folders_digest_is_of_its_contents(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "config.json").write_text("{}")
    before = content_digest(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    assert content_digest(tmp_path / "b") == before
    (tmp_path / "b" / "config.json").write_text("[]")
    assert content_digest(tmp_path / "b") != before


def test_dropping_leaves_what_is_not_ours(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    mark_whole(checkpoint(training_folder(folder, "abc"), 1))
    (folder / "notes.txt").write_text("mine")
    drop_checkpoints(folder)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    (folder / "notes.txt").unlink()
    drop_checkpoints(folder)
    assert not folder.exists()


@pytest.mark.parametrize("kept", [True, False])
def test_checkpoints_live_where_the_run_says_or_as_long_as_the_stage(tmp_path, kept) -> None:
    with checkpoint_folder(str(tmp_path) if kept else "", "teacher") as folder:
        (Path(folder) / "x").write_text("")
    assert (tmp_path / "teacher" / "x").exists() is kept
    assert Path(folder).exists() is kept
