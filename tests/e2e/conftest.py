"""A folder with tickets, base models and a profile."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.components.training import tiny
from tests.e2e.commands import PROFILE


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tickets, base models and a profile."""
    folder = tmp_path_factory.mktemp("road")
    rows = "".join(json.dumps(row) + "\n" for row in tiny.tickets())
    (folder / "tickets.jsonl").write_text(rows, encoding="utf-8")
    (folder / "more.csv").write_text("text\nthe tablet is warm\nis the watch waterproof\n", "utf-8")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(PROFILE), encoding="utf-8")
    tiny.make_base(folder / "encoder")
    tiny.make_decoder(folder / "decoder")
    return folder
