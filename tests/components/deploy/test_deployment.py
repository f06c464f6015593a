import http.server
import json
import threading
from contextlib import contextmanager

import pytest

from components.deploy.deployment import TOKEN_VARIABLE, DeployError, deploy_model
from components.deploy.smoke import SmokeFailed, check_answers
from kg_schema.errors import InputError

ANSWER = {
    "intent": {"label": "warranty_length", "confidence": 0.9, "alternatives": []},
    "problem_type": "faq",
    "entities": [],
    "recommendations": [],
    "answer": {
        "text": "Two years.",
        "claims": [{"text": "Two years.", "facts": ["f1"]}],
        "abstained": False,
        "reason": None,
    },
    "facts": [{"id": "f1", "subject": "Product/P", "predicate": "warranty_months", "object": "24"}],
    "as_of": "2026-01-01",
    "versions": {"model": "m", "graph": None},
    "degraded": [],
    "latency_ms": {},
}


@contextmanager
def answering(v1, v2=None, ready=200):
    """An HTTP server that gives these answers; a real one never breaks its contract on demand."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.reply(ready, {"error": "not yet"} if ready != 200 else {})

        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            if self.path.startswith("/v1"):
                self.reply(200, {"predictions": [v1]})
            else:
                self.reply(200, {"outputs": [{"data": [json.dumps(v2 or v1)]}]})

        def reply(self, status, content):
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_contract_kept_is_a_check_passed():
    with answering(ANSWER) as url:
        check = check_answers(url, "deskgraph", with_graph=True)
    assert (check.intent, check.abstained, check.model) == ("warranty_length", False, "m")
    assert check.protocols == ("v1", "v2")


@pytest.mark.parametrize(
    ("v1", "v2", "ready", "what"),
    [
        (ANSWER, None, 503, "HTTP 503"),
        ({**ANSWER, "problem_type": "poem"}, None, 200, "'problem_type'"),
        ({**ANSWER, "facts": []}, None, 200, "cites a fact"),
        (ANSWER, {**ANSWER, "versions": {"model": "other"}}, 200, "differently"),
        ({**ANSWER, "degraded": ["graph"]}, None, 200, "without its graph"),
        ({"words": 1}, None, 200, "not of its protocol"),
        (["words"], None, 200, "not of its protocol"),
    ],
)
def test_a_contract_broken_is_told(v1, v2, ready, what):
    with answering(v1, v2, ready) as url, pytest.raises(SmokeFailed, match=what):
        check_answers(url, "deskgraph", with_graph=True)


def test_a_server_that_is_not_there_is_told():
    with answering(ANSWER) as url:
        pass
    with pytest.raises(SmokeFailed, match="no answer"):
        check_answers(url, "deskgraph", with_graph=True)


@pytest.mark.parametrize(
    ("target", "what"),
    [
        ("kserve://shop/assistant", "no deploy target"),
        ("", "no deploy target"),
        ("ftp://127.0.0.1", "no deploy target"),
        ("http://example.org:80", "in the clear"),
        ("http://127.0.0.1.example.org", "in the clear"),
    ],
)
def test_a_target_of_another_kind_is_refused(target, what, monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, "t")
    with pytest.raises(InputError, match=what):
        deploy_model("m", "name", "1", target)


def test_without_a_token_or_a_supervisor_it_says_so(monkeypatch):
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with answering(ANSWER) as url, pytest.raises(InputError, match=TOKEN_VARIABLE):
        deploy_model("m", "name", "1", url)
    monkeypatch.setenv(TOKEN_VARIABLE, "t")
    with pytest.raises(DeployError, match="does not answer"):
        deploy_model("m", "name", "1", url)
