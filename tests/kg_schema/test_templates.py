"""Templates: the package's own are whole, and a broken or writing one never gets through."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg_schema.client import FACT_COLUMNS
from kg_schema.templates import TemplateError, load_templates, parse_template

HEADER = "// name: t\n// kind: k\n// param id: string 1..5\n// returns: facts\n"
BODY = "MATCH (n:Product {id: $id}) RETURN n.name AS name\n"


def test_every_template_of_the_package_is_whole() -> None:
    templates = load_templates()
    assert len(templates) >= 12
    for name, template in templates.items():
        assert template.name == name
        assert template.yields, name
        if template.returns == "facts":
            parts = re.split(r"(?m)^UNION ALL$", template.text)
            for part in parts:
                assert re.findall(r"\bAS (\w+)", part.rpartition("RETURN")[2]) == list(FACT_COLUMNS)


def test_a_template_reads_its_header() -> None:
    text = (
        "// name: t\n// A remark.\n// kind: faq\n"
        "// param id: string 1..40  the business id\n"
        "// param topic: string?\n"
        "// param limit: integer 1..50\n"
        "// param vector: floats 2..2\n"
        "// returns: catalogue\n// yields: one\n// yields: two\n"
        "MATCH (n {id: $id}) WHERE n.topic = $topic AND $vector IS NOT NULL\n"
        "RETURN n.name AS name LIMIT $limit\n"
    )
    template = parse_template("t", text)
    assert template.yields == ("one", "two")
    good = {"id": "a", "limit": 3, "vector": (1, 2.5)}
    assert template.bind(good) == {"id": "a", "topic": None, "limit": 3, "vector": [1, 2.5]}
    for change, reason in (
        ({"id": ""}, "outside 1..40"),
        ({"id": 7}, "no string"),
        ({"id": None}, "no string"),
        ({"limit": 51}, "outside"),
        ({"limit": True}, "no integer"),
        ({"limit": 2.0}, "no integer"),
        ({"vector": [1]}, "outside"),
        ({"vector": [1, float("nan")]}, "no floats"),
        ({"more": 1}, "unknown parameters: more"),
    ):
        with pytest.raises(TemplateError, match=reason):
            template.bind({**good, **change})
    with pytest.raises(TemplateError, match="missing parameters: id"):
        template.bind({"limit": 1, "vector": [1, 2]})


def test_samples_are_taken_by_every_template() -> None:
    for template in load_templates().values():
        samples = template.samples()
        assert 1 <= len(samples) <= 4
        for values in samples:
            assert template.bind(values) == values


def test_samples_differ_in_length_and_in_what_is_null() -> None:
    text = (
        "// name: t\n// kind: faq\n// param id: string 1..40\n// param topic: string? 1..10\n"
        "// param names: strings 1..5\n// param on: date\n// param limit: integer 2..5\n"
        "// returns: catalogue\nMATCH (n {id: $id}) WHERE n.topic = $topic AND n.on < $on "
        "AND n.name IN $names RETURN n.name AS name LIMIT $limit\n"
    )
    samples = parse_template("t", text).samples()
    assert [(len(str(one["id"])), one["topic"]) for one in samples] == [
        (8, "_" * 8),
        (8, None),
        (20, "_" * 10),
        (20, None),
    ]
    assert {(str(one["on"]), one["limit"]) for one in samples} == {("1000-01-01", 2)}
    assert [one["names"] for one in samples[1:3]] == [["_" * 8], ["_" * 20]]


def test_a_value_is_never_in_the_message() -> None:
    with pytest.raises(TemplateError) as caught:
        parse_template("t", HEADER + BODY).bind({"id": "anna@example.org"})
    assert "anna" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (HEADER.replace("name: t", "name: u") + BODY, "names it 'u'"),
        (HEADER.replace("// kind: k\n", "") + BODY, "kind"),
        (HEADER.replace("facts", "rows") + BODY, "facts or catalogue"),
        (HEADER.replace("string 1..5", "text") + BODY, "cannot read"),
        (HEADER + BODY.replace("$id", "'a'"), "differ: id"),
        (HEADER + BODY.replace("$id}", "$id}) WHERE n.x = $other"), "differ: other"),
        (HEADER + BODY.replace("RETURN", "SET n.x = 1 RETURN"), "must not SET"),
        (HEADER + BODY.replace("RETURN", "detach delete n RETURN"), "must not DETACH"),
        (HEADER + BODY.replace("MATCH", "MERGE"), "must not MERGE"),
        (HEADER + "CALL dbms.listConfig() YIELD name " + BODY, "not allowed"),
        (HEADER + "LOAD CSV FROM 'file:///etc/passwd' AS row " + BODY, "must not LOAD"),
    ],
)
def test_what_is_not_whole_or_writes_is_refused(text: str, reason: str) -> None:
    with pytest.raises(TemplateError, match=reason):
        parse_template("t", text)


def test_words_in_strings_and_remarks_are_no_clauses() -> None:
    body = "// may SET nothing\n" + BODY.replace("RETURN", "WHERE n.x <> 'CREATE' RETURN")
    assert parse_template("t", HEADER + body).returns == "facts"


WRITES = ("CREATE", "MERGE", "DELETE", "SET", "REMOVE", "DROP", "FOREACH")


@given(st.sampled_from(WRITES), st.sampled_from([" ", "\n", "\t"]), st.booleans())
def test_no_writing_clause_gets_through(clause: str, space: str, lower: bool) -> None:
    word = clause.lower() if lower else clause
    with pytest.raises(TemplateError):
        parse_template("t", f"{HEADER}MATCH (n {{id: $id}}){space}{word}{space}(n) RETURN n")
