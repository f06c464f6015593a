import uuid
from pathlib import Path

import pytest

from tests.components.training.tiny import make_base, make_shards
from tests.s3_server import S3Server


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def staging(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """An unused location on the S3 server, with its keys in the environment."""
    for name, value in s3_server.env.items():
        if name != "AWS_REGION":
            monkeypatch.setenv(name, value)
    return f"s3://{s3_server.bucket}/{uuid.uuid4().hex[:8]}"
