"""Resume checkpoints in the object store, for ranks whose disks go with their pods."""

from __future__ import annotations

import logging
from pathlib import Path

from components import s3
from components.storage import StorageError, s3_address
from components.training.checkpoint import MARKER

logger = logging.getLogger(__name__)


class Mirror:
    """Keeps the newest checkpoint of each training, with the loose files beside it.

    Args:
        location: `s3://…` of all trainings' checkpoints.
    """

    def __init__(self, location: str) -> None:
        self._location = s3_address(location)

    def restore(self, folder: Path) -> None:
        """Fetches what was kept of the training whose folder this is, if anything was.

        Raises:
            StorageError: The server cannot be reached or refuses.
        """
        objects = s3.find_objects(f"{self._location}/{folder.name}")
        newest = max((_step(each) for each in objects if _is_marker(each)), default=-1)
        for each in objects:
            if _step(each) in (newest, -1):
                s3.download_object(each, folder / each.name)

    def keep(self, checkpoint: Path) -> None:
        """Uploads a whole checkpoint, its marker last, and lets go of the earlier one.

        A server that is away costs no training: it is logged, and the next checkpoint is tried.
        """
        folder = checkpoint.parent
        place = f"{self._location}/{folder.name}"
        loose = sorted(path for path in folder.iterdir() if path.is_file())
        own = sorted(checkpoint.iterdir(), key=lambda path: (path.name == MARKER, path.name))
        try:
            for path in (*loose, *own):
                s3.upload_file(path, f"{place}/{path.relative_to(folder).as_posix()}")
            kept = s3.find_objects(place)
            s3.delete(
                [
                    each
                    for each in kept
                    if not each.name.startswith(f"{checkpoint.name}/") and _step(each) >= 0
                ]
            )
        except StorageError as error:
            logger.warning("%s is not kept in the object store: %s", checkpoint.name, error)


def _is_marker(remote: s3.RemoteObject) -> bool:
    return remote.name.rpartition("/")[2] == MARKER


def _step(remote: s3.RemoteObject) -> int:
    """Returns the step of the checkpoint that an object belongs to; -1 for a loose file."""
    folder, inside, _ = remote.name.partition("/")
    return int(folder.rpartition("-")[2]) if inside else -1
