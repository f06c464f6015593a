"""Rows from files: whatever stands in a line, it is a row or a reason, never a crash."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg_schema.csv_rows import CsvMapping, load_mapping, read_csv
from kg_schema.errors import InputError
from kg_schema.ontology import load_ontology
from kg_schema.rows import (
    Edge,
    Literal,
    Node,
    check_row,
    content_hash,
    parse_object,
    parse_triple,
    read_json_lines,
)

ONTOLOGY = load_ontology()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
KEYS = st.sampled_from(["label", "id", "props", "type", "start", "end", "subject", "object"])


@given(JSON | st.dictionaries(KEYS, JSON, max_size=5))
def test_any_json_is_a_row_or_a_reason(given_json: object) -> None:
    try:
        row = parse_object(given_json, ONTOLOGY)
        if not isinstance(row, Literal):
            check_row(row, ONTOLOGY)
    except ValueError as error:
        assert str(error)


PLAIN_IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_@.\-]{0,20}", fullmatch=True)


@given(PLAIN_IDS, PLAIN_IDS, st.sampled_from(["/", " ", "/ "]))
def test_triples_with_labels_are_read_back(start: str, end: str, separator: str) -> None:
    row = parse_triple(
        f"ErrorCode{separator}{start}", "RESOLVED_BY", f"Solution{separator}{end}", ONTOLOGY
    )
    assert row == Edge("RESOLVED_BY", "ErrorCode", start, "Solution", end, {})


@given(PLAIN_IDS)
def test_a_bare_id_takes_the_only_label_left(end: str) -> None:
    row = parse_triple("ErrorCode E1001", "RESOLVED_BY", end, ONTOLOGY)
    assert row == Edge("RESOLVED_BY", "ErrorCode", "E1001", "Solution", end, {})


@given(st.text(max_size=12), st.text(max_size=12), st.text(max_size=12))
def test_any_three_texts_are_a_row_or_a_reason(one: str, two: str, three: str) -> None:
    try:
        parse_triple(one, two, three, ONTOLOGY)
    except ValueError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("triple", "reason"),
    [
        (("E1001", "RESOLVED_BY", "S_005"), "write the ends of RESOLVED_BY as Label/id"),
        (("Product/P", "RESOLVED_BY", "Solution/S"), "does not go from"),
        (("Thing/P", "RESOLVED_BY", "Solution/S"), "unknown label 'Thing'"),
        (("", "RESOLVED_BY", "Solution/S"), "lacks a subject"),
        (("Product/P", "", "x"), "no predicate"),
        (("Product/P", "smell", "x"), "no property of Product"),
        (("Product/P", "id", "x"), "no property of Product"),
        (("P", "price_eur", "5"), "subject as Label/id"),
        ((None, "price_eur", "5"), "lacks a subject"),
    ],
)
def test_triples_open_to_doubt_are_refused(triple: tuple[str, str, str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_triple(*triple, ONTOLOGY)


VALUES = st.text(max_size=5) | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)


@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=6))
def test_the_content_hash_knows_no_order(props: dict[str, object]) -> None:
    assert content_hash(props) == content_hash(dict(reversed(props.items())))
    assert content_hash({**props, "another": "x"}) != content_hash(props)


def _reasons(path: Path, text: str) -> list[tuple[int, str]]:
    path.write_text(text, encoding="utf-8")
    rows = read_json_lines(path, path.name, ONTOLOGY)
    return [(place.line, row) for place, row in rows if isinstance(row, str)]


def test_broken_lines_are_named(tmp_path: Path) -> None:
    good = '{"label":"Product","id":"P_1","props":{"name":"a"}}\n'
    text = (
        f"\ufeff{good}\n"
        '{"label": \n'
        "[1, 2]\n"
        '{"label":"Product","id":"P","props":[]}\n'
        '{"label":"Product","id":"P","extra":1}\n'
        '{"type":"ABOUT","start":"a","end":"b"}\n'
        '{"label":"Product","id":"P","props":{"price_eur":NaN}}\n'
        f"{'[' * 100_000}\n"
        '"text"\n'
        f"{good}"
    )
    reasons = _reasons(tmp_path / "n.jsonl", text)
    assert [line for line, _ in reasons] == [3, 4, 5, 6, 7, 8, 9, 10]
    assert reasons[0][1].startswith("broken JSON at column")
    assert reasons[1][1] == "a triple has three parts"
    assert reasons[6][1] == "nested too deeply"


def test_a_row_says_its_id_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"props\.id"):
        check_row(Node("Product", "P_1", {"id": "P_2", "name": "a"}), ONTOLOGY)


@pytest.mark.parametrize("name", ["n.jsonl", "n.csv"])
def test_what_is_not_utf8_is_named_by_line_and_byte(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    first = b"subject,predicate,object\n"
    path.write_bytes(first + b"Product/P,name,Caf\xe9\n")
    read = read_csv(path, name, ONTOLOGY, None) if name == "n.csv" else None
    with pytest.raises(InputError, match=rf"{name}:2: not UTF-8 at byte {len(first) + 18}"):
        list(read or read_json_lines(path, name, ONTOLOGY))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        list(read_json_lines(tmp_path / "none.jsonl", "none.jsonl", ONTOLOGY))


MAPPING = CsvMapping.model_validate(
    {
        "files": {
            "p.csv": {
                "nodes": [
                    {
                        "label": "Product",
                        "id": "sku",
                        "properties": {
                            "name": "title",
                            "price_eur": "price",
                            "weight_g": "grams",
                            "colors": "colours",
                        },
                    }
                ]
            }
        }
    }
)


def test_cells_become_their_types(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text(
        "sku,title,price,grams,colours\n"
        'P_1,"Phone, black",99.5,180,red | blue\n'
        "P_2,Case,,,\n"
        "P_3,Tab,cheap,,\n"
        "P_4,Tab,1\n"
        ",Tab,1,1,\n"
        'P_5,"two\nlines",1,1,\n'
    )
    rows = list(read_csv(path, "p.csv", ONTOLOGY, MAPPING))
    assert [row for _, row in rows] == [
        Node(
            "Product",
            "P_1",
            {"name": "Phone, black", "price_eur": 99.5, "weight_g": 180, "colors": ["red", "blue"]},
        ),
        Node("Product", "P_2", {"name": "Case"}),
        "price_eur is no float",
        "3 fields, where the header has 5",
        "sku is empty",
        Node("Product", "P_5", {"name": "two\nlines", "price_eur": 1.0, "weight_g": 1}),
    ]
    assert rows[2][0].line == 4


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("sku,title,price,grams", "no column 'colours'; there are: sku, title, price, grams"),
        ("sku,sku,price,grams,colours", "twice"),
    ],
)
def test_wrong_columns_are_named(tmp_path: Path, header: str, reason: str) -> None:
    path = tmp_path / "p.csv"
    path.write_text(f"{header}\n")
    with pytest.raises(InputError, match=reason):
        list(read_csv(path, "p.csv", ONTOLOGY, MAPPING))


def test_a_csv_with_no_mapping_must_hold_triples(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text("sku,title\nP_1,Phone\n")
    with pytest.raises(InputError, match="no mapping"):
        list(read_csv(path, "q.csv", ONTOLOGY, MAPPING))


@pytest.mark.parametrize(
    ("mapping", "reason"),
    [
        ({"nodes": [{"label": "Vehicle", "id": "sku"}]}, "no known label"),
        ({"nodes": [{"label": "Product", "id": "sku", "properties": {"x": "sku"}}]}, "'x'"),
        (
            {
                "relationships": [
                    {
                        "type": "ABOUT",
                        "start": {"label": "Product", "id": "sku"},
                        "end": {"label": "Article", "id": "sku"},
                    }
                ]
            },
            "not in the ontology",
        ),
    ],
)
def test_a_mapping_that_names_nothing_known_is_refused(
    tmp_path: Path, mapping: dict[str, object], reason: str
) -> None:
    path = tmp_path / "p.csv"
    path.write_text("sku\nP_1\n")
    own = CsvMapping.model_validate({"files": {"p.csv": mapping}})
    with pytest.raises(InputError, match=reason):
        list(read_csv(path, "p.csv", ONTOLOGY, own))


def test_a_mapping_file_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "mapping.yaml"
    path.write_text(json.dumps({"files": {"p.csv": {"node": []}}}))
    with pytest.raises(InputError, match=r"files\.p\.csv\.node"):
        load_mapping(path)
    with pytest.raises(InputError, match="cannot read it"):
        load_mapping(tmp_path / "none.yaml")
