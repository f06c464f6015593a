"""A company's own things, `Vehicle` and `Invoice`, in YAML alone: loaded, checked, searched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kg_schema import commands
from kg_schema.load import LoadOptions
from kg_schema.migrate import migrate
from kg_schema.ontology import load_ontology
from kg_schema.writer import GraphWriter

ONTOLOGY = """\
extends: deskgraph
labels:
  Vehicle:
    properties:
      name: {type: string, required: true, searchable: true}
      aliases: {type: strings, searchable: true}
      plate: {type: string, required: true, unique: true}
      seats: integer
  Invoice:
    personal: true
    properties:
      memo: {type: string, searchable: true}
      total_eur: {type: float, required: true}
      issued_on: date
relationships:
  FITS:
    ends: [{from: [Accessory], to: [Vehicle]}]
    properties: {tools: strings}
  BILLS:
    ends: [{from: [Invoice], to: [Order]}]
  HAS_SYMPTOM:
    ends: [{from: [Vehicle], to: [Symptom]}]
"""
MAPPING = """\
files:
  vehicles.csv:
    nodes:
      - label: Vehicle
        id: vin
        properties: {name: model, plate: plate, seats: seats}
    relationships:
      - {type: FITS, start: {label: Accessory, id: rack}, end: {label: Vehicle, id: vin}}
      - {type: HAS_SYMPTOM, start: {label: Vehicle, id: vin}, end: {label: Symptom, id: fault}}
"""
VEHICLES = """\
vin,model,plate,seats,rack,fault
V_1,Cargo van long,G-100-AB,3,A_RACK,SY_NOISE
V_2,City bus,G-200-AB,40,,
"""
THINGS = """\
{"label": "Accessory", "id": "A_RACK", "props": {"name": "Roof rack"}}
{"label": "Symptom", "id": "SY_NOISE", "props": {"name": "Rattles"}}
{"label": "Order", "id": "O_1", "props": {"name": "O_1", "placed_on": "2026-01-02"}}
{"label": "Invoice", "id": "I_1", "props": {"name": "I_1", "memo": "Toner", "total_eur": 9}}
["Invoice/I_1", "BILLS", "Order/O_1"]
{"label": "Invoice", "id": "I_2", "props": {"name": "I_2"}}
["Vehicle/V_1", "FITS", "Product/P_1"]
"""
SEARCH = (
    "CALL db.index.fulltext.queryNodes($index, $query) YIELD node, score "
    "RETURN node.id AS id, score"
)


@pytest.fixture
def company(writer: GraphWriter, tmp_path: Path) -> Iterator[Path]:
    """A folder with the company's ontology and files; the database forgets the ontology after."""
    for name, text in (
        ("ontology.yaml", ONTOLOGY),
        ("mapping.yaml", MAPPING),
        ("vehicles.csv", VEHICLES),
        ("things.jsonl", THINGS),
    ):
        (tmp_path / name).write_text(text)
    yield tmp_path
    writer.write("MATCH (n) WHERE NOT n:SchemaMigration DETACH DELETE n", what="empty")
    migrate(writer, load_ontology())


def test_own_labels_need_no_code(writer: GraphWriter, company: Path) -> None:
    said: list[str] = []
    graph, ontology = writer.settings, company / "ontology.yaml"
    options = LoadOptions(bad_share=0.5, prune=True)

    def load() -> int:
        return commands.load(
            said.append, graph, [company], source_id="own", ontology=ontology, options=options
        )

    assert commands.check(said.append, graph, ontology=ontology) == 1
    assert "no unique constraint on Vehicle.plate" in said
    assert "no index vehicle_text" in said
    commands.migrate_graph(said.append, graph, ontology=ontology)
    assert load() == 1, "bad rows stop the pruning"
    assert said[-1].startswith("nothing of own was pruned")
    assert said[-3:-1] == [
        "  things.jsonl:6: Invoice lacks total_eur",
        "  things.jsonl:7: FITS does not go from Vehicle/V_1 to Product/P_1",
    ]
    good = "".join(THINGS.splitlines(keepends=True)[:5])
    (company / "things.jsonl").write_text(good)
    assert load() == 0

    said.clear()
    assert commands.check(said.append, graph, ontology=ontology) == 0, said
    assert commands.check(said.append, graph) == 1
    assert "label Invoice is not in the ontology" in said

    for index, query, expected in (
        ("vehicle_text", "cargo", ["V_1"]),
        ("invoice_text", "toner", ["I_1"]),
        ("invoice_text", "cargo", []),
    ):
        rows = writer.read(SEARCH, {"index": index, "query": query}, what="search")
        assert [row["id"] for row in rows] == expected
    rows = writer.read(
        "MATCH (:Accessory)-[:FITS]->(v:Vehicle)-[:HAS_SYMPTOM]->(s) RETURN v.id AS v, s.id AS s, "
        "v.seats AS seats",
        what="read",
    )
    assert rows == [{"v": "V_1", "s": "SY_NOISE", "seats": 3}]

    (company / "vehicles.csv").write_text(VEHICLES.replace("V_2,City bus,G-200-AB,40,,\n", ""))
    assert load() == 0
    assert said[-2].startswith("nodes that own no longer says: 1 were removed")
