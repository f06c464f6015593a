import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferInput, InferRequest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from kg_schema.errors import InputError
from kg_schema.ports import free_ports
from serving.manifest import content_sha256, read_manifest
from serving.server import listen
from tests.serving.server_process import Server, serving
from tests.serving.tiny_models import answer_model

BODY_LIMIT = 4096
APP = (sys.executable, "-m", "serving.app", "--grpc-port", "0")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return answer_model(tmp_path_factory.mktemp("models") / "answer", max_length=4000)


@pytest.fixture(scope="module")
def server(model, tmp_path_factory):
    log = tmp_path_factory.mktemp("logs") / "serving.log"
    settings = {"max_body_bytes": BODY_LIMIT, "queue_size": 2, "deadline_s": 5}
    with serving(model, log, **settings) as running:
        yield running


@pytest.fixture
def stub(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        yield GRPCInferenceServiceStub(channel)


def tensor(*texts, name="text"):
    contents = pb.InferTensorContents(bytes_contents=[text.encode() for text in texts])
    return pb.ModelInferRequest.InferInputTensor(
        name=name, datatype="BYTES", shape=[len(texts)], contents=contents
    )


def test_v1_answers_each_instance_in_order(server, model):
    response = server.predict({"text": "warranty"}, {"turns": [{"role": "user", "text": "two"}]})
    assert response.status_code == 200
    first, second = response.json()["predictions"]
    assert (first["text"], second["text"]) == ("two years", "years")
    assert first["versions"]["model"] == content_sha256(read_manifest(model))[:12]


def test_v2_answers_as_json_in_a_bytes_tensor(server):
    response = server.infer("warranty", "two")
    assert response.status_code == 200
    (output,) = response.json()["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("answer", "BYTES", [2])
    assert [json.loads(text)["text"] for text in output["data"]] == ["two years", "years"]


def test_v2_is_understood_whatever_the_content_type_says(server):
    body = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["two"]}]}
    headers = {"content-type": "application/x-www-form-urlencoded"}
    response = server.http.post(
        "/v2/models/deskgraph/infer", content=json.dumps(body), headers=headers
    )
    assert response.status_code == 200


async def test_grpc_answers_typed_and_raw_tensors(server):
    client = InferenceGRPCClient(f"127.0.0.1:{server.grpc_port}")
    try:
        assert await client.is_server_ready()
        assert await client.is_model_ready("deskgraph")
        typed = InferInput("text", [1], "BYTES", data=["warranty"])
        raw = InferInput("text", [1], "BYTES")
        raw.set_data_from_numpy(np.array([b"warranty"], dtype=np.object_))
        for each in (typed, raw):
            response = await client.infer(InferRequest("deskgraph", [each]))
            (said,) = response.outputs[0].as_numpy().tolist()
            assert json.loads(said)["text"] == "two years"
    finally:
        await client.close()


def test_health_model_and_metadata_endpoints(server):
    for path in ("/", "/v2/health/live", "/v2/health/ready", "/v1/models/deskgraph"):
        assert server.get(path).status_code == 200, path
    assert server.get("/v1/models").json() == {"models": ["deskgraph"]}
    assert server.get("/v2/models/deskgraph/ready").json() == {"name": "deskgraph", "ready": True}
    assert server.get("/v2").json()["extensions"] == []
    described = server.get("/v2/models/deskgraph").json()
    assert [each["name"] for each in described["inputs"]] == ["text", "as_of"]
    assert server.get("/v1/models/another").status_code == 404


def test_nobody_can_load_or_unload_a_model(server, stub):
    for verb in ("load", "unload"):
        response = server.http.post(f"/v2/repository/models/deskgraph/{verb}")
        assert response.status_code == 404
    for call, request in (
        (stub.RepositoryModelLoad, pb.RepositoryModelLoadRequest(model_name="deskgraph")),
        (stub.RepositoryModelUnload, pb.RepositoryModelUnloadRequest(model_name="deskgraph")),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call(request)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    for path in ("/docs", "/redoc", "/openapi.json", "/v1/models/deskgraph:explain"):
        assert server.get(path).status_code in (404, 405)
    assert server.get("/v2/health/ready").status_code == 200


def test_both_listeners_are_on_loopback_alone(server):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # no packet leaves; it tells this machine's own address
        own = probe.getsockname()[0]
    assert own != "127.0.0.1"
    for port in (server.port, server.grpc_port):
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
        with pytest.raises(OSError, match=r"refused|timed out|unreachable"):
            socket.create_connection((own, port), timeout=2)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"{}", "instances"),
        (b"[1]", "instances"),
        (b"{", "unexpected end of data"),
        (b'{"instances": [{"text": ""}]}', "empty"),
        (b'{"instances": [{"text": "a", "as_of": "yesterday"}]}', "as_of"),
        (b'{"instances": [{"text": "a", "customer_id": "CU_0001"}]}', "anonymous"),
    ],
)
def test_bad_v1_input_is_400_with_one_line(server, body, what):
    response = server.http.post("/v1/models/deskgraph:predict", content=body)
    assert response.status_code == 400
    assert what in response.json()["error"]
    assert "\n" not in response.json()["error"]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{}", {}),
        (b'{"inputs": 5}', {"content-type": "application/json"}),
        (b'{"inputs": [{"name": "text"}]}', {"content-type": "application/json"}),
        (b"abc", {"inference-header-content-length": "x"}),
        (b'{"inputs": [{}]}', {"inference-header-content-length": "16"}),
        (
            b'{"inputs":[{"name":"text","shape":[1],"datatype":"BYTES","parameters":'
            b'{"binary_data_size":9}}]}\x09',
            {"inference-header-content-length": "92"},
        ),
    ],
)
def test_bad_v2_input_is_400_and_nothing_of_it_is_echoed(server, body, headers):
    response = server.http.post("/v2/models/deskgraph/infer", content=body, headers=headers)
    assert response.status_code == 400, response.text
    assert set(response.json()) == {"error"}


def test_bad_grpc_input_is_invalid_argument(stub):
    for inputs in ([], [tensor("")], [tensor("a"), tensor("CU_0001", name="customer_id")]):
        with pytest.raises(grpc.RpcError) as caught:
            stub.ModelInfer(pb.ModelInferRequest(model_name="deskgraph", inputs=inputs))
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(pb.ModelInferRequest(model_name="another", inputs=[tensor("a")]))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_body_over_the_limit_is_413_with_and_without_its_length(server):
    large = b"x" * (BODY_LIMIT + 1)
    for content in (large, iter([large])):
        response = server.http.post("/v1/models/deskgraph:predict", content=content)
        assert response.status_code == 413
        assert str(BODY_LIMIT) in response.json()["error"]
    assert server.predict({"text": "two"}).status_code == 200


def test_a_grpc_message_over_the_limit_is_refused(stub):
    request = pb.ModelInferRequest(model_name="deskgraph", inputs=[tensor("x" * (BODY_LIMIT + 1))])
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(request)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_request_id_is_kept_or_given(server):
    kept = server.predict({"text": "two"}, headers={"x-request-id": "abc-123"})
    assert kept.headers["x-request-id"] == "abc-123"
    given = server.predict({"text": "two"}, headers={"x-request-id": "no good" * 20})
    assert len(given.headers["x-request-id"]) == 32
    assert '"request_id": "abc-123"' in server.log.read_text()


def test_more_than_the_queue_holds_is_429_and_the_server_goes_on(server):
    # "hello" runs to the limit of tokens, so that requests pile up behind it.
    busy = [{"text": "hello"}] * 12
    response = server.predict(*busy)
    assert response.status_code == 429
    assert response.headers["retry-after"] == "1"
    assert server.predict({"text": "two"}).status_code == 200


def test_health_answers_while_the_model_computes(server):
    thread = threading.Thread(target=server.predict, args=({"text": "hello"},))
    thread.start()
    try:
        assert server.get("/v2/health/ready").elapsed.total_seconds() < 2
    finally:
        thread.join()


def test_metrics_count_and_the_log_holds_no_customer_text(server):
    assert server.predict({"text": "warranty of a secretword"}).status_code == 200
    assert server.predict({"text": ""}).status_code == 400
    metrics = server.get("/metrics").text
    assert "deskgraph_ready 1.0" in metrics
    assert 'deskgraph_rejected_total{reason="bad_input"}' in metrics
    assert 'deskgraph_step_seconds_count{step="generate"}' in metrics
    log = server.log.read_text()
    assert "secretword" not in log
    assert "warranty" not in log
    assert [line for line in log.splitlines() if json.loads(line)["level"] != "info"] == []


def test_a_damaged_model_is_never_ready_and_says_why(tmp_path):
    damaged = answer_model(tmp_path / "model")
    with (damaged / "onnx" / "model.onnx").open("r+b") as stream:
        stream.seek(40)
        stream.write(b"?")
    port = free_ports(1)
    done = subprocess.run(
        [*APP, "--model", damaged, "--port", str(port)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "model.onnx" in last
    assert "SHA-256 differs" in last
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_bad_input_in_one_line(server):
    with pytest.raises(InputError, match=str(server.port)), listen("127.0.0.1", server.port):
        pass


def test_sigterm_drains_running_requests_and_ends_with_0(model, tmp_path):
    server = Server(model, tmp_path / "log", drain_s=1)
    server.wait("/v2/health/live")  # the listener is up before the model is
    server.wait("/v2/health/ready")
    results = []
    thread = threading.Thread(
        target=lambda: results.append(server.predict({"text": "hello"}).status_code)
    )
    thread.start()
    time.sleep(0.05)
    server.process.send_signal(signal.SIGTERM)
    server.wait("/v2/health/ready", status=503)
    assert server.predict({"text": "two"}).status_code == 200  # draining still answers
    thread.join()
    assert results == [200]
    assert server.process.wait(30) == 0
    server.stop()


def test_importing_the_app_reads_no_arguments():
    code = "import sys; sys.argv = ['x', '--http_port', 'nonsense']; import serving.app"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ})


async def test_a_slow_body_is_cut_off(server):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = "POST /v1/models/deskgraph:predict HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{"
    writer.write(head.encode())
    await writer.drain()
    async with asyncio.timeout(15):
        assert b" 408 " in await reader.readline()
    writer.close()
