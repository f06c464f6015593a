"""What is compared with the champion: a real registry, a real graph, metrics of a real format."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from components.conclude.concluding import conclude_retraining
from components.detect_change.detecting import Detection, Inputs, detect_change
from components.detect_change.page import findings_page
from components.digests import digest_locations
from components.register.registration import register_model
from components.registry import ModelRegistry, RegistryError
from components.traffic import Reference, Traffic
from kg_schema.connection import GraphUnavailable
from kg_schema.errors import InputError
from kg_schema.load import load_graph_files
from kg_schema.local import RunningServer
from kg_schema.migrate import migrate
from kg_schema.ontology import load_ontology
from kg_schema.policies import read_fingerprint
from kg_schema.policy_changes import set_policy
from kg_schema.ports import free_ports
from kg_schema.writer import GraphWriter
from tests.kg_schema.small_graph import EDGES, NODES
from tests.serving.tiny_models import LABELS, intent_model

NAME = "deskgraph-intent-shop"
SEEN = Traffic({"return_window": 600, "warranty_length": 300}, 100, 0.9, 0.1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return intent_model(tmp_path_factory.mktemp("model") / "m")


@pytest.fixture
def inputs(tmp_path: Path, empty_registry: bytes) -> Inputs:
    (tmp_path / "mlflow.db").write_bytes(empty_registry)
    inputs = Inputs(
        tickets=str(tmp_path / "tickets.jsonl"),
        tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}",
        model_name=NAME,
    )
    write_tickets(inputs, *LABELS)
    return inputs


def write_tickets(inputs: Inputs, *intents: str) -> None:
    rows = [{"text": f"ticket about {intent}", "intent": intent} for intent in intents]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    Path(inputs.tickets).write_text(text, encoding="utf-8")


Register = Callable[..., str]


@pytest.fixture
def register(inputs: Inputs, model: Path, tmp_path: Path) -> Register:
    """Registers the model as a training on the inputs would."""

    def go(graph: str = "") -> str:
        selection = tmp_path / "selection"
        selection.mkdir(exist_ok=True)
        (selection / "selection.json").write_text("{}", encoding="utf-8")
        Reference(LABELS, SEEN).write(selection)
        lineage = {"tickets": digest_locations(inputs.tickets), "graph": graph}
        made = register_model(str(model), str(selection), inputs.tracking_uri, NAME, lineage)
        return made.version

    return go


@pytest.fixture
def company(graph_server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a graph that holds the small company."""
    for name, value in graph_server.environment().items():
        monkeypatch.setenv(name, value)
    with GraphWriter(graph_server.settings()) as writer:
        writer.write("MATCH (n) WHERE NOT n:SchemaMigration DETACH DELETE n", what="empty")
        migrate(writer, load_ontology())
    rows = "".join(json.dumps(row) + "\n" for row in [*NODES, *EDGES])
    (tmp_path / "all.jsonl").write_text(rows, encoding="utf-8")
    load_graph_files(tmp_path / "all.jsonl", graph_server.settings(), source_id="one")
    return graph_server.uri


def outcomes(found: Detection) -> dict[str, str]:
    return {check.what: check.outcome for check in found.checks}


def restamp(inputs: Inputs, found: Detection) -> None:
    conclude_retraining(
        inputs.tracking_uri,
        found.model_name,
        champion=found.champion,
        reasons=found.reasons,
        stamps=found.stamps,
        gate="false",
        gate_reason="no better",
        candidate="",
    )


def test_without_a_champion_there_is_a_first_training(inputs: Inputs) -> None:
    found = detect_change(replace(inputs, graph_uri="bolt://127.0.0.1:1"))
    assert found.changed
    assert found.reasons == [f"{NAME} has no champion yet"]
    assert found.champion == ""
    assert found.stamps.keys() == {"tickets_stamp", "intents_stamp", "detected_at"}


def test_a_champion_whose_files_are_gone_is_no_champion(
    inputs: Inputs, register: Register, tmp_path: Path
) -> None:
    register()
    (tmp_path / "artifacts").rename(tmp_path / "elsewhere")
    assert detect_change(inputs).champion == ""


def test_what_was_registered_is_what_is_there(inputs: Inputs, register: Register) -> None:
    register()
    found = detect_change(inputs)
    assert not found.changed
    assert outcomes(found) == {
        "policies and promotions": "not judged",
        "intents": "same",
        "tickets": "same",
        "live traffic": "not judged",
    }


def test_new_and_lost_intents_are_named(inputs: Inputs, register: Register) -> None:
    register()
    write_tickets(inputs, *LABELS[:2], "trade_in", "gift_card")
    found = detect_change(inputs)
    intents, tickets = found.reasons
    assert intents == (
        "new intents in the tickets: gift_card, trade_in; "
        "intents gone from the tickets: warranty_length"
    )
    assert "tickets changed" in tickets
    restamp(inputs, found)
    assert not detect_change(inputs).changed
    write_tickets(inputs, *LABELS)
    assert outcomes(detect_change(inputs))["intents"] == "changed"  # back again


def test_the_same_intents_in_other_words_are_other_tickets(
    inputs: Inputs, register: Register
) -> None:
    register()
    write_tickets(inputs, *LABELS, LABELS[0])
    found = detect_change(inputs)
    assert (outcomes(found)["intents"], outcomes(found)["tickets"]) == ("same", "changed")
    restamp(inputs, found)
    assert not detect_change(inputs).changed


def test_a_changed_policy_is_a_reason_until_it_is_stamped(
    inputs: Inputs, register: Register, company: str, graph_server: RunningServer
) -> None:
    graph = graph_server.settings()
    register(graph=read_fingerprint(graph))
    inputs = replace(inputs, graph_uri=company)
    assert not detect_change(inputs).changed
    set_policy(graph, "PO_RETURN", "Within 90 days.")
    found = detect_change(inputs)
    (reason,) = found.reasons
    assert "what policies and promotions say today changed" in reason
    assert "new since: PO_RETURN@3" in reason
    assert found.stamps["graph_stamp"] == read_fingerprint(graph)
    # One more while the training runs: what is recorded is what was detected, so it is found.
    set_policy(graph, "PO_RETURN", "Within 100 days.")
    restamp(inputs, found)
    assert detect_change(inputs).changed
    restamp(inputs, detect_change(inputs))
    assert not detect_change(inputs).changed


def test_a_champion_trained_without_a_graph_says_so(
    inputs: Inputs, register: Register, company: str
) -> None:
    register()
    found = detect_change(replace(inputs, graph_uri=company))
    assert found.reasons == ["the champion was trained without a graph"]


def test_a_graph_that_is_away_is_an_error(inputs: Inputs, register: Register) -> None:
    register(graph="1234")
    with pytest.raises(GraphUnavailable, match=r"127\.0\.0\.1"):
        detect_change(replace(inputs, graph_uri=f"bolt://127.0.0.1:{free_ports(1)}"))


def test_tickets_and_registry_that_cannot_be_read_are_errors(
    inputs: Inputs, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"nowhere\.csv"):
        detect_change(replace(inputs, tickets=str(tmp_path / "nowhere.csv")))
    (tmp_path / "mlflow.db").write_bytes(b"no database " * 100)
    with pytest.raises(RegistryError):
        detect_change(inputs)


def test_a_champion_of_before_says_nothing_of_its_intents(
    inputs: Inputs, register: Register
) -> None:
    version = register()
    client = ModelRegistry(inputs.tracking_uri).client
    client.delete_model_version_tag(NAME, version, "intents")
    found = detect_change(inputs)
    assert found.reasons == ["the champion does not say which intents it knows"]
    restamp(inputs, found)
    assert not detect_change(inputs).changed


def exposition(intents: dict[str, int], confidence: float) -> str:
    lines = ["# TYPE deskgraph_intents_total counter"]
    lines += [f'deskgraph_intents_total{{intent="{i}"}} {n}.0' for i, n in intents.items()]
    total = confidence * sum(intents.values())
    lines += ["# TYPE deskgraph_intent_confidence histogram"]
    lines += [f"deskgraph_intent_confidence_sum {total}"]
    return "\n".join(lines) + "\n"


Serve = Callable[[str], str]


@pytest.fixture
def metrics() -> Iterator[Serve]:
    """Serves a text under an address of its own."""
    servers = []

    def serve(text: str) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/metrics"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


USUAL = {"return_window": 300, "warranty_length": 150, "out_of_scope": 50}


def test_replicas_are_added_up_and_usual_traffic_is_no_reason(
    inputs: Inputs, register: Register, metrics: Serve
) -> None:
    register()
    one = metrics(exposition({"return_window": 300}, 0.9))
    other = metrics(exposition({"warranty_length": 150, "out_of_scope": 50}, 0.9))
    found = detect_change(replace(inputs, traffic=f"{one}, {other}"))
    assert not found.changed
    assert outcomes(found).items() >= {
        "intent mix": "same", "out of scope": "same", "confidence": "same"
    }.items()  # fmt: skip


def test_drift_is_a_reason_until_the_champion_is_left_to_it(
    inputs: Inputs, register: Register, metrics: Serve
) -> None:
    register()
    address = metrics(exposition({"return_window": 50, "warranty_length": 300}, 0.7))
    inputs = replace(inputs, traffic=address)
    found = detect_change(inputs)
    assert {check.what for check in found.checks if check.outcome == "changed"} == {
        "intent mix",
        "confidence",
    }
    assert "warranty_length grew most, from 33.3% to 85.7%" in found.reasons[0]
    restamp(inputs, found)
    assert not detect_change(inputs).changed
    back = replace(inputs, traffic=metrics(exposition(USUAL, 0.9)))
    assert "intent mix" in detect_change(back).reasons[0]


def test_few_answers_are_not_judged(inputs: Inputs, register: Register, metrics: Serve) -> None:
    register()
    address = metrics(exposition({"warranty_length": 150}, 0.2))
    found = detect_change(replace(inputs, traffic=address))
    assert not found.changed
    assert "150 tickets answered, fewer than 200" in findings_page(found)


def test_traffic_that_cannot_be_read_is_a_warning(
    inputs: Inputs, register: Register, metrics: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    register()
    away = f"http://127.0.0.1:{free_ports(1)}/metrics"
    odd = metrics("no { exposition")
    there = metrics(exposition(USUAL, 0.9))
    found = detect_change(replace(inputs, traffic=f"{away},{odd},not-an-address,{there}"))
    assert not found.changed
    said = [check.said for check in found.checks if check.what == "live traffic"]
    assert [away in said[0], odd in said[1], "not-an-address" in said[2]] == [True] * 3
    assert outcomes(found)["intent mix"] == "same"
    assert "no metrics" in caplog.text


def test_a_text_generator_has_no_intents_to_compare(inputs: Inputs, register: Register) -> None:
    register()
    found = detect_change(replace(inputs, task="answer"))
    assert outcomes(found).keys() == {"policies and promotions", "tickets"}


def test_the_page_says_all_of_it_and_no_name_breaks_out(inputs: Inputs, register: Register) -> None:
    register()
    write_tickets(inputs, *LABELS, "a|b<script>`")
    page = findings_page(detect_change(inputs))
    assert f"# {NAME}: something changed: a training follows" in page
    assert "| intents | **changed** | new intents" in page
    assert "<script>" not in page
    assert all(line.count("|") == 4 for line in page.splitlines() if line.startswith("| intents"))


def test_a_policy_that_begins_later_is_found_on_its_day(
    inputs: Inputs, register: Register, company: str, graph_server: RunningServer
) -> None:
    graph = graph_server.settings()
    set_policy(graph, "PO_RETURN", "Within a year.", date(2999, 1, 1))
    register(graph=read_fingerprint(graph))
    assert not detect_change(replace(inputs, graph_uri=company)).changed
