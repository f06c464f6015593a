import json
import os
import signal
import time
from contextlib import nullcontext
from types import SimpleNamespace

import httpx
import pytest

from components.deploy.component import deploy
from components.deploy.deployment import TOKEN_VARIABLE, DeployError, deploy_model
from components.register.registration import register_model
from components.registry import CANDIDATE, CHAMPION, ModelRegistry
from pipelines.supervisor import RECORD_NAME, start_supervisor
from serving.manifest import write_manifest
from tests.serving.tiny_models import answer_model, intent_model

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    damaged = intent_model(folder / "damaged", note="damaged")
    (damaged / "onnx" / "model.onnx").write_bytes(b"")
    unservable = intent_model(folder / "unservable", note="unservable")
    write_manifest(unservable, "model", task="poem")
    return {
        "answer": str(answer_model(folder / "answer")),
        "intent": str(intent_model(folder / "intent")),
        "damaged": str(damaged),
        "unservable": str(unservable),
    }


@pytest.fixture(scope="module")
def supervisor(tmp_path_factory):
    state = tmp_path_factory.mktemp("state")
    with start_supervisor(state) as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv(TOKEN_VARIABLE, running.token)
        running_state = (running, state)
        yield running_state


@pytest.fixture
def own_supervisor(tmp_path, monkeypatch):
    with start_supervisor(tmp_path / "state") as running:
        monkeypatch.setenv(TOKEN_VARIABLE, running.token)
        yield running


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def gone(pid, timeout_s=30):
    deadline = time.monotonic() + timeout_s
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(pid)


def test_it_deploys_switches_keeps_the_old_on_failure_and_notices_a_crash(supervisor, models):
    running, state = supervisor
    assert running.current() is None

    first = deploy_model(models["answer"], "shop", "1", running.url)
    record = json.loads((state / RECORD_NAME).read_text())
    assert record == running.current()
    assert (record["version"], record["url"], record["running"]) == ("1", first.url, True)
    assert record["model"] == models["answer"]
    assert first.answer_check.model == record["content_sha256"][:12]

    for model, what in (
        (models["damaged"], r"version 2 was not deployed.*model\.onnx"),
        (models["unservable"], r"exit code 1.*unknown task 'poem'"),
        ("/nowhere", "no such file"),
    ):
        with pytest.raises(DeployError, match=what):
            deploy_model(model, "shop", "2", running.url)
    assert running.current() == record
    assert httpx.get(f"{first.url}/v2/models/deskgraph/ready").status_code == 200

    second = deploy_model(models["intent"], "shop", "3", running.url)
    assert second.url != first.url
    assert second.answer_check.intent == "warranty_length"
    assert second.answer_check.abstained
    assert second.answer_check.degraded == ("graph",)
    assert gone(record["pid"])
    assert running.current()["version"] == "3"

    os.kill(running.current()["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 30
    while running.current()["running"] and time.monotonic() < deadline:
        time.sleep(0.1)
    assert "exit code -9" in running.current()["ended"]
    assert not json.loads((state / RECORD_NAME).read_text())["running"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/deployments", {"model": "m"}, 400),
        ("POST", "/deployments", {"model": "m", "name": "n", "version": 1}, 400),
        ("POST", "/deployments", {"model": "m", "name": "n", "version": "1", "x": ""}, 400),
        ("POST", "/deployments", [], 400),
        ("POST", "/deployments", "x" * 70_000, 400),
        ("POST", "/elsewhere", {}, 404),
        ("GET", "/elsewhere", None, 404),
    ],
)
def test_requests_that_make_no_sense_are_refused(supervisor, method, path, body, status):
    running, _ = supervisor
    headers = {"authorization": f"Bearer {running.token}"}
    response = httpx.request(method, running.url + path, json=body, headers=headers)
    assert response.status_code == status
    assert response.json()["error"]


@pytest.mark.parametrize("header", [{}, {"authorization": "Bearer x"}, {"authorization": "é"}])
def test_without_the_token_nothing_is_told_or_done(supervisor, header):
    running, _ = supervisor
    encoded = {key: value.encode() for key, value in header.items()}
    for method, path in (("GET", "/deployments/current"), ("POST", "/deployments")):
        response = httpx.request(method, running.url + path, headers=encoded)
        assert response.status_code == 401


def test_what_it_serves_ends_with_it_however_it_ends(own_supervisor, models):
    deploy_model(models["answer"], "shop", "1", own_supervisor.url)
    serving = own_supervisor.current()["pid"]
    os.kill(own_supervisor.pid, signal.SIGKILL)
    assert gone(serving)


def test_the_step_moves_the_alias_when_the_version_serves_and_not_when_it_cannot(
    own_supervisor, models, tmp_path
):
    running = own_supervisor
    selection, record = tmp_path / "selection.json", tmp_path / "record.json"
    selection.write_text("{}")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    registry = ModelRegistry(uri)
    rollout = SimpleNamespace(path=str(record), metadata={})
    ends = {"intent": ("promoted", (CHAMPION,)), "unservable": ("stopped", (CANDIDATE,))}
    for kind, (outcome, aliases) in ends.items():
        version = register_model(
            models[kind], str(selection), uri, "shop", {}, deploy_target=running.url
        ).version
        assert registry.version("shop", version).aliases == (CANDIDATE,)
        fails = pytest.raises(SystemExit) if kind == "unservable" else nullcontext()
        with fails:
            (url,) = deploy.python_func(
                name="shop",
                version=version,
                deploy_target=running.url,
                tracking_uri=uri,
                graph_uri="",
                graph_fingerprint="",
                shards=SimpleNamespace(path=str(tmp_path)),
                settings={},
                run="",
                rollout=rollout,
                metrics=None,
            )
            assert url == running.current()["url"]
        assert registry.version("shop", version).aliases == aliases
        assert rollout.metadata == {"outcome": outcome, "version": version}
    assert registry.with_alias("shop", CHAMPION).version == "1"
