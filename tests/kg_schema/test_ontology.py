"""The ontology: names that are identifiers, rows checked against it, and a company's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg_schema import statements
from kg_schema.errors import InputError
from kg_schema.ontology import IDENTIFIER, Ontology, load_ontology

BUILT_IN = load_ontology()


@given(st.text(max_size=20))
def test_only_identifiers_get_into_a_statement(text: str) -> None:
    if IDENTIFIER.fullmatch(text) and text.isascii():
        assert statements.name(text) == text
    else:
        with pytest.raises(ValueError, match="no identifier"):
            statements.name(text)


@pytest.mark.parametrize(
    "text", ["", "1a", "a b", "a`b", "a)", "a\n", "Prodüct", "a;b", "_a", "a-b", "a.b", "é"]
)
def test_these_are_no_identifiers(text: str) -> None:
    with pytest.raises(ValueError, match="no identifier"):
        statements.existing_ids(text)
    with pytest.raises(ValueError, match="no identifier"):
        statements.merge_nodes(text, ())
    for names in ((text, "A", "B"), ("R", text, "B"), ("R", "A", text)):
        with pytest.raises(ValueError, match="no identifier"):
            statements.merge_relationships(*names, ())
    with pytest.raises(ValueError, match=r"String should match pattern|at most"):
        Ontology.model_validate({"labels": {text: {}}})


@given(st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,30}", fullmatch=True))
def test_identifiers_make_an_ontology_and_its_constraints(label: str) -> None:
    ontology = Ontology.model_validate({"labels": {label: {}}})
    (made,) = statements.constraints(ontology)
    assert f"FOR (n:{label}) REQUIRE n.id IS UNIQUE" in made


def test_every_label_has_id_and_name() -> None:
    for name, label in BUILT_IN.labels.items():
        assert label.properties["id"].unique, name
        assert label.properties["name"].required, name
    assert BUILT_IN.personal_labels == {"Customer", "Order"}


@pytest.mark.parametrize(
    ("props", "reason"),
    [
        ({}, "lacks name"),
        ({"name": ""}, "name is no string"),
        ({"name": 7}, "name is no string"),
        ({"name": "a", "price_eur": True}, "price_eur is no float"),
        ({"name": "a", "price_eur": float("inf")}, "price_eur is no float"),
        ({"name": "a", "weight_g": 1.0}, "weight_g is no integer"),
        ({"name": "a", "weight_g": 2**63}, "weight_g is no integer"),
        ({"name": "a", "released": "2026-02-30"}, "released is no date"),
        ({"name": "a", "released": "20260201"}, "released is no date"),
        ({"name": "a", "colors": "red"}, "colors is no strings"),
        ({"name": "a", "colors": ["red", 1]}, "colors is no strings"),
        ({"name": "a", "content_hash": "x"}, "no property 'content_hash'"),
    ],
)
def test_wrong_properties_are_named(props: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        BUILT_IN.check_node("Product", {"id": "P_1", **props})


def test_an_integer_is_taken_for_a_float_and_none_for_absent() -> None:
    checked = BUILT_IN.check_node(
        "Product", {"id": "P", "name": "a", "price_eur": 5, "stock": None}
    )
    assert checked == {"id": "P", "name": "a", "price_eur": 5.0}
    assert isinstance(checked["price_eur"], float)


def test_relationships_have_ends() -> None:
    assert BUILT_IN.check_relationship("ABOUT", "Article", "Ticket", {}) == {}
    for kind, start, end, reason in (
        ("ABOUT", "Product", "Article", "does not go from"),
        ("ABOUT", "Article", "Nothing", "unknown label"),
        ("KNOWS", "Article", "Product", "unknown relationship"),
        ("HAS_STEP", "Solution", "Step", "lacks order"),
    ):
        with pytest.raises(ValueError, match=reason):
            BUILT_IN.check_relationship(kind, start, end, {})


def _load(folder: Path, text: str) -> Ontology:
    path = folder / "own.yaml"
    path.write_text(text, encoding="utf-8")
    return load_ontology(path)


def test_a_company_extends_it_in_yaml(tmp_path: Path) -> None:
    grown = _load(
        tmp_path,
        "extends: deskgraph\n"
        "labels:\n"
        "  Vehicle: {properties: {plate: {type: string, unique: true}}}\n"
        "  Product: {properties: {torque_nm: float}}\n"
        "relationships:\n"
        "  FITS: {ends: [{from: [Product], to: [Vehicle]}]}\n"
        "  HAS_SYMPTOM: {ends: [{from: [Vehicle], to: [Symptom]}]}\n",
    )
    assert grown.check_node("Vehicle", {"id": "V", "name": "van", "plate": "G 1"})
    assert grown.check_node("Product", {"id": "P", "name": "a", "torque_nm": 1, "stock": "x"})
    for start in ("Vehicle", "Product"):
        assert grown.check_relationship("HAS_SYMPTOM", start, "Symptom", {}) == {}
    assert any("vehicle_plate_unique" in made for made in statements.constraints(grown))


def test_a_company_may_stand_alone(tmp_path: Path) -> None:
    alone = _load(tmp_path, "labels:\n  Vehicle: {}\n")
    assert set(alone.labels) == {"Vehicle"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("labels: [", "own.yaml:1: this is no YAML|own.yaml:2: this is no YAML"),
        ("just text", "mapping with"),
        ("extends: other\nlabels: {}", "only 'deskgraph'"),
        ("extends: deskgraph\nlabel: {}", "unknown entry 'label'"),
        ("extends: deskgraph\nlabels: {Product: {properties: {stock: string}}}", "there already"),
        ("extends: deskgraph\nlabels: {Product: {properties: {name: string}}}", "there already"),
        ("extends: deskgraph\nlabels: {Product: {personal: true}}", "cannot be changed"),
        ("extends: deskgraph\nlabels: {Product: 3}", "no mapping"),
        ("labels: {A: {properties: {x: text}}}", "labels.A.properties.x.type"),
        ("labels: {A: {properties: {loaded_at: date}}}", "belongs to the loader"),
        ("labels: {A: {properties: {x: {type: integer, searchable: true}}}}", "searchable"),
        ("labels: {A: {}}\nrelationships: {R: {ends: [{from: [A], to: [B]}]}}", "no label: B"),
        ("labels: {'A B': {}}", "pattern"),
    ],
)
def test_what_is_no_ontology_is_refused_in_one_line(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        _load(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read it"):
        load_ontology(tmp_path / "none.yaml")
