"""Locations: what a stage reads and writes, on this machine, in S3 or in the samples package.

A stage works on ordinary paths. `localise` makes one of any location; `output_dir` and
`output_file` hand out an empty place to write and publish it only when the work succeeded, so
that what stands at a location is always whole and an interrupted run leaves the earlier result.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import functools
import hashlib
import logging
import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from kg_schema.errors import InputError
from samples import sample_path
from serving.manifest import MANIFEST_NAME, verify_manifest

FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT})
FULL_MARKS = ("No space left on device", "os error 28", "disk is full")
OBJECT_STORE_SCHEMES = ("s3://", "minio://")
FULL_BYTES = 4096
"""Fewer free bytes than a block: a write that failed then failed for lack of room."""

logger = logging.getLogger(__name__)


class StorageError(InputError):
    """A location cannot be read or written; what stood there is as it was."""


class DiskFullError(StorageError):
    """No room is left where the result was to be written."""


def localise(location: str, *, cache: Path | None = None) -> Path:
    """Returns the path, on this machine, of what stands at a location.

    Args:
        location: A plain path, `file://…`, `s3://bucket/key` (an object, or everything under
            the key; `minio://` is read as `s3://`), or `samples:tickets|graph|gold`.
        cache: Where downloads are kept, by content, for the next call; by default they go to a
            temporary folder that lives as long as this process.

    Returns:
        An existing file or directory. It is to be read only.

    Raises:
        InputError: Nothing stands there, or it cannot be reached.
        ManifestError: What came from S3 is not what its manifest says.
    """
    if not location:
        raise StorageError("no location given", fix="name a path, a file:// or an s3:// address")
    if location.startswith("samples:"):
        return sample_path(location.removeprefix("samples:"))
    if in_object_store(location):
        return _download(s3_address(location), cache)
    path = local_path(location)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise StorageError("no such file or directory", where=str(path)) from None
    except (OSError, ValueError) as error:
        raise StorageError(_reason(error), where=str(path)) from error
    return path


def in_object_store(location: str) -> bool:
    """Tells whether other machines find there what this one does."""
    return location.startswith(OBJECT_STORE_SCHEMES)


def s3_address(location: str) -> str:
    """Returns an object store's location as `s3://…`; Kubeflow Pipelines writes `minio://…`."""
    return location.replace("minio://", "s3://", 1)


def local_path(location: str) -> Path:
    """Returns the path that a plain or `file://` location names, whether or not it exists.

    Raises:
        StorageError: The location is not on this machine.
    """
    if location.startswith("file:"):
        parts = urlsplit(location)
        if parts.netloc not in ("", "localhost"):
            raise StorageError("a file address names another machine", where=location)
        return Path(unquote(parts.path))
    if "://" in location:
        raise StorageError(
            f"cannot read {location.split('://')[0]}:// addresses",
            where=location,
            fix="use a path, file:// or s3://",
        )
    try:
        return Path(location).expanduser()
    except RuntimeError as error:
        raise StorageError("names a home folder that is not there", where=location) from error


@contextlib.contextmanager
def output_dir(location: str) -> Iterator[Path]:
    """Yields an empty directory that becomes `location` when the block ends well.

    On this machine it is flushed to disk and renamed over what stood there. In S3 the files are
    uploaded, `manifest.json` last, and objects of an earlier result that are no part of this one
    are deleted after it: until then the manifest does not hold, so nothing takes it for whole.

    Raises:
        StorageError: The location cannot be written. What stood there stays.
        DiskFullError: The block or the flush ran out of room.
    """
    if in_object_store(location):
        from components import s3

        location = s3_address(location)
        s3.split_address(location)
        with _scratch(Path(tempfile.gettempdir()), "upload") as temp:
            temp.mkdir()
            yield temp
            s3.upload_dir(temp, location)
        return
    target = _writable(location)
    if target.exists() and not target.is_dir():
        raise StorageError("a file stands where a directory is to be written", where=str(target))
    with _scratch(target.parent, target.name) as temp:
        temp.mkdir()
        yield temp
        for path in sorted(temp.rglob("*")):
            _flush(path)
        _flush(temp)
        _replace_dir(temp, target)


@contextlib.contextmanager
def output_file(location: str) -> Iterator[Path]:
    """Yields a path to write that becomes `location` when the block ends well.

    Raises:
        StorageError: The location cannot be written, or the block wrote nothing.
        DiskFullError: The block or the flush ran out of room.
    """
    if in_object_store(location):
        from components import s3

        location = s3_address(location)
        s3.split_address(location)
        with _scratch(Path(tempfile.gettempdir()), "upload") as temp:
            yield temp
            s3.upload_file(temp, location)
        return
    target = _writable(location)
    if target.is_dir():
        raise StorageError("a directory stands where a file is to be written", where=str(target))
    with _scratch(target.parent, target.name) as temp:
        yield temp
        _flush(temp)
        os.replace(temp, target)
        _flush(target.parent)


def remove(location: str) -> None:
    """Deletes everything below an object store's location; nothing there is well too.

    Raises:
        StorageError: The server cannot be reached or refuses.
    """
    from components import s3

    s3.delete(s3.find_objects(s3_address(location)))


def _writable(location: str) -> Path:
    if not location or location.startswith("samples:"):
        raise StorageError("not a place to write to", where=location or "(empty location)")
    target = local_path(location).absolute()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _storage_error(error, target.parent) from error
    return target


@contextlib.contextmanager
def _scratch(parent: Path, name: str) -> Iterator[Path]:
    """Yields an unused path beside the target and removes whatever is left there.

    The name tells host and process, so that what a killed process left is swept later.
    """
    stem = f".{name}.{socket.gethostname()}."
    _sweep(parent, stem)
    temp = parent / f"{stem}{os.getpid()}.{uuid.uuid4().hex[:8]}.part"
    try:
        yield temp
    except BaseException as error:
        if not isinstance(error, InputError) and _is_full(error, parent):
            raise DiskFullError(
                "the disk is full", where=str(parent), fix="free some room and run again"
            ) from error
        if isinstance(error, OSError) and _concerns(error, temp):
            raise _storage_error(error, parent) from error
        raise
    finally:
        _remove(temp)


def _sweep(parent: Path, stem: str) -> None:
    for path in parent.glob(f"{_escape(stem)}*.part"):
        owner = path.name.removeprefix(stem).split(".")[0]
        if owner.isdigit() and not _alive(int(owner)):
            logger.info("removing what an interrupted run left: %s", path)
            _remove(path)


def _escape(text: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    if path.is_symlink():
        return
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        raise StorageError("nothing was written", where=str(path.parent)) from None
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _replace_dir(temp: Path, target: Path) -> None:
    if not target.exists() or not any(target.iterdir()):
        os.rename(temp, target)  # an empty directory is replaced in one step
        _flush(target.parent)
        return
    old = temp.with_suffix(".old.part")
    os.rename(target, old)
    try:
        os.rename(temp, target)
    except OSError:
        os.rename(old, target)
        raise
    _flush(target.parent)
    _remove(old)


def _is_full(error: BaseException, parent: Path) -> bool:
    """Tells whether lack of room is behind an error, whichever library raised it."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and link.errno in FULL_ERRNOS:
            return True
        if any(mark in str(link) for mark in FULL_MARKS):
            return True
        link = link.__cause__ or link.__context__
    if not isinstance(error, OSError | RuntimeError):
        return False
    with contextlib.suppress(OSError):
        return shutil.disk_usage(parent).free < FULL_BYTES
    return False


def _concerns(error: OSError, temp: Path) -> bool:
    names = (error.filename, error.filename2)
    return any(isinstance(name, str | Path) and str(name).startswith(str(temp)) for name in names)


def _storage_error(error: OSError, path: Path) -> StorageError:
    if error.errno in FULL_ERRNOS:
        return DiskFullError("the disk is full", where=str(path), fix="free some room")
    return StorageError(f"cannot be written: {_reason(error)}", where=str(path))


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)


@functools.cache
def _session_dir() -> Path:
    path = Path(tempfile.mkdtemp(prefix="deskgraph-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def _download(location: str, cache: Path | None) -> Path:
    """Fetches an object or a prefix into a folder named by its listing, once."""
    from components import s3

    objects = s3.list_objects(location)
    listing = "\n".join(f"{each.name}\t{each.etag}\t{each.size}" for each in objects)
    digest = hashlib.sha256(f"{location}\n{listing}".encode()).hexdigest()[:20]
    folder = (cache or _session_dir()) / digest
    target = folder / s3.base_name(location)
    single = len(objects) == 1 and not objects[0].name
    if target.exists():
        return target
    with (output_file if single else output_dir)(str(target)) as temp:
        for each in objects:
            s3.download_object(each, temp / each.name if each.name else temp)
        if not single and (temp / MANIFEST_NAME).exists():
            verify_manifest(temp)
    return target
