"""The assistant behind KServe's protocols, with a graph that is not there."""

import json

import pytest
from kserve import InferenceGRPCClient, InferInput, InferRequest

from kg_schema.ports import free_ports
from serving.contracts import Answer
from tests.serving.server_process import serving
from tests.serving.tiny_models import intent_model


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serving")
    graph = f"bolt://127.0.0.1:{free_ports(1)}"
    model = intent_model(folder / "model")
    with serving(model, folder / "log", graph=graph, deadline_s=25) as running:
        yield running


def test_every_protocol_gives_the_same_answer_of_the_contract(server):
    text = "how long is the warranty"
    (first,) = server.predict({"text": text, "as_of": "2026-03-01"}).json()["predictions"]
    (output,) = server.infer(text).json()["outputs"]
    v1, v2 = Answer.model_validate(first), Answer.model_validate_json(output["data"][0])
    assert v1.intent == v2.intent
    assert v1.intent.label == "warranty_length"
    assert v1.as_of.isoformat() == "2026-03-01"
    assert v1.versions == v2.versions
    assert v1.problem_type == v2.problem_type


async def test_grpc_takes_text_and_date(server):
    client = InferenceGRPCClient(f"127.0.0.1:{server.grpc_port}")
    try:
        inputs = [
            InferInput("text", [2], "BYTES", data=["warranty", "return"]),
            InferInput("as_of", [2], "BYTES", data=["2026-03-01", ""]),
        ]
        response = await client.infer(InferRequest("deskgraph", inputs))
    finally:
        await client.close()
    answers = [Answer.model_validate_json(each) for each in response.outputs[0].as_numpy()]
    assert [each.intent.label for each in answers] == ["warranty_length", "return_window"]
    assert answers[0].as_of.isoformat() == "2026-03-01"


def test_without_its_graph_it_stays_ready_gives_the_intent_and_hands_over(server):
    (content,) = server.predict({"text": "return"}).json()["predictions"]
    answer = Answer.model_validate(content)
    assert answer.degraded == ("graph",)
    assert answer.answer.abstained
    assert answer.answer.reason
    assert answer.facts == ()
    assert server.get("/v2/health/ready").status_code == 200


def test_answers_are_counted_and_logged_without_their_text(server):
    server.predict({"text": "return xyzzy"}, headers={"x-request-id": "counted"})
    metrics = server.get("/metrics").text
    assert 'outcome="abstained"' in metrics
    assert 'deskgraph_degraded_total{part="graph"}' in metrics
    assert 'deskgraph_step_seconds_count{step="intent"}' in metrics
    log = server.log.read_text()
    assert "xyzzy" not in log
    lines = [json.loads(line) for line in log.splitlines()]
    (line,) = [each for each in lines if each.get("request_id") == "counted"]
    assert (line["intent"], line["outcome"]) == ("return_window", "abstained")
