"""The stage on the sample company, in the embedded server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.encoder import add_encoder
from components.load_graph.loading import load_graph, source_name
from kg_schema.errors import InputError
from kg_schema.local import RunningServer
from serving.assistant import Assistant
from serving.contracts import Ticket
from serving.embedding import FOLDER, SentenceEncoder
from serving.manifest import verify_manifest
from serving.principal import Principal
from tests.serving.keyword_model import keyword_model


@pytest.fixture(autouse=True)
def environment(graph_server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in graph_server.environment().items():
        if key != "NEO4J_URI":
            monkeypatch.setenv(key, value)


def test_the_sample_company_loads_and_a_second_time_writes_nothing(
    graph_server: RunningServer, tmp_path: Path
) -> None:
    first = load_graph("samples:graph", graph_server.uri, str(tmp_path / "first.json"))
    again = load_graph("samples:graph", graph_server.uri, str(tmp_path / "again.json"))
    assert again.report.written == 0
    assert first.encoder == again.encoder == "all-MiniLM-L6-v2@53aa51172d14-w8"
    assert again.embedded == 0
    assert again.report.quarantined == 0
    assert again.report.nodes.total > 2_000
    assert again.fingerprint == first.fingerprint
    said = json.loads((tmp_path / "again.json").read_text())
    assert said["fingerprint"] == again.fingerprint
    assert said["nodes"]["unchanged"] == again.report.nodes.total
    assert said["relationships"]["rows_per_s"] > 0


async def test_a_model_with_its_encoder_finds_articles_by_meaning(
    graph_server: RunningServer, tmp_path: Path
) -> None:
    loaded = load_graph("samples:graph", graph_server.uri, str(tmp_path / "report.json"))
    model = keyword_model(tmp_path / "model")
    question = Ticket(text="please do some banking for me: a mortgage would be welcome")
    for with_encoder in (False, True):
        if with_encoder:
            assert add_encoder(model)
        async with Assistant.open(model, graph_server.settings()) as assistant:
            answer = await assistant.answer(question, Principal.anonymous())
        assert not answer.degraded
        assert ("embed" in answer.latency_ms) is with_encoder
    assert SentenceEncoder(model / FOLDER).model == loaded.encoder
    verify_manifest(model, "model")


async def test_a_notebook_with_a_running_loop_can_call_it(
    graph_server: RunningServer, tmp_path: Path
) -> None:
    (tmp_path / "graph").mkdir()
    (tmp_path / "graph" / "n.jsonl").write_text(
        '{"label": "Product", "id": "P_NOTEBOOK", "props": {"name": "a"}}\n'
    )
    done = load_graph(str(tmp_path / "graph"), graph_server.uri, str(tmp_path / "r.json"))
    assert done.report.source_id == "graph"


def test_a_companys_own_ontology_in_its_folder_is_used(
    graph_server: RunningServer, tmp_path: Path
) -> None:
    folder = tmp_path / "garage"
    folder.mkdir()
    (folder / "ontology.yaml").write_text("extends: deskgraph\nlabels: {Vehicle: {}}\n")
    (folder / "n.jsonl").write_text('{"label": "Vehicle", "id": "V_1", "props": {"name": "v"}}\n')
    done = load_graph(str(folder), graph_server.uri, str(tmp_path / "r.json"))
    assert done.migrations
    assert done.report.nodes.total == 1
    load_graph("samples:graph", graph_server.uri, str(tmp_path / "back.json"))


def test_bad_data_leaves_no_report(graph_server: RunningServer, tmp_path: Path) -> None:
    bad = tmp_path / "n.jsonl"
    bad.write_text('{"label": "Product"\n')
    with pytest.raises(InputError, match=r"n\.jsonl:1"):
        load_graph(str(bad), graph_server.uri, str(tmp_path / "r.json"))
    assert not (tmp_path / "r.json").exists()


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("samples:graph", "samples:graph"),
        ("/data/acme/graph/", "graph"),
        ("s3://bucket/a,b", "a_b"),
        ("/", "graph"),
    ],
)
def test_a_source_is_named_for_its_last_part(location: str, name: str) -> None:
    assert source_name(location) == name
