import json
import logging

import httpx
import pytest
from fastapi import FastAPI

from kg_schema.errors import DeskGraphError
from serving.batching import Overloaded, Stopping
from serving.guard import HttpGuard, install_handlers
from serving.model import DeadlineExceeded
from serving.telemetry import JsonFormatter

SECRET = "MATCH (c:Customer {email: 'ada@example.org'})"


@pytest.fixture
def client():
    app = FastAPI()
    raising = {
        "query": RuntimeError(SECRET),
        "typed": DeskGraphError(SECRET),
        "full": Overloaded("64 requests are waiting already"),
        "stopping": Stopping("the server is shutting down"),
        "late": DeadlineExceeded("no answer in 1 s"),
        "absent": NotImplementedError("no explainer"),
    }

    @app.get("/{name}")
    async def fail(name: str):
        raise raising[name]

    install_handlers(app)
    app.add_middleware(HttpGuard, max_body_bytes=100, deadline_s=1)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


@pytest.mark.parametrize("name", ["query", "typed", "no such error"])
async def test_an_unforeseen_error_gives_nothing_away_and_can_be_found(client, name, caplog):
    with caplog.at_level(logging.ERROR):
        response = await client.get(f"/{name}", headers={"x-request-id": "r-1"})
    assert response.status_code == 500
    assert response.json() == {"error": "internal error, request r-1"}
    (record,) = caplog.records
    line = JsonFormatter().format(record)
    assert json.loads(line)["request_id"] == "r-1"
    assert "ada@example.org" not in line
    assert "test_guard.py" in line


@pytest.mark.parametrize(
    ("name", "status"), [("full", 429), ("stopping", 503), ("late", 504), ("absent", 501)]
)
async def test_a_foreseen_error_has_its_status_and_its_line(client, name, status):
    response = await client.get(f"/{name}")
    assert response.status_code == status
    assert response.json()["error"]
    assert ("retry-after" in response.headers) == (status in (429, 503))
