"""Digests of what a run reads, by content, and the name that belongs to a data set."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from components.storage import localise
from serving.manifest import file_sha256


def default_model_name(tickets: str, task: str) -> str:
    """Names a model after its data set: another company's tickets give another name.

    >>> default_model_name("samples:tickets", "intent")
    'deskgraph-intent-samples-tickets'
    """
    readable = re.sub(r"[^a-z0-9]+", "-", Path(tickets).stem.lower()).strip("-") or "tickets"
    if tickets.startswith("samples:"):
        return f"deskgraph-{task}-{readable}"
    absolute = tickets if "://" in tickets else str(Path(tickets).resolve())
    return f"deskgraph-{task}-{readable}-{hashlib.sha256(absolute.encode()).hexdigest()[:6]}"


def digest_locations(*locations: str) -> str:
    """Digests the files below some locations; empty names are passed over."""
    lines = []
    for number, location in enumerate(locations):
        if not location:
            continue
        root = localise(location)
        paths = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())
        # A lone file's own name does not matter; inside a folder it tells nodes from gold.
        lines += [
            f"{number}\t{path.relative_to(root).as_posix()}\t{file_sha256(path)}" for path in paths
        ]
    return digest_text("\n".join(lines)) if lines else ""


def digest_labels(labels: Iterable[str]) -> str:
    """Digests a set of intents, in whatever order; empty for none."""
    names = sorted(set(labels))
    return digest_text("\n".join(names)) if names else ""


def digest_text(text: str) -> str:
    """The first 16 hexadecimal characters of a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
