"""One harmless ticket through every protocol of a server that is not yet sent traffic."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import ValidationError

from kg_schema.errors import DeskGraphError
from serving.contracts import Answer
from serving.telemetry import probe_headers

SMOKE_TICKET = "Hello, how long is the warranty?"
TIMEOUT_S = 20.0


class SmokeFailed(DeskGraphError):
    """A server answers, but not what the contract says."""


@dataclass(frozen=True, slots=True)
class AnswerCheck:
    """What a server answered to the smoke ticket, the same through every protocol asked.

    Attributes:
        protocols: Those that were asked.
        intent: The intent it saw; empty for a text generator.
        abstained: Whether it handed over; so it does without a graph.
        model: The digest of the model that answered.
        degraded: Parts of the system that were missing.
    """

    protocols: tuple[str, ...]
    intent: str
    abstained: bool
    model: str
    degraded: tuple[str, ...]


def check_answers(url: str, name: str, *, with_graph: bool) -> AnswerCheck:
    """Asks for readiness, then one ticket through V1 and V2, and compares.

    Args:
        url: The server's address, `http://host:port`.
        name: The model's name in the protocols' paths.
        with_graph: The server was given a graph, and must have read it.

    Raises:
        SmokeFailed: The server is not ready, an answer breaks the contract, V1 and V2 differ, or
            the graph cannot be read.
    """
    try:
        with httpx.Client(
            base_url=url, timeout=TIMEOUT_S, trust_env=False, headers=probe_headers()
        ) as client:
            _ok(client.get(f"/v2/models/{name}/ready"))
            body = {"instances": [{"text": SMOKE_TICKET}]}
            first = _ok(client.post(f"/v1/models/{name}:predict", json=body))["predictions"][0]
            tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [SMOKE_TICKET]}
            outputs = _ok(client.post(f"/v2/models/{name}/infer", json={"inputs": [tensor]}))
            second = json.loads(outputs["outputs"][0]["data"][0])
        checks = [_check(answer, url) for answer in (first, second)]
    except httpx.HTTPError as error:
        raise SmokeFailed(f"no answer: {type(error).__name__}", where=url) from error
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise SmokeFailed("the response is not of its protocol", where=url) from error
    if checks[0] != checks[1]:
        raise SmokeFailed("V1 and V2 answer differently", where=url)
    if with_graph and "graph" in checks[0].degraded:
        raise SmokeFailed("it answers without its graph", where=url, fix="see that the graph runs")
    return checks[0]


def _ok(response: httpx.Response) -> dict[str, Any]:
    if response.status_code != 200:
        raise SmokeFailed(
            f"HTTP {response.status_code}: {response.text[:200]}", where=str(response.url)
        )
    content: dict[str, Any] = response.json()
    return content


def _check(answer: dict[str, Any], url: str) -> AnswerCheck:
    if "answer" not in answer:
        return AnswerCheck(("v1", "v2"), "", False, str(answer["versions"]["model"]), ())
    try:
        told = Answer.model_validate(answer)
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise SmokeFailed(f"the answer breaks the contract at {place!r}", where=url) from None
    cited = {fact for claim in told.answer.claims for fact in claim.facts}
    if not cited <= {fact.id for fact in told.facts}:
        raise SmokeFailed("a claim cites a fact that the answer does not carry", where=url)
    return AnswerCheck(
        protocols=("v1", "v2"),
        intent=told.intent.label,
        abstained=told.answer.abstained,
        model=told.versions.model or "",
        degraded=told.degraded,
    )
