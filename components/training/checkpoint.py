"""Resume checkpoints: private to one training, taken up only when they are whole.

A checkpoint is whole when its marker, written last, names every file with the size it has. The
folder's name is a digest of the training (settings, model, data), so no other training resumes
from it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from components.storage import local_path
from components.training.spec import TrainSpec
from serving.manifest import MANIFEST_NAME, content_sha256, file_sha256, read_manifest

MARKER = "whole.json"
FOLDER_PREFIX = "training-"
# Where the result goes and how it is told change nothing about how training goes on.
_UNTRAINED = ("out", "checkpoints", "what", "threads", "trainer", "lineage", "compression")


def content_digest(directory: Path) -> str:
    """Returns a digest of a directory's contents, from its manifest where it has one."""
    if (directory / MANIFEST_NAME).is_file():
        return content_sha256(read_manifest(directory))
    digest = hashlib.sha256()
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(directory)} {file_sha256(path)}\n".encode())
    return digest.hexdigest()


def training_digest(spec: TrainSpec, contents: list[str]) -> str:
    """Returns the digest of one training: its settings and the contents of what it reads."""
    settings = {name: value for name, value in asdict(spec).items() if name not in _UNTRAINED}
    for name in ("model_dir", "shards", "teacher"):
        del settings[name]  # their contents count, not where they lie
    text = json.dumps([settings, contents], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def training_folder(checkpoints: Path, digest: str) -> Path:
    """Returns the folder of one training's checkpoints."""
    return checkpoints / f"{FOLDER_PREFIX}{digest}"


def mark_whole(checkpoint: Path) -> None:
    """Flushes a finished checkpoint to disk and writes its marker, last and atomically."""
    sizes = {}
    for path in sorted(path for path in checkpoint.iterdir() if path.is_file()):
        sizes[path.name] = path.stat().st_size
        _flush(path)
    part = checkpoint / f".{MARKER}"
    part.write_text(json.dumps(sizes), encoding="utf-8")
    _flush(part)
    part.replace(checkpoint / MARKER)


def is_whole(checkpoint: Path) -> bool:
    """Tells whether a checkpoint's marker is there and holds."""
    try:
        sizes = json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))
        return all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def newest_whole(folder: Path) -> Path | None:
    """Returns the latest whole checkpoint of a training, and removes those that are not whole."""
    whole = []
    for path in folder.glob("checkpoint-*"):
        if is_whole(path):
            whole.append(path)
        else:
            shutil.rmtree(path, ignore_errors=True)
    return max(whole, key=step_of, default=None)


def step_of(checkpoint: Path) -> int:
    """Returns the optimizer step that a checkpoint stands at."""
    return int(checkpoint.name.rpartition("-")[2])


@contextlib.contextmanager
def checkpoint_folder(checkpoints: str, name: str) -> Iterator[str]:
    """Yields the folder in which one training of a run keeps its checkpoints.

    Args:
        checkpoints: Local location of all trainings' checkpoints; empty gives a temporary folder,
            gone at the end, so that an interrupted training starts over.
        name: Which training.
    """
    if checkpoints:
        folder = local_path(checkpoints) / name
        folder.mkdir(parents=True, exist_ok=True)
        yield str(folder)
        return
    with tempfile.TemporaryDirectory(prefix="deskgraph-checkpoints-") as temporary:
        yield temporary


def drop_checkpoints(checkpoints: Path) -> None:
    """Removes what trainings left under `checkpoints`, and that folder if nothing else is there."""
    for path in checkpoints.glob(f"{FOLDER_PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)
    if checkpoints.is_dir() and not any(checkpoints.iterdir()):
        checkpoints.rmdir()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
