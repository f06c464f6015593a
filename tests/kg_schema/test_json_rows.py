"""Nested documents: read by patterns, section by section, and refused with their place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from kg_schema.checking import open_source
from kg_schema.csv_rows import CsvMapping
from kg_schema.errors import InputError
from kg_schema.json_rows import DocumentMapping, read_document, sections
from kg_schema.ontology import load_ontology
from kg_schema.rows import BadRow, Edge, Node, Place

SHOP = {
    "P1": {
        "name": "Mug",
        "kinds": [
            {"sku": 7, "options": {"colour": "red", "size": "L"}, "price": 4, "there": True},
            {"sku": 8, "options": {}, "there": False},
        ],
    },
    "P2": {"name": "Cup", "kinds": []},
}


def read(folder: Path, document: object, *mappings: dict[str, Any], name: str = "shop.json") -> Any:
    path = folder / name
    text = document if isinstance(document, str) else json.dumps(document)
    path.write_text(text, encoding="utf-8")
    read_mappings = tuple(DocumentMapping.model_validate(each) for each in mappings)
    return list(read_document(path, name, load_ontology(), read_mappings))


def product(**props: str) -> dict[str, Any]:
    return {"label": "Product", "id": "{sku}", "properties": props}


def test_items_around_items_lend_their_values(tmp_path: Path) -> None:
    rows = read(
        tmp_path,
        SHOP,
        {
            "each": "*.kinds.*",
            "where": {"{there}": True},
            "nodes": [
                product(
                    name="{^.name} {sku} ({options})",
                    aliases="{options}",
                    price_eur="{price}",
                    category="{^.@key}",
                    stock="in_stock",
                    released="{nowhere}",
                )
            ],
            "relationships": [
                {
                    "type": "IN_CATEGORY",
                    "start": {"label": "Product", "id": "{sku}"},
                    "end": {"label": "Category", "id": "C_{^.@key}_{@key}"},
                }
            ],
        },
    )
    place = Place("shop.json", 0, "P1/0")
    props = {
        "name": "Mug 7 (colour red, size L)",
        "aliases": ["colour: red", "size: L"],
        "price_eur": 4,
        "category": "P1",
        "stock": "in_stock",
    }
    assert rows == [
        (place, Node("Product", "7", props)),
        (place, Edge("IN_CATEGORY", "Product", "7", "Category", "C_P1_0", {})),
    ]


def test_bad_items_say_where_they_stand(tmp_path: Path) -> None:
    rows = read(tmp_path, {"a": {"sku": {}}, "b": {}, "c": 3}, {"each": "*", "nodes": [product()]})
    assert [(str(place), reason) for place, reason in rows] == [
        ("shop.json:a", "{sku} is no id"),
        ("shop.json:b", "{sku} gives no id of a Product"),
        ("shop.json:c", "{sku} gives no id of a Product"),
    ]
    assert BadRow(rows[0][0], "r").as_json() == {"file": "shop.json", "item": "a", "reason": "r"}


def test_no_value_at_an_end_says_there_is_no_such_relationship(tmp_path: Path) -> None:
    edge = {
        "type": "IN_CATEGORY",
        "start": {"label": "Product", "id": "{@key}"},
        "end": {"label": "Category", "id": "{kind}"},
    }
    rows = read(tmp_path, {"a": {"kind": "x"}, "b": {}}, {"each": "*", "relationships": [edge]})
    assert [row.start for _, row in rows] == ["a"]


@pytest.mark.parametrize(
    ("document", "mapping", "reason"),
    [
        ('{"a": ', {"each": "*"}, "shop.json:1: broken JSON at column"),
        ("[" * 100_000, {"each": "*"}, "nested too deeply"),
        (SHOP, {"each": "*", "nodes": [{"label": "Vehicle", "id": "x"}]}, "no known label"),
        (
            SHOP,
            {"each": "*", "nodes": [{"label": "Product", "id": "x", "properties": {"smell": "y"}}]},
            "property 'smell'",
        ),
        (
            SHOP,
            {
                "each": "*",
                "relationships": [
                    {
                        "type": "PLACED",
                        "start": {"label": "Order", "id": "x"},
                        "end": {"label": "Order", "id": "y"},
                    }
                ],
            },
            "not in the ontology",
        ),
    ],
)
def test_what_cannot_be_read_is_refused(
    tmp_path: Path, document: object, mapping: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        read(tmp_path, document, mapping)


def test_a_folder_stands_for_the_documents_that_its_mapping_names(tmp_path: Path) -> None:
    for name in ("shop.json", "other.json", "rules.md", "README.md", "n.jsonl"):
        (tmp_path / name).write_text("{}" if name.endswith("json") else "")
    mapping = {"documents": {"shop.json": [{"each": "*"}], "rules.md": [{"each": "*"}]}}
    CsvMapping.model_validate(mapping)
    (tmp_path / "mapping.yaml").write_text(yaml.safe_dump(mapping))
    source = open_source([tmp_path], load_ontology())
    assert [file.name for file in source.files] == ["n.jsonl", "rules.md", "shop.json"]
    with pytest.raises(InputError, match=r"other\.json: no mapping"):
        list(open_source([tmp_path / "other.json"], load_ontology()).rows(tmp_path / "other.json"))
    with pytest.raises(ValidationError, match="each is keys"):
        DocumentMapping.model_validate({"each": "a..b"})


MARKDOWN = """preface, no section
# Returns
General words.

## Gift cards ##
Refunded at once.
```
# no heading, but code
```
### Empty
## Other cards
In 5 days.
"""


def test_sections_have_their_own_words_and_the_heading_above() -> None:
    found = list(sections(iter(MARKDOWN.splitlines(keepends=True))))
    assert [(each["slug"], each["level"], each["parent"]) for each in found] == [
        ("returns", 1, ""),
        ("gift_cards", 2, "Returns"),
        ("other_cards", 2, "Returns"),
    ]
    assert found[1]["text"] == "Refunded at once.\n```\n# no heading, but code\n```"


@given(st.lists(st.tuples(st.integers(1, 6), st.text("ab c", min_size=1, max_size=9))))
def test_no_words_of_a_section_are_lost(given_sections: list[tuple[int, str]]) -> None:
    lines = [f"{'#' * level} h{words}\nw{words}\n" for level, words in given_sections]
    found = list(sections(iter("".join(lines).splitlines(keepends=True))))
    assert [each["text"] for each in found] == [f"w{words}".strip() for _, words in given_sections]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


@settings(deadline=None)
@given(JSON_VALUES)
def test_any_document_gives_rows_or_reasons(
    tmp_path_factory: pytest.TempPathFactory, document: object
) -> None:
    mapping = {"each": "*", "nodes": [product(name="{name}", aliases="{a.b}", price_eur="{p}")]}
    deeper = {"each": "*.*", "nodes": [{"label": "Product", "id": "{^.@key}-{@key}"}]}
    for place, row in read(tmp_path_factory.getbasetemp(), json.dumps(document), mapping, deeper):
        assert isinstance(row, (Node, str))
        assert place.line == 0
