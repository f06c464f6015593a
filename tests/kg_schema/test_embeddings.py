"""Embeddings on real servers: made once, found nearly as exact search would, and left alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.recall import vector_recall
from kg_schema.client import FactRow, GraphClient
from kg_schema.connection import GraphSettings
from kg_schema.embeddings import embed_nodes
from kg_schema.errors import InputError
from kg_schema.fusion import fuse
from kg_schema.load import load_graph_files
from kg_schema.ontology import load_ontology
from kg_schema.writer import GraphWriter
from tests.kg_schema.small_graph import edge, graph_digest
from tests.kg_schema.stub_encoder import MODEL, Encoder, vector

WriteRows = Callable[[str, list[Any]], Path]
ARTICLES = 400
RECALL_BAR = 0.95


def article(node_id: str, name: str, body: str = "words") -> dict[str, Any]:
    return {"label": "Article", "id": node_id, "props": {"name": name, "body": body}}


def articles() -> list[dict[str, Any]]:
    return [article(f"AR_{i:04d}", f"group{i % 20} article {i}") for i in range(ARTICLES)]


def embed(writer: GraphWriter, encoder: Encoder, model: str = MODEL) -> int:
    return embed_nodes(writer, load_ontology(), model, lambda: encoder)


async def test_the_index_finds_what_exact_search_finds(
    graph: GraphSettings, writer: GraphWriter, write_rows: WriteRows
) -> None:
    load_graph_files(write_rows("a.jsonl", articles()), graph, source_id="one")
    assert embed(writer, Encoder()) == ARTICLES
    vectors = {row["id"]: vector(f"{row['props']['name']}\nwords") for row in articles()}
    queries = [vector(f"group{i % 20} question {i}") for i in range(40)]
    async with GraphClient(graph) as client:
        recall = await vector_recall(client, vectors, queries, MODEL)
        assert recall >= RECALL_BAR, recall
        other = {"vector": queries[0], "model": "another", "limit": 10}
        assert await client.read("articles_by_vector", other, deadline_s=30) == []


def test_a_second_load_embeds_nothing_and_a_changed_text_alone_is_embedded_again(
    graph: GraphSettings, writer: GraphWriter, write_rows: WriteRows
) -> None:
    rows = articles()[:30]
    load_graph_files(write_rows("a.jsonl", rows), graph, source_id="one")
    assert embed(writer, Encoder()) == 30
    before = graph_digest(writer, with_times=True)
    assert load_graph_files(write_rows("a.jsonl", rows), graph, source_id="one").written == 0
    assert embed(writer, Encoder()) == 0
    assert graph_digest(writer, with_times=True) == before

    rows[3] = article("AR_0003", "group7 another text")
    load_graph_files(write_rows("a.jsonl", rows), graph, source_id="one")
    encoder = Encoder()
    assert embed(writer, encoder) == 1
    assert encoder.texts == ["group7 another text\nwords"]
    assert embed(writer, Encoder(), model="a-model@2") == 30


async def test_a_changed_article_is_found_by_its_new_text(
    graph: GraphSettings, writer: GraphWriter, write_rows: WriteRows
) -> None:
    rows = articles()[:60]
    load_graph_files(write_rows("a.jsonl", rows), graph, source_id="one")
    embed(writer, Encoder())
    rows[3] = article("AR_0003", "novel text")
    load_graph_files(write_rows("a.jsonl", rows), graph, source_id="one")
    embed(writer, Encoder())
    async with GraphClient(graph) as client:
        given = {"vector": vector("novel text\nwords"), "model": MODEL, "limit": 5}
        found = await client.read("articles_by_vector", given, deadline_s=30)
        assert found[0].subject_id == "AR_0003"
        assert len({row.subject_id for row in found}) == 5
        given["vector"] = vector("group3 article 3\nwords")
        found = await client.read("articles_by_vector", given, deadline_s=30)
        assert "AR_0003" not in {row.subject_id for row in found}


async def test_embeddings_show_in_no_facts(
    graph: GraphSettings, writer: GraphWriter, write_rows: WriteRows
) -> None:
    product = {"label": "Product", "id": "P_1", "props": {"name": "phone"}}
    about = edge("ABOUT", "Article/AR_0000", "Product/P_1")
    load_graph_files(
        write_rows("a.jsonl", [*articles()[:1], product, about]), graph, source_id="one"
    )
    embed(writer, Encoder())
    async with GraphClient(graph) as client:
        given = {"id": "AR_0000", "fan_out": 5, "limit": 5}
        rows = await client.read("neighbourhood", given, deadline_s=30)
        assert {row.predicate for row in rows} == {"body", "ABOUT"}


def test_another_models_dimensions_are_refused(
    graph: GraphSettings, writer: GraphWriter, write_rows: WriteRows
) -> None:
    load_graph_files(write_rows("a.jsonl", articles()[:1]), graph, source_id="one")
    with pytest.raises(InputError, match="8 dimensions, the index of Article 384"):
        embed(writer, Encoder(dimensions=8))


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ("{embedding: {from: [text], dimensions: 3}}", "no string property"),
        ("{embedding: {from: [], dimensions: 3}}", "at least 1"),
        ("{embedding: {from: [name], dimensions: 0}}", "greater than or equal to 1"),
        ("{personal: true, embedding: {from: [name], dimensions: 3}}", "personal label"),
        ("{properties: {embedding: string}}", "belongs to the loader"),
    ],
)
def test_wrong_embeddings_are_refused(tmp_path: Path, label: str, reason: str) -> None:
    path = tmp_path / "ontology.yaml"
    path.write_text(f"extends: deskgraph\nlabels:\n  Note: {label}\n")
    with pytest.raises(InputError, match=reason):
        load_ontology(path)


def row(node_id: str) -> FactRow:
    return FactRow(
        "Article", node_id, node_id, "body", None, None, None, node_id, 0, "s", None, None
    )


def test_what_both_rankings_find_comes_first() -> None:
    words = [row(name) for name in ("a", "b", "c")]
    meaning = [row(name) for name in ("d", "c", "e")]
    fused = fuse([words, meaning])
    assert [each.subject_id for each in fused] == ["c", "a", "d", "b", "e"]
    assert [each.rank for each in fused] == [0, 1, 2, 3, 4]
    assert [each.subject_id for each in fuse([words, meaning], limit=2)] == ["c", "a"]
    assert fuse([]) == fuse([[], []]) == []


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True), max_size=4))
def test_fusing_keeps_every_subject_once_and_heeds_unanimity(rankings: list[list[str]]) -> None:
    fused = [each.subject_id for each in fuse([[row(name) for name in one] for one in rankings])]
    assert sorted(fused) == sorted({name for one in rankings for name in one})
    if rankings and rankings[0] and all(one[:1] == rankings[0][:1] for one in rankings):
        assert fused[0] == rankings[0][0]
