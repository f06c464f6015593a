"""Manifests: what a directory must hold, byte for byte, before anything reads it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path, PurePosixPath
from typing import Any

from kg_schema.errors import DeskGraphError

MANIFEST_NAME = "manifest.json"
SCHEMA_VERSION = 1
_CHUNK_BYTES = 1 << 20


class ManifestError(DeskGraphError):
    """A directory has no manifest, or does not hold what its manifest says."""


def file_sha256(path: Path) -> str:
    """Returns the hex SHA-256 of a file, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(_CHUNK_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def write_manifest(directory: Path, kind: str, **extra: Any) -> dict[str, Any]:
    """Lists every file below a directory and writes its manifest last, atomically.

    Args:
        directory: What to describe; a manifest at its top is replaced.
        kind: `model`, `shards`, `evaluation` …; checked by the reader.
        **extra: Further keys, JSON values only. `schema_version`, `kind` and `files` are taken.

    Returns:
        The manifest as written.

    Raises:
        ManifestError: An extra key is one of the manifest's own.
    """
    own = {"schema_version", "kind", "files"} & extra.keys()
    if own:
        raise ManifestError(f"reserved manifest keys {sorted(own)}", where=str(directory))
    files = [
        {
            "path": path.relative_to(directory).as_posix(),
            "bytes": path.stat().st_size,
            "sha256": file_sha256(path),
        }
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path != directory / MANIFEST_NAME
    ]
    manifest = {"schema_version": SCHEMA_VERSION, "kind": kind, "files": files, **extra}
    temporary = directory / f".{MANIFEST_NAME}.{os.getpid()}"
    with temporary.open("w", encoding="utf-8") as stream:
        json.dump(manifest, stream, indent=1, ensure_ascii=False)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(directory / MANIFEST_NAME)
    return manifest


def read_manifest(directory: Path) -> dict[str, Any]:
    """Reads a manifest without checking the files it lists.

    Raises:
        ManifestError: It is missing, is no JSON, or is of another schema version.
    """
    path = directory / MANIFEST_NAME
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ManifestError(
            f"no {MANIFEST_NAME}",
            where=str(directory),
            fix="make the directory again",
        ) from None
    except (OSError, ValueError) as error:
        raise ManifestError(f"unreadable manifest: {error}", where=str(path)) from error
    if not isinstance(manifest, dict) or manifest.get("schema_version") != SCHEMA_VERSION:
        raise ManifestError(f"not a manifest of schema version {SCHEMA_VERSION}", where=str(path))
    return manifest


def verify_manifest(directory: Path, kind: str | None = None) -> dict[str, Any]:
    """Checks the size and SHA-256 of every listed file.

    Args:
        directory: A directory that `write_manifest` described.
        kind: What it must be; any kind where None.

    Returns:
        The manifest.

    Raises:
        ManifestError: No manifest, another kind, a path that leaves the directory, or a file
            that is missing or differs.
    """
    manifest = read_manifest(directory)
    if kind is not None and manifest.get("kind") != kind:
        raise ManifestError(
            f"holds {manifest.get('kind')!r} where {kind!r} is needed", where=str(directory)
        )
    for entry in _entries(manifest, directory):
        path = directory / _inside(entry["path"], directory)
        if not path.is_file():
            raise ManifestError("listed in the manifest but missing", where=str(path))
        size = path.stat().st_size
        if size != entry["bytes"]:
            raise ManifestError(f"{size} bytes where {entry['bytes']} are listed", where=str(path))
        if file_sha256(path) != entry["sha256"]:
            raise ManifestError("SHA-256 differs from the manifest's", where=str(path))
    return manifest


def content_sha256(manifest: dict[str, Any]) -> str:
    """Returns one digest of the kind and of every file's path, size and hash."""
    lines = sorted(f"{e['path']}\t{e['bytes']}\t{e['sha256']}" for e in manifest["files"])
    text = "\n".join([str(manifest["kind"]), *lines])
    return hashlib.sha256(text.encode()).hexdigest()


def _entries(manifest: dict[str, Any], directory: Path) -> list[dict[str, Any]]:
    files = manifest.get("files")
    if not isinstance(files, list) or not all(
        isinstance(entry, dict) and {"path", "bytes", "sha256"} <= entry.keys() for entry in files
    ):
        raise ManifestError("the manifest lists no files", where=str(directory))
    return files


def _inside(path: str, directory: Path) -> PurePosixPath:
    relative = PurePosixPath(path)
    if relative.is_absolute() or ".." in relative.parts:
        raise ManifestError(f"the manifest names {path!r}, outside of it", where=str(directory))
    return relative
