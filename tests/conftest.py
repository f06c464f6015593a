"""Real servers that many tests share: a graph over Bolt, an S3 object store."""

from __future__ import annotations

pytest_plugins = ["tests.graph_server", "tests.s3_server"]
