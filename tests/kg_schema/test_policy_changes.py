"""Policies in time: one version a day, whole changes, and history that only corrections touch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kg_schema import commands, policy_changes
from kg_schema.client import GraphClient
from kg_schema.connection import GraphSettings
from kg_schema.errors import InputError
from kg_schema.load import load_graph_files
from kg_schema.policies import fingerprint
from kg_schema.policy_changes import (
    PolicyVersion,
    applied,
    plan_change,
    policy_history,
    set_policy,
)
from kg_schema.writer import GraphWriter
from tests.kg_schema.small_graph import EDGES, NODES, edge, graph_digest

RETURNS = "PO_RETURN"
EPOCH = date(2026, 1, 1)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
SETS = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 12)), max_size=12)


def day(number: int) -> date:
    return EPOCH + timedelta(days=number)


@pytest.fixture
def loaded(graph: GraphSettings, write_rows: Any) -> GraphSettings:
    """The small company, whose returns policy has a version a year."""
    load_graph_files(write_rows("all.jsonl", [*NODES, *EDGES]), graph, source_id="one")
    return graph


async def said(graph: GraphSettings, on: date) -> list[str | None]:
    async with GraphClient(graph) as client:
        given = {"from_date": on.isoformat(), "to_date": on.isoformat(), "limit": 50}
        rows = await client.read("policy_as_of", {"topic": "return_window", **given})
    return [row.value for row in rows if row.predicate == "text"]


def events(writer: GraphWriter) -> list[dict[str, Any]]:
    rows = writer.read("MATCH (e:ChangeEvent) RETURN properties(e) AS props", what="read")
    return [row["props"] for row in rows]


async def test_a_new_version_closes_the_last_one(
    loaded: GraphSettings, writer: GraphWriter
) -> None:
    change = set_policy(loaded, RETURNS, "Within 60 days.\n", date(2026, 7, 1))
    assert change is not None
    assert (change.version.id, change.kind) == ("PO_RETURN@3", "supersedes")
    assert await said(loaded, date(2026, 6, 30)) == ["Within 30 days."]
    assert await said(loaded, date(2026, 7, 1)) == ["Within 60 days."]
    _, closed, new = policy_history(loaded, RETURNS)
    assert (closed.valid_to, closed.superseded_at) == ("2026-06-30", new.recorded_at)
    assert (new.valid_to, new.superseded_at) == (None, None)
    (event,) = events(writer)
    async with GraphClient(loaded) as client:
        assert event["fingerprint"] == change.fingerprint == await fingerprint(client)
    assert (event["version"], event["previous"]) == ("PO_RETURN@3", "PO_RETURN@2")


async def test_a_correction_stays_on_record_and_is_read_no_more(loaded: GraphSettings) -> None:
    change = set_policy(loaded, RETURNS, "Within 15 days.", date(2025, 1, 1))
    assert change is not None
    assert change.kind == "corrects"
    assert await said(loaded, date(2025, 5, 5)) == ["Within 15 days."]
    assert await said(loaded, date(2026, 5, 5)) == ["Within 30 days."]
    wrong, _, right = policy_history(loaded, RETURNS)
    assert (wrong.text, wrong.corrected_by) == ("Within 14 days.", "PO_RETURN@3")
    assert wrong.superseded_at == right.recorded_at
    assert (right.valid_from, right.valid_to) == ("2025-01-01", "2025-12-31")


def test_the_same_text_is_no_event(loaded: GraphSettings, writer: GraphWriter) -> None:
    before = graph_digest(writer, with_times=True)
    for start in (date(2026, 1, 1), date(2026, 8, 1)):
        assert set_policy(loaded, RETURNS, " Within 30 days. ", start) is None
    assert graph_digest(writer, with_times=True) == before


@pytest.mark.parametrize(
    ("policy", "text", "start", "reason"),
    [
        (RETURNS, "new", date(2025, 7, 1), r"would overlap PO_RETURN@2, which holds from 2026-01-"),
        (RETURNS, " ", date(2026, 7, 1), "empty"),
        ("PO_GONE", "new", date(2026, 7, 1), "no such policy"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_written(
    loaded: GraphSettings, writer: GraphWriter, policy: str, text: str, start: date, reason: str
) -> None:
    before = graph_digest(writer, with_times=True)
    with pytest.raises(InputError, match=reason) as caught:
        set_policy(loaded, policy, text, start)
    assert "\n" not in str(caught.value)
    assert set_policy(loaded, RETURNS, "planned", date(2026, 7, 1), dry_run=True) is not None
    assert graph_digest(writer, with_times=True) == before


def test_a_change_is_whole_or_not_there(
    loaded: GraphSettings, writer: GraphWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = graph_digest(writer, with_times=True)

    def failing(change: object) -> dict[str, object]:
        raise KeyboardInterrupt

    monkeypatch.setattr(policy_changes, "_event", failing)
    with pytest.raises(KeyboardInterrupt):
        set_policy(loaded, RETURNS, "Within 60 days.", date(2026, 7, 1))
    assert graph_digest(writer, with_times=True) == before


def test_loading_the_same_files_again_changes_nothing_back(
    loaded: GraphSettings, writer: GraphWriter, write_rows: Any
) -> None:
    set_policy(loaded, RETURNS, "Within 60 days.", date(2026, 7, 1))
    set_policy(loaded, RETURNS, "Within 15 days.", date(2025, 1, 1))
    before = graph_digest(writer, with_times=True)
    file = write_rows("all.jsonl", [*NODES, *EDGES])
    assert load_graph_files(file, loaded, source_id="one").written == 0
    assert graph_digest(writer, with_times=True) == before


def test_writers_at_once_leave_one_version_a_day(
    loaded: GraphSettings, writer: GraphWriter
) -> None:
    def write(number: int) -> object:
        try:
            return set_policy(loaded, RETURNS, f"text {number}", date(2026, 7, 1 + number % 3))
        except InputError as refused:
            return refused

    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(write, range(8)))
    versions = policy_history(loaded, RETURNS)
    assert [one.version for one in versions] == list(range(1, len(versions) + 1))
    assert len(events(writer)) == len(versions) - 2
    assert sum(not isinstance(one, InputError) for one in done) == len(versions) - 2
    for number in range(200):
        assert sum(one.holds(day(number).isoformat()) for one in versions) == 1


@given(SETS)
def test_any_sequence_leaves_one_version_a_day(sets: list[tuple[str, int]]) -> None:
    versions: list[PolicyVersion] = []
    model: dict[int, str] = {}
    for text, number in sets:
        start = day(number)
        try:
            change = plan_change("P", versions, text, start, NOW)
        except InputError:
            assert any(one.valid_from > start.isoformat() for one in versions)
            continue
        if change is None:
            assert model[number] == text
            continue
        last = date.fromisoformat(change.version.valid_to) if change.version.valid_to else day(20)
        held = range(number, (last - EPOCH).days + 1)
        # What held on earlier days, and on any other day of a correction, holds still.
        model |= dict.fromkeys(held, text)
        versions = applied(versions, change)
        assert len({one.id for one in versions}) == len(versions)
        for each in range(21):
            found = [one.text for one in versions if one.holds(day(each).isoformat())]
            assert found == ([model[each]] if each in model else [])


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(SETS)
async def test_the_graph_reads_as_the_plan_says(
    graph: GraphSettings, writer: GraphWriter, sets: list[tuple[str, int]]
) -> None:
    writer.write("MATCH (n) WHERE NOT n:SchemaMigration DETACH DELETE n", what="empty")
    writer.write("CREATE (:Policy {id: 'P', name: 'p', topic: 'return_window'})", what="policy")
    versions: list[PolicyVersion] = []
    for text, number in sets:
        try:
            change = plan_change("P", versions, text, day(number), NOW)
        except InputError:
            with pytest.raises(InputError, match="overlap"):
                set_policy(graph, "P", text, day(number))
            continue
        done = set_policy(graph, "P", text, day(number))
        assert (done is None) == (change is None)
        versions = applied(versions, change) if change else versions
    for number in range(-1, 14, 3):
        expected = [one.text for one in versions if one.holds(day(number).isoformat())]
        assert await said(graph, day(number)) == expected


def test_the_commands(loaded: GraphSettings, tmp_path: Path) -> None:
    lines: list[str] = []
    file = tmp_path / "returns.txt"
    file.write_text("Within 60 days.\n")
    for dry_run in (True, False, False):
        commands.policy_set(
            lines.append, loaded, RETURNS, file, valid_from="2026-07-01", dry_run=dry_run
        )
    assert lines[0] == "would be written: PO_RETURN@3 supersedes PO_RETURN@2, valid 2026-07-01.."
    assert lines[-1] == "PO_RETURN says this on 2026-07-01 already; nothing was written"
    lines.clear()
    assert commands.policy_show(lines.append, loaded, RETURNS) == 0
    assert lines[2].startswith("PO_RETURN@2  2026-01-01..2026-06-30  recorded at an unknown time")
    assert lines[5] == "    Within 60 days."
    lines.clear()
    assert commands.policy_events(lines.append, loaded) == 0
    assert "PO_RETURN@3 supersedes PO_RETURN@2, valid from 2026-07-01  fingerprint" in lines[0]
    with pytest.raises(InputError, match="no day"):
        commands.policy_set(lines.append, loaded, RETURNS, file, valid_from="July")
    with pytest.raises(InputError, match="cannot read it"):
        commands.policy_set(lines.append, loaded, RETURNS, tmp_path / "gone")


def test_a_source_taken_back_leaves_what_was_set_since(
    loaded: GraphSettings, writer: GraphWriter, write_rows: Any
) -> None:
    set_policy(loaded, RETURNS, "Within 60 days.", date(2026, 7, 1))
    said: list[str] = []
    commands.withdraw(said.append, loaded, "one", dry_run=False)
    assert said[-1] == f"  Policy/{RETURNS}"
    assert [one.id for one in policy_history(loaded, RETURNS)] == ["PO_RETURN@3"]
    assert len(events(writer)) == 1
    load_graph_files(
        write_rows("e.jsonl", [edge("ABOUT", "Article/AR_1", "Policy/PO_RETURN"), *NODES]),
        loaded,
        source_id="one",
    )
