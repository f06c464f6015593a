"""Digests of inputs and code: by content, not by name, place or time."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.digests import default_model_name, digest_locations
from components.fingerprint.hashing import (
    digest_code,
    fingerprint_inputs,
)
from kg_schema.errors import InputError


def test_content_counts_and_a_files_name_does_not(tmp_path: Path) -> None:
    one, two = tmp_path / "a.csv", tmp_path / "b.csv"
    one.write_text("text,intent\nhello,greeting\n")
    two.write_text("text,intent\nhello,greeting\n")
    assert digest_locations(str(one)) == digest_locations(str(two))
    two.write_text("text,intent\nhello,parting\n")
    assert digest_locations(str(one)) != digest_locations(str(two))


def test_inside_a_folder_names_count(tmp_path: Path) -> None:
    for name in ("nodes.jsonl", "edges.jsonl"):
        folder = tmp_path / name.split(".")[0]
        folder.mkdir()
        (folder / name).write_text("{}\n")
    assert digest_locations(str(tmp_path / "nodes")) != digest_locations(str(tmp_path / "edges"))


def test_test_tickets_are_not_taken_for_tickets(tmp_path: Path) -> None:
    one, two = tmp_path / "a.csv", tmp_path / "b.csv"
    one.write_text("1")
    two.write_text("2")
    assert digest_locations(str(one), str(two)) != digest_locations(str(two), str(one))


def test_unlabelled_tickets_count_by_content(tmp_path: Path) -> None:
    one, more = tmp_path / "a.csv", tmp_path / "more.csv"
    one.write_text("1")
    more.write_text("2")
    seen = [fingerprint_inputs(str(one)).tickets]
    seen.append(fingerprint_inputs(str(one), unlabelled=str(more)).tickets)
    more.write_text("3")
    seen.append(fingerprint_inputs(str(one), unlabelled=str(more)).tickets)
    assert len(set(seen)) == 3
    assert seen[0] == digest_locations(str(one))


def test_nothing_has_no_digest() -> None:
    assert digest_locations("") == ""


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.csv"):
        fingerprint_inputs(str(tmp_path / "missing.csv"))


def test_another_companys_tickets_never_share_a_model_name(tmp_path: Path) -> None:
    names = {
        default_model_name(str(tmp_path / company / "tickets.csv"), "intent")
        for company in ("acme", "globex")
    }
    assert len(names) == 2
    assert default_model_name("samples:tickets", "answer") == "deskgraph-answer-samples-tickets"


def test_code_digest_is_stable() -> None:
    assert digest_code() == digest_code()
    assert len(digest_code()) == 16
