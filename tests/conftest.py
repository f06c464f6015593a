"""Real servers that many tests share (a graph over Bolt, an S3 object store), and their order."""

from __future__ import annotations

import os

import pytest

pytest_plugins = [
    "tests.graph_server",
    "tests.kfp_server",
    "tests.kube_server",
    "tests.s3_server",
]

# The tests share the machine's cores by files; none takes all of them for its own small model.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the whole roads first: minutes each, they would keep one core waiting at the end."""
    items.sort(key=lambda item: "e2e" not in item.path.parts)
