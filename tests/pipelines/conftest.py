"""A tiny compiled pipeline, once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipelines.tiny_pipeline import compile_tiny


@pytest.fixture(scope="session")
def tiny_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled YAML."""
    return compile_tiny(tmp_path_factory.mktemp("tiny") / "tiny.yaml")
