"""Tickets as anybody's export has them: parsed, set aside, or refused with one clear line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.tickets import Ticket, TicketColumns, TicketError, TicketReader, normalise_text

COLUMNS = TicketColumns()


def _good(number: int) -> str:
    return json.dumps({"ticket_id": f"T{number}", "text": f"question {number}", "intent": "a"})


def _read(path: Path, columns: TicketColumns = COLUMNS, **more: float) -> list[Ticket]:
    return list(TicketReader(path, columns, **more))


def _refused(path: Path, columns: TicketColumns = COLUMNS) -> str:
    with pytest.raises(TicketError) as caught:
        _read(path, columns)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_json_lines_with_turns_and_resolution(tmp_path: Path) -> None:
    row = {
        "ticket_id": "T1",
        "turns": [
            {"role": "user", "text": "Hello, my phone"},
            {"role": "agent", "text": "What about it?"},
            {"role": "user", "text": "It is hot"},
        ],
        "intent": "overheating",
        "language": "en",
        "resolution": {"solution_ids": ["S_001", "S_002"], "answer": "Let it cool."},
    }
    (tmp_path / "t.jsonl").write_text(json.dumps(row))
    [ticket] = _read(tmp_path / "t.jsonl")
    assert ticket.text.startswith("It is hot [context] ")
    assert ticket.solution_ids == ("S_001", "S_002")
    assert (ticket.answer, ticket.intent, ticket.line) == ("Let it cool.", "overheating", 1)


def test_csv_with_quoted_lines_counts_file_lines(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        '\ufefftext,category,solution_ids\n"two\nlines",x,S_1; S_2\nnext one,,\n', encoding="utf-8"
    )
    first, second = _read(tmp_path / "t.csv", TicketColumns("text", "category"))
    assert (first.text, first.line, first.solution_ids) == ("two lines", 2, ("S_1", "S_2"))
    assert (second.ticket_id, second.line, second.intent) == ("t.csv:4", 4, None)


def test_wrong_column_lists_those_there(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("body,category\nhello,x\n")
    message = _refused(tmp_path / "t.csv")
    assert "no column 'text'" in message and "body, category" in message
    (tmp_path / "t.jsonl").write_text('{"text": "hello", "topic": "x"}\n')
    message = _refused(tmp_path / "t.jsonl")
    assert "no column 'intent'" in message and "text, topic" in message


def test_label_column_is_not_asked_for_where_no_label_is_needed(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"text": "hello"}\n')
    assert len(_read(tmp_path / "t.jsonl", TicketColumns(label_needed=False))) == 1


def test_not_utf8_says_line_and_offset(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"text,intent\nfine,a\ncaf\xe9,a\n")
    message = _refused(tmp_path / "t.csv")
    assert "t.csv:3" in message and "0xe9 at offset 22" in message
    (tmp_path / "t.jsonl").write_bytes('{"text": "hello"}'.encode("utf-16"))
    assert "not UTF-8" in _refused(tmp_path / "t.jsonl")


def test_broken_json_on_line_seven_is_refused_there(tmp_path: Path) -> None:
    lines = [_good(number) for number in range(20)]
    lines[6] = lines[6][:-1]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    message = _refused(tmp_path / "t.jsonl")
    assert f"{tmp_path / 't.jsonl'}:7: broken JSON" in message


def test_one_broken_row_in_two_hundred_is_set_aside(tmp_path: Path) -> None:
    lines = [_good(number) for number in range(200)]
    lines[6] = "{"
    lines[7] = json.dumps({"text": "?!", "intent": "a"})
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    reader = TicketReader(tmp_path / "t.jsonl", COLUMNS)
    assert len(list(reader)) == 198
    assert [(each.line, each.reason) for each in reader.quarantined] == [
        (7, "unreadable"),
        (8, "too short"),
    ]
    with pytest.raises(TicketError, match=":7: broken JSON"):
        _read(tmp_path / "t.jsonl", bad_share=0.0)


@pytest.mark.parametrize(
    "row",
    [
        "[]",
        '{"text": 5, "intent": "a"}',
        '{"text": "hello", "intent": ["a"]}',
        '{"text": "hello \\ud800", "intent": "a"}',
        '{"turns": "hello", "intent": "a"}',
        '{"turns": [{"role": "user"}], "intent": "a"}',
        '{"text": "hello", "resolution": []}',
        '{"text": "hello", "resolution": {"solution_ids": [1]}}',
        '{"n": ' + "9" * 5000 + "}",
        "[" * 100_000,
    ],
)
def test_row_of_a_wrong_shape_is_set_aside(tmp_path: Path, row: str) -> None:
    (tmp_path / "t.jsonl").write_text(f"{_good(1)}\n{row}\n")
    reader = TicketReader(tmp_path / "t.jsonl", COLUMNS, bad_share=1.0)
    assert [each.ticket_id for each in reader] == ["T1"]
    assert [(each.line, each.reason) for each in reader.quarantined] == [(2, "unreadable")]


@pytest.mark.parametrize(
    "content", ["a,b\n1\n", 'text,intent\n"hello,a\n', 'text,intent\n"h"x,a\n']
)
def test_broken_csv_is_refused_with_its_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "t.csv").write_text(content)
    assert "t.csv" in _refused(tmp_path / "t.csv")


def test_folder_reads_every_ticket_file_in_order(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("text,intent\nfrom csv,a\n")
    (tmp_path / "a.jsonl").write_text(_good(1))
    (tmp_path / "notes.md").write_text("no tickets")
    assert [each.file for each in _read(tmp_path)] == ["a.jsonl", "b.csv"]


def test_no_tickets_is_refused(tmp_path: Path) -> None:
    assert "no ticket files" in _refused(tmp_path)
    (tmp_path / "t.jsonl").write_text("\n \n")
    assert "no tickets" in _refused(tmp_path / "t.jsonl")
    (tmp_path / "t.csv").write_text("text,intent\n")
    assert "no tickets" in _refused(tmp_path / "t.csv")
    (tmp_path / "t.xlsx").write_text("x")
    assert "not a ticket file" in _refused(tmp_path / "t.xlsx")


def test_normalised_text_ignores_case_width_punctuation_and_space() -> None:
    assert normalise_text("  Don't\u00a0 PANIC!! ") == normalise_text("dont panic")
    assert normalise_text("\uff28\uff45llo, Stra\u00dfe") == "hello strasse"
    assert normalise_text("not-working") == "not working"
    assert normalise_text("5€") != normalise_text("5")


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None
)
@given(
    content=st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200).map(str.encode),
        st.lists(
            st.dictionaries(
                st.sampled_from(["text", "intent", "turns", "resolution", "ticket_id"]),
                st.recursive(
                    st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=5)),
                    lambda inner: st.one_of(
                        st.lists(inner, max_size=3),
                        st.dictionaries(st.sampled_from(["role", "text", "answer"]), inner),
                    ),
                    max_leaves=5,
                ),
            ).map(json.dumps),
            max_size=5,
        ).map(lambda rows: "\n".join(rows).encode()),
    ),
    suffix=st.sampled_from([".jsonl", ".csv", ".tsv"]),
)
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"any{suffix}"
    path.write_bytes(content)
    reader = TicketReader(path, TicketColumns(label_needed=False), bad_share=0.5)
    try:
        tickets = list(reader)
    except TicketError as error:
        assert "\n" not in str(error)
    else:
        assert tickets or reader.quarantined
        for ticket in tickets:
            ticket.text.encode()
