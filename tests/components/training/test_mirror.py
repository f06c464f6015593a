"""Checkpoints in the object store: the newest whole one comes back, whatever broke off when."""

from __future__ import annotations

import logging
import uuid
from pathlib import Path

import pytest

from components import s3
from components.training.checkpoint import MARKER, mark_whole, newest_whole
from components.training.mirror import Mirror
from tests.s3_server import S3Server


@pytest.fixture
def place(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in s3_server.env.items():
        monkeypatch.setenv(name, value)
    return f"s3://{s3_server.bucket}/{uuid.uuid4().hex[:8]}"


def checkpoint(folder: Path, step: int) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "trainable.safetensors").write_text(str(step))
    mark_whole(path)
    return path


def test_the_newest_checkpoint_and_what_lies_beside_it_come_back(
    place: str, tmp_path: Path
) -> None:
    here, there = tmp_path / "here" / "training-1", tmp_path / "there" / "training-1"
    mirror = Mirror(place)
    mirror.restore(there)
    assert newest_whole(there) is None
    mirror.keep(checkpoint(here, 5))
    (here / "precision.json").write_text("{}")
    mirror.keep(checkpoint(here, 10))
    kept = {each.name for each in s3.find_objects(place)}
    assert kept == {
        "training-1/precision.json",
        "training-1/checkpoint-10/trainable.safetensors",
        f"training-1/checkpoint-10/{MARKER}",
    }
    mirror.restore(there)
    found = newest_whole(there)
    assert found is not None
    assert (found.name, (found / "trainable.safetensors").read_text()) == ("checkpoint-10", "10")
    assert (there / "precision.json").is_file()
    other = tmp_path / "there" / "training-12"
    mirror.restore(other)
    assert not other.exists()


def test_an_upload_that_broke_off_leaves_the_checkpoint_before(place: str, tmp_path: Path) -> None:
    here, there = tmp_path / "here" / "training-1", tmp_path / "there" / "training-1"
    Mirror(place).keep(checkpoint(here, 5))
    part = f"{place}/training-1/checkpoint-10/trainable.safetensors"
    s3.upload_file(checkpoint(here, 10) / "trainable.safetensors", part)
    Mirror(place).restore(there)
    found = newest_whole(there)
    assert found is not None
    assert found.name == "checkpoint-5"


def test_a_store_that_refuses_costs_no_training(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with caplog.at_level(logging.WARNING):
        Mirror(place).keep(checkpoint(tmp_path / "training-1", 5))
    assert "checkpoint-5 is not kept in the object store" in caplog.text
