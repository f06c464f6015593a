"""The folder of a run: where its graph, registry, results and logs lie."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kg_schema.errors import InputError

NOTE = "workspace.json"


class Workspace:
    """One `--out DIR`.

    Args:
        out: The folder; made where it is missing.

    Raises:
        InputError: It is a file, is not ours, or cannot be written.
    """

    def __init__(self, out: Path) -> None:
        self.out = out.resolve()
        if self.out.is_file():
            raise InputError("is a file", where=str(out), fix="give a folder")
        foreign = self.out.is_dir() and any(self.out.iterdir()) and not (self.out / NOTE).exists()
        if foreign:
            raise InputError(
                "holds files of something else", where=str(out), fix="give a new or empty folder"
            )
        try:
            for folder in (self.graph, self.registry, self.pipeline, self.cache, self.logs):
                folder.mkdir(parents=True, exist_ok=True)
            if not (self.out / NOTE).exists():
                self.write_json(NOTE, {})
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", where=str(out)) from error

    @property
    def graph(self) -> Path:
        """The embedded graph server's data."""
        return self.out / "graph"

    @property
    def registry(self) -> Path:
        """MLflow's database and artifacts."""
        return self.out / "registry"

    @property
    def pipeline(self) -> Path:
        """The steps' artifacts, a folder a run."""
        return self.out / "pipeline"

    @property
    def cache(self) -> Path:
        """What finished steps are remembered by."""
        return self.out / "cache"

    @property
    def checkpoints(self) -> Path:
        """Resume points of trainings under way."""
        return self.out / "checkpoints"

    @property
    def report(self) -> Path:
        """The report of the last finished run."""
        return self.out / "report"

    @property
    def logs(self) -> Path:
        """Logs of runs and servers."""
        return self.out / "logs"

    @property
    def tracking_uri(self) -> str:
        """MLflow's address: SQLite, no server."""
        return f"sqlite:///{self.registry / 'mlflow.db'}"

    def read_json(self, name: str) -> dict[str, Any]:
        """Reads one of the workspace's own files; empty where it is missing."""
        try:
            content = json.loads((self.out / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return dict(content)

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Writes one of the workspace's own files, whole or not at all."""
        temporary = self.out / f".{name}.tmp"
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        temporary.replace(self.out / name)

    def forget(self) -> None:
        """Drops what finished steps left, so that the next run starts with the first one."""
        for folder in (self.pipeline, self.cache, self.checkpoints):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()

    def sweep(self) -> None:
        """Removes run folders that no finished step remembers: what killed runs left half-made."""
        remembered = "".join(path.read_text(encoding="utf-8") for path in self.cache.glob("*.json"))
        for folder in self.pipeline.iterdir():
            if f"{folder}{os.sep}" not in remembered:
                shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps a second run out while this one lasts; a killed run's lock is gone with it.

        Raises:
            InputError: Another run holds it.
        """
        with (self.out / ".lock").open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    "another run works here", where=str(self.out), fix="wait for it or name another"
                ) from None
            yield
