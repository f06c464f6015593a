"""No order of loads and of `policy set` leaves a policy two versions on one day."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kg_schema import policy_changes, policy_overlap, statements
from kg_schema.connection import GraphSettings
from kg_schema.errors import InputError
from kg_schema.load import LoadOptions, load_graph_files
from kg_schema.local import RunningServer
from kg_schema.migrate import migrate
from kg_schema.ontology import load_ontology
from kg_schema.policy_changes import policy_history, set_policy
from kg_schema.policy_overlap import Span
from kg_schema.write_lock import WriteLock, WriteLockError
from kg_schema.writer import GraphWriter
from tests.kg_schema.small_graph import edge, graph_digest

DAYS = 7
TEXTS = st.sampled_from(["a", "b"])
STARTS = st.integers(0, DAYS - 1)
# A version of a file: its number, first day, days that it holds (None: no end is told), text.
VERSIONS = st.tuples(st.integers(1, 3), STARTS, st.sampled_from([None, 1, 3]), TEXTS)
# Who says it, which versions, and whether what that one says no more is pruned.
LOADS = st.tuples(
    st.sampled_from(["crm", "web"]),
    st.lists(VERSIONS, max_size=2, unique_by=lambda one: one[0]),
    st.booleans(),
)
SETS = st.tuples(TEXTS, STARTS)
STEPS = st.lists(LOADS | SETS, min_size=2, max_size=5)


def day(number: int) -> date:
    return date(2026, 1, 1) + timedelta(days=number)


def company(versions: list[tuple[int, int, int | None, str]]) -> list[dict[str, Any]]:
    """A policy and versions of it, as rows of a file."""
    rows: list[dict[str, Any]] = [{"label": "Policy", "id": "P", "props": {"name": "p"}}]
    for number, start, length, text in versions:
        end = {} if length is None else {"valid_to": day(start + length - 1).isoformat()}
        props = {"name": f"v{number}", "version": number, "text": text, **end}
        props["valid_from"] = day(start).isoformat()
        rows.append({"label": "PolicyVersion", "id": f"P@{number}", "props": props})
        rows.append(edge("HAS_VERSION", "Policy/P", f"PolicyVersion/P@{number}"))
    return rows


@pytest.fixture
def embedded(graph_server: RunningServer) -> Iterator[GraphWriter]:
    with GraphWriter(graph_server.settings()) as writer:
        migrate(writer, load_ontology())
        yield writer


def load(
    graph: GraphSettings,
    file: Path,
    rows: list[dict[str, Any]],
    source: str = "crm",
    *,
    prune: bool = False,
) -> int:
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    options = LoadOptions(prune=prune)
    return load_graph_files(file, graph, source_id=source, options=options).written


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(STEPS)
@example([("crm", [(1, 0, None, "a")], False), ("b", 3), ("crm", [(1, 0, None, "b")], False)])
@example([("crm", [(1, 0, None, "a")], False), ("b", 3), ("web", [(1, 0, None, "a")], False)])
@example([("crm", [(1, 0, None, "a")], False), ("b", 3), ("web", [(3, 4, 1, "a")], False)])
@example([("crm", [(1, 0, None, "a")], False), ("crm", [(2, 0, None, "b")], True)])
def test_no_order_leaves_two_versions_on_a_day(
    embedded: GraphWriter, tmp_path: Path, steps: list[tuple[Any, ...]]
) -> None:
    embedded.write("MATCH (n) WHERE NOT n:SchemaMigration DETACH DELETE n", what="empty")
    load(embedded.settings, tmp_path / "policy.jsonl", company([]))
    for first, second, *prune in steps:
        before = graph_digest(embedded, with_times=True)
        try:
            if isinstance(second, int):
                set_policy(embedded.settings, "P", first, day(second))
            else:
                file = tmp_path / "versions.jsonl"
                load(embedded.settings, file, company(second), first, prune=prune[0])
        except InputError as refused:
            assert "overlap" in str(refused) or "would both hold" in str(refused)
            assert graph_digest(embedded, with_times=True) == before
        assert embedded.read(statements.overlapping_versions(), what="read") == []


SPANS = st.builds(
    lambda start, length, corrected: Span(
        day(start).isoformat(),
        None if length is None else day(start + length - 1).isoformat(),
        "P@9" if corrected else None,
    ),
    STARTS,
    st.sampled_from([None, 1, 2, 4]),
    st.sampled_from([False, False, False, True]),
)


@given(st.lists(SPANS, max_size=4), st.sets(st.integers(0, 3)), st.sets(st.integers(0, 3)))
def test_it_refuses_just_what_a_day_would_have_twice(
    spans: list[Span], changed: set[int], new: set[int]
) -> None:
    def holds(span: Span, on: str) -> bool:
        ended = span.valid_to is not None and span.valid_to < on
        return span.corrected_by is None and span.valid_from <= on and not ended

    wrong = any(
        holds(spans[one], on) and holds(spans[other], on)
        for one in range(len(spans))
        for other in range(one)
        for on in (day(each).isoformat() for each in range(2 * DAYS))
        if {one, other} & (changed | new)
    )
    versions = {f"P@{number}": span for number, span in enumerate(spans)}
    said = {f"P@{number}" for number in changed}
    pairs = {("P", f"P@{number}") for number in new}
    try:
        policy_overlap._refuse_overlap({"P": set(versions)}, versions, pairs, said)
    except InputError:
        assert wrong
    else:
        assert not wrong


def test_a_refused_load_says_which_versions_and_writes_nothing(
    graph: GraphSettings, writer: GraphWriter, tmp_path: Path
) -> None:
    file = tmp_path / "policy.jsonl"
    load(graph, file, company([(1, 0, None, "a")]))
    set_policy(graph, "P", "b", day(3))
    before = graph_digest(writer, with_times=True)
    with pytest.raises(InputError, match=r"P: P@1 and P@2 would both hold on 2026-01-04"):
        load(graph, file, company([(1, 0, None, "mended")]))
    with pytest.raises(InputError, match="would both hold"):
        load_graph_files(file, graph, source_id="crm", options=LoadOptions(dry_run=True))
    assert graph_digest(writer, with_times=True) == before
    assert load(graph, file, company([(1, 0, 3, "mended")])) == 1


def test_a_version_that_the_same_load_takes_back_is_in_nobodys_way(
    graph: GraphSettings, writer: GraphWriter, tmp_path: Path
) -> None:
    file = tmp_path / "policy.jsonl"
    load(graph, file, company([(1, 0, None, "a")]))
    with pytest.raises(InputError, match="P: P@1 and P@2 would both hold"):
        load(graph, file, company([(2, 0, None, "b")]))
    assert load(graph, file, company([(2, 0, None, "b")]), prune=True) == 2
    assert [version.id for version in policy_history(graph, "P")] == ["P@2"]
    # Another source keeps it: its version, or no more than that it is the policy's.
    keeps = company([(2, 0, None, "b")])
    for said in (keeps, [row for row in keeps if row.get("label") != "PolicyVersion"]):
        load(graph, file, said, source="web", prune=True)
        with pytest.raises(InputError, match="P: P@2 and P@3 would both hold"):
            load(graph, file, company([(3, 0, None, "c")]), prune=True)
    load(graph, file, company([]), source="web", prune=True)
    assert load(graph, file, company([(3, 0, None, "c")]), prune=True) == 2
    assert writer.read(statements.overlapping_versions(), what="read") == []


def test_a_second_source_saying_the_same_reopens_nothing(
    graph: GraphSettings, writer: GraphWriter, tmp_path: Path
) -> None:
    file = tmp_path / "policy.jsonl"
    load(graph, file, company([(1, 0, None, "a")]))
    set_policy(graph, "P", "b", day(3))
    load(graph, file, company([(1, 0, None, "a")]), source="web")
    ended, _ = policy_history(graph, "P")
    assert ended.valid_to == day(2).isoformat()
    (row,) = writer.read(
        "MATCH (v:PolicyVersion {id: 'P@1'}) RETURN v.source_ids AS said", what="read"
    )
    assert row["said"] == ["crm", "web"]


def test_a_policy_is_set_under_the_lock_that_loads_take(
    graph: GraphSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(graph, tmp_path / "policy.jsonl", company([(1, 0, None, "a")]))
    monkeypatch.setattr(policy_changes, "WriteLock", partial(WriteLock, wait_s=0))
    with WriteLock(graph), pytest.raises(WriteLockError, match="another process writes to it"):
        set_policy(graph, "P", "b", day(3))
    assert set_policy(graph, "P", "b", day(3)) is not None
