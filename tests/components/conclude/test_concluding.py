"""What a retraining leaves in a real registry: stamps, a reason, and never a roll-out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.conclude.concluding import Conclusion, conclude_retraining
from components.register.registration import register_model
from components.registry import (
    CHAMPION,
    PREVIOUS,
    ModelRegistry,
    RegisteredVersion,
    recorded,
    recorded_fingerprint,
)
from tests.serving.tiny_models import intent_model

NAME = "deskgraph-intent-shop"
STAMPS = {
    "graph_stamp": "f00d",
    "tickets_stamp": "71c3",
    "traffic_stamp": "{}",
    "detected_at": "2026-01-02T03:04:05+00:00",
}


@pytest.fixture
def uri(tmp_path: Path, empty_registry: bytes) -> str:
    (tmp_path / "mlflow.db").write_bytes(empty_registry)
    (tmp_path / "selection.json").write_text("{}", encoding="utf-8")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    train(uri, "a")
    return uri


def train(uri: str, note: str) -> None:
    folder = Path(uri.removeprefix("sqlite:///")).parent
    model = intent_model(folder / note, note=note)
    lineage = {"graph": "0ld", "tickets": "0ld"}
    register_model(str(model), str(folder / "selection.json"), uri, NAME, lineage)


def conclude(uri: str, gate: str, **other: Any) -> Conclusion:
    given = {"champion": "1", "reasons": ["a policy changed"], "stamps": STAMPS, "candidate": ""}
    reason = "the gate's reason"
    return conclude_retraining(uri, NAME, gate=gate, gate_reason=reason, **{**given, **other})


def champion(uri: str) -> RegisteredVersion:
    found = ModelRegistry(uri).with_alias(NAME, CHAMPION)
    assert found is not None
    return found


def test_a_refused_candidate_re_stamps_the_champion_and_rolls_nothing_out(uri: str) -> None:
    assert recorded_fingerprint(champion(uri)) == "0ld"
    done = conclude(uri, "false")
    assert (done.outcome, done.champion) == ("re-stamped", "1")
    now = champion(uri)
    assert recorded_fingerprint(now) == "f00d"
    assert (recorded(now, "tickets"), now.tags["graph"]) == ("71c3", "0ld")
    assert now.tags["traffic_stamp"] == "{}"
    assert now.tags["reason"] == (
        "re-stamped because the candidate was no better: the gate's reason; "
        "trained because a policy changed"
    )
    registry = ModelRegistry(uri)
    assert len(registry.versions(NAME)) == 1
    assert registry.with_alias(NAME, PREVIOUS) is None


def test_a_repeat_writes_nothing(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    conclude(uri, "false")
    before = champion(uri)

    def refuse(*arguments: object) -> None:
        raise AssertionError(arguments)

    monkeypatch.setattr(ModelRegistry, "note", refuse)
    conclude(uri, "false")
    assert champion(uri) == before


def test_an_interrupted_one_is_found_again(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    note = ModelRegistry.note

    def once(self: ModelRegistry, name: str, version: str, key: str, value: str) -> None:
        if key == "graph_stamp":
            raise KeyboardInterrupt
        note(self, name, version, key, value)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ModelRegistry, "note", once)
        conclude(uri, "false")
    assert recorded_fingerprint(champion(uri)) == "0ld"
    conclude(uri, "false")
    assert recorded_fingerprint(champion(uri)) == "f00d"


def test_a_promoted_version_carries_what_was_detected_and_the_reason(uri: str) -> None:
    train(uri, "b")
    done = conclude(uri, "true", candidate=champion(uri).tags["content_sha256"])
    assert (done.outcome, done.champion) == ("promoted", "2")
    now = champion(uri)
    assert recorded_fingerprint(now) == "f00d"
    assert now.tags["reason"] == "promoted because a policy changed; the gate's reason"
    assert "traffic_stamp" not in now.tags
    old = ModelRegistry(uri).with_alias(NAME, PREVIOUS)
    assert old is not None
    assert recorded_fingerprint(old) == "0ld"


def test_a_candidate_that_was_not_rolled_out_re_stamps_too(uri: str) -> None:
    done = conclude(uri, "true")
    assert done.outcome == "re-stamped"
    assert "passed and was not rolled out" in champion(uri).tags["reason"]


@pytest.mark.parametrize("gate", ["false", "true"])
def test_another_champion_of_somebody_elses_making_is_left_alone(uri: str, gate: str) -> None:
    train(uri, "b")
    done = conclude(uri, gate, candidate="0ther")
    assert done.outcome == "refused"
    assert "version 2 became champion meanwhile" in done.reason
    assert recorded_fingerprint(champion(uri)) == "0ld"


def test_without_any_champion_nothing_is_recorded(uri: str) -> None:
    done = conclude_retraining(
        uri, "deskgraph-other", champion="", reasons=["first"], stamps=STAMPS,
        gate="false", gate_reason="too few are right", candidate="",
    )  # fmt: skip
    assert (done.outcome, done.champion) == ("refused", "")
    assert "too few are right" in done.reason
