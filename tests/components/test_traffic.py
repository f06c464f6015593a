"""Live and validation tickets are counted alike: a real server against its own model."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.deploy.replay import ReplayTicket, compare
from components.deploy.smoke import check_answers
from components.traffic import Reference, Traffic, read_metrics, seen_by_model
from kg_schema.errors import InputError
from serving.intent import IntentModel
from tests.serving.server_process import serving
from tests.serving.tiny_models import intent_model

NAMES = st.text(min_size=1, max_size=20)
TEXTS = ["warranty", "return", "return return", "hello", "warranty return", "two years"]


def test_a_server_counts_as_the_reference_does(tmp_path: Path) -> None:
    model = intent_model(tmp_path / "model")
    with serving(model, tmp_path / "log") as server:
        # Its own warm-up, a smoke test and a replayed ticket are nobody's.
        check_answers(server.url, "deskgraph", with_graph=False)
        with httpx.Client() as client:
            asked = compare(client, [ReplayTicket("warranty")], server.url, server.url)
        assert asked.agreed == 1
        assert read_metrics(server.get("/metrics").text) == Traffic({})
        for text in TEXTS:
            server.predict({"text": text})
        exposition = server.get("/metrics").text
        log = server.log.read_text()
    live = read_metrics(exposition)
    predictions = IntentModel(model).predict(TEXTS)
    wanted = seen_by_model([(each.label, each.confidence) for each in predictions], 0.0)
    assert (dict(live.intents), live.out_of_scope) == (dict(wanted.intents), wanted.out_of_scope)
    assert live.confidence == pytest.approx(wanted.confidence, abs=1e-6)
    assert live.out_of_scope > 0 and live.in_scope > 0
    assert "deskgraph_intent_confidence_bucket" in exposition
    assert "years" not in exposition + log


def test_unsure_is_out_of_scope_and_servers_add_up() -> None:
    seen = seen_by_model([("a", 0.9), ("a", 0.3), ("out_of_scope", 0.8), ("b", 0.5)], 0.5)
    assert dict(seen.intents) == {"a": 1, "b": 1}
    assert (seen.out_of_scope, seen.tickets, seen.out_of_scope_share) == (2, 4, 0.5)
    assert seen.confidence == pytest.approx(0.625)
    assert seen.spread == pytest.approx(0.2754, abs=1e-4)
    one = 'deskgraph_intents_total{intent="a"} 3\ndeskgraph_intent_confidence_sum 2.4\n'
    other = (
        'deskgraph_intents_total{intent="out_of_scope"} 1\ndeskgraph_intent_confidence_sum 0.4\n'
    )
    both = read_metrics(one) + read_metrics(other) + read_metrics("unrelated 1\n")
    assert (dict(both.intents), both.out_of_scope) == ({"a": 3}, 1)
    assert both.confidence == pytest.approx(0.7)
    assert read_metrics("") == seen_by_model([], 0.5) == Traffic({})


@given(st.dictionaries(NAMES, st.integers(1, 10**9)), st.integers(0, 10**9), st.floats(0, 1))
def test_an_account_survives_being_written(
    intents: dict[str, int], outside: int, confidence: float
) -> None:
    traffic = Traffic(intents, outside, round(confidence, 6), 0.25)
    assert Traffic.parse(json.loads(json.dumps(traffic.as_json())), "here") == traffic


@pytest.mark.parametrize("traffic", [None, Traffic({"a": 3}, 1, 0.5, 0.1)])
def test_a_reference_is_read_back(tmp_path: Path, traffic: Traffic | None) -> None:
    reference = Reference(("a", "b"), traffic)
    reference.write(tmp_path)
    assert Reference.read(tmp_path / "reference.json") == reference


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"labels": [], "traffic": {}}', '{"labels": 1, "traffic": null}']
)
def test_what_is_no_reference_is_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "reference.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"reference\.json") as caught:
        Reference.read(path)
    assert "\n" not in str(caught.value)
