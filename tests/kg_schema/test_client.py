"""The client against real servers, in health and behind a proxy that hangs or resets."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from neo4j.exceptions import Neo4jError

from kg_schema.breaker import BreakerState, CircuitBreaker
from kg_schema.client import (
    GraphClient,
    GraphQueryError,
    GraphSettings,
    GraphTimeout,
    GraphUnavailable,
)
from kg_schema.connection import typed_error
from kg_schema.engines import Engine
from kg_schema.errors import DeskGraphError, InputError
from kg_schema.load import load_graph_files
from kg_schema.local import RunningServer
from kg_schema.templates import QueryTemplate, TemplateError, load_templates, parse_template
from tests.kg_schema.faulty_proxy import Fault, FaultyProxy
from tests.kg_schema.small_graph import EDGES, NODES

SLACK_S = 1.0
SECRET = "anna@example.org"

PRICE = """// name: price
// kind: what a product costs
// param product_id: string 1..80
// returns: facts
MATCH (n:Product {id: $product_id})
RETURN 'Product' AS subject_label, n.id AS subject_id, n.name AS subject_name,
  'price_eur' AS predicate, null AS object_label, null AS object_id, null AS object_name,
  n.price_eur AS value, 0 AS rank, n.source_ids[0] AS source,
  null AS valid_from, null AS valid_to
"""
BROKEN = """// name: broken
// kind: what no server takes
// param text: string
// returns: catalogue
MATCH (n:Product {name: $text}) RETURN no_such_function(n) AS n
"""
NAMES = """// name: names
// kind: names of products
// returns: catalogue
MATCH (n:Product) RETURN n.name AS name ORDER BY name
"""
WORK = """// name: work
// kind: what takes a server a long time
// returns: catalogue
UNWIND range(1, 20000) AS a UNWIND range(1, 20000) AS b
WITH a, b WHERE a * b % 7 = 1 RETURN count(*) AS total
"""
TEMPLATES: dict[str, QueryTemplate] = {
    name: parse_template(name, text)
    for name, text in (("price", PRICE), ("broken", BROKEN), ("names", NAMES), ("work", WORK))
}


def client(settings: GraphSettings, **more: Any) -> GraphClient:
    return GraphClient(settings, templates=TEMPLATES, **more)


def through(settings: GraphSettings, port: int) -> GraphSettings:
    return replace(settings, uri=f"bolt://127.0.0.1:{port}")


def port_of(server: RunningServer) -> int:
    port = urlsplit(server.uri).port
    assert port is not None
    return port


async def test_it_reads_facts(
    graph: GraphSettings, write_rows: Callable[[str, list[Any]], Path]
) -> None:
    load_graph_files(
        [write_rows("n.jsonl", NODES), write_rows("e.jsonl", EDGES)], graph, source_id="one"
    )
    async with client(graph) as reader:
        (row,) = await reader.read("price", {"product_id": "P_X200"})
        assert (row.subject_id, row.predicate, row.value, row.source) == (
            "P_X200",
            "price_eur",
            "499.0",
            "one",
        )
        assert row.object_id is None
        assert await reader.read("price", {"product_id": "P_NONE"}) == []
        assert await reader.raw_rows("names") == [{"name": "X-200"}, {"name": "X-300"}]
        many = [reader.read("price", {"product_id": "P_X200"}) for _ in range(40)]
        assert all(rows == [row] for rows in await asyncio.gather(*many))


# Of the package's templates only this one may be refused: no index has so short a vector.
REFUSED = {"articles_by_vector"}


async def test_the_packages_templates_are_read_before_anybody_asks(
    sample_graph: RunningServer,
) -> None:
    async with GraphClient(sample_graph.settings()) as reader:
        assert await reader.prepare() <= REFUSED


async def test_either_engine_takes_the_samples_of_what_is_searched(graph: GraphSettings) -> None:
    names = ("articles_by_text", "articles_by_vector", "compatibility", "policy_fingerprint")
    templates = {name: load_templates()[name] for name in names}
    async with GraphClient(graph, templates=templates) as reader:
        assert await reader.prepare() <= REFUSED


async def test_preparing_passes_over_what_is_refused_and_leaves_a_graph_that_is_down(
    graph: GraphSettings, engine_server: RunningServer
) -> None:
    read: list[str] = []

    class Recording(GraphClient):
        async def raw_rows(self, template: str, *given: Any, **more: Any) -> list[dict[str, Any]]:
            read.append(template)
            return await super().raw_rows(template, *given, **more)

    templates = {name: TEMPLATES[name] for name in ("broken", "names", "price")}
    async with Recording(graph, templates=templates) as reader:
        assert await reader.prepare() == {"broken"}
        assert read == ["broken", "broken", "names"], "texts of two lengths, then no parameters"
    async with FaultyProxy(port_of(engine_server)) as proxy:
        proxy.fault = Fault.HANG
        async with Recording(through(graph, proxy.port), templates=templates) as reader:
            began = time.monotonic()
            with pytest.raises(GraphTimeout):
                await reader.prepare(deadline_s=0.5)
            assert time.monotonic() - began < 0.5 + SLACK_S
    assert read.count("broken") == 3, "it gives up at the first"


async def test_it_says_which_engine_answers(engine_server: RunningServer) -> None:
    async with client(engine_server.settings()) as reader:
        assert (await reader.probe()).engine is Engine(engine_server.engine)


async def test_a_refused_query_leaks_nothing_and_opens_no_breaker(graph: GraphSettings) -> None:
    breaker = CircuitBreaker(threshold=1)
    async with client(graph, breaker=breaker) as reader:
        with pytest.raises(GraphQueryError) as caught:
            await reader.raw_rows("broken", {"text": SECRET})
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    for leak in (SECRET, "MATCH", "no_such_function"):
        assert leak not in str(caught.value)
    assert breaker.state is BreakerState.CLOSED


async def test_facts_and_other_columns_are_told_apart(graph: GraphSettings) -> None:
    async with client(graph) as reader:
        with pytest.raises(GraphQueryError, match="raw_rows"):
            await reader.read("names")
        with pytest.raises(InputError, match="no read template"):
            await reader.read("nothing")
        with pytest.raises(TemplateError, match="missing parameters: product_id"):
            await reader.read("price")


async def test_a_slow_query_ends_at_its_deadline(graph: GraphSettings) -> None:
    async with client(graph) as reader:
        began = time.monotonic()
        with pytest.raises(GraphTimeout, match="read work"):
            await reader.raw_rows("work", deadline_s=0.5)
        assert time.monotonic() - began < 0.5 + SLACK_S
        # The connection of the query that was given up on serves nobody else.
        assert await reader.raw_rows("names", deadline_s=20) == []


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.RESET, Fault.SLOW, Fault.REFUSE])
@pytest.mark.parametrize("connected", [False, True])
async def test_a_server_in_trouble_ends_typed_inside_the_deadline(
    graph: GraphSettings, engine_server: RunningServer, fault: Fault, connected: bool
) -> None:
    async with (
        FaultyProxy(port_of(engine_server)) as proxy,
        client(through(graph, proxy.port)) as reader,
    ):
        if connected:
            await reader.raw_rows("names", deadline_s=20)
        proxy.fault = fault
        if fault is Fault.REFUSE:
            await proxy.refuse()
        began = time.monotonic()
        with pytest.raises((GraphTimeout, GraphUnavailable)) as caught:
            await reader.raw_rows("names", deadline_s=1.0)
        with pytest.raises((GraphTimeout, GraphUnavailable)):
            await reader.probe(deadline_s=0.5)
        assert time.monotonic() - began < 1.5 + SLACK_S
        assert isinstance(caught.value, DeskGraphError)
        if fault in (Fault.HANG, Fault.SLOW):
            assert isinstance(caught.value, GraphTimeout)
        if fault is Fault.REFUSE:
            await proxy.listen()
        proxy.fault = Fault.NONE
        assert await reader.raw_rows("names", deadline_s=20) == []


async def test_a_socket_that_never_answers() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        settings = GraphSettings(f"bolt://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        async with client(settings) as reader:
            with pytest.raises(GraphTimeout):
                await reader.raw_rows("names", deadline_s=0.3)
            with pytest.raises(GraphTimeout):
                await reader.probe(deadline_s=0.3)
        assert time.monotonic() - began < 0.6 + 2 * SLACK_S


async def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with client(GraphSettings(f"bolt://127.0.0.1:{port}")) as reader:
        with pytest.raises((GraphUnavailable, GraphTimeout), match=f"127.0.0.1:{port}"):
            await reader.raw_rows("names", deadline_s=2)


async def test_a_wrong_password_is_said(graph: GraphSettings) -> None:
    async with client(replace(graph, password="wrong-password")) as reader:
        with pytest.raises(GraphUnavailable, match="refuses the user name or password"):
            await reader.raw_rows("names", deadline_s=10)


async def test_the_breaker_spares_a_server_that_is_down_and_tries_again(
    graph: GraphSettings, engine_server: RunningServer
) -> None:
    now = [0.0]
    breaker = CircuitBreaker(threshold=2, rest_s=10, clock=lambda: now[0])
    async with (
        FaultyProxy(port_of(engine_server)) as proxy,
        client(through(graph, proxy.port), breaker=breaker) as reader,
    ):
        proxy.fault = Fault.HANG
        for _ in range(2):
            with pytest.raises(GraphTimeout):
                await reader.raw_rows("names", deadline_s=0.2)
        assert reader.breaker_state is BreakerState.OPEN
        before = proxy.connections
        began = time.monotonic()
        with pytest.raises(GraphUnavailable, match="tried again"):
            await reader.raw_rows("names", deadline_s=5)
        assert time.monotonic() - began < 0.2
        assert proxy.connections == before
        proxy.fault = Fault.NONE
        now[0] = 10.0
        assert reader.breaker_state is BreakerState.HALF_OPEN
        assert await reader.raw_rows("names", deadline_s=20) == []
        assert reader.breaker_state is BreakerState.CLOSED


async def test_a_trial_that_fails_opens_the_breaker_again_and_is_the_only_one(
    graph: GraphSettings, engine_server: RunningServer
) -> None:
    now = [0.0]
    breaker = CircuitBreaker(threshold=1, rest_s=10, clock=lambda: now[0])
    async with (
        FaultyProxy(port_of(engine_server)) as proxy,
        client(through(graph, proxy.port), breaker=breaker) as reader,
    ):
        proxy.fault = Fault.HANG
        with pytest.raises(GraphTimeout):
            await reader.raw_rows("names", deadline_s=0.2)
        now[0] = 10.0
        before = proxy.connections
        calls = (reader.raw_rows("names", deadline_s=0.3) for _ in range(5))
        errors = await asyncio.gather(*calls, return_exceptions=True)
        assert sorted(type(error).__name__ for error in errors) == [
            "GraphTimeout",
            *["GraphUnavailable"] * 4,
        ]
        assert proxy.connections <= before + 1
        assert reader.breaker_state is BreakerState.OPEN
        now[0] = 20.0
        proxy.fault = Fault.NONE
        assert await reader.raw_rows("names", deadline_s=20) == []
        assert reader.breaker_state is BreakerState.CLOSED


async def test_a_probe_is_remembered_for_two_seconds(
    graph: GraphSettings, engine_server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        FaultyProxy(port_of(engine_server)) as proxy,
        client(through(graph, proxy.port)) as reader,
    ):
        first = await reader.probe(deadline_s=20)
        proxy.fault = Fault.HANG
        began = time.monotonic()
        assert await reader.probe(deadline_s=0.3) is first
        assert time.monotonic() - began < 0.1
        monkeypatch.setattr("kg_schema.client.PROBE_FRESH_S", 0.0)
        with pytest.raises(GraphTimeout):
            await reader.probe(deadline_s=0.3)


async def test_a_pool_with_nothing_left_makes_callers_wait_no_longer_than_their_deadline(
    graph: GraphSettings, engine_server: RunningServer
) -> None:
    breaker = CircuitBreaker(threshold=100)
    async with FaultyProxy(port_of(engine_server)) as proxy:
        settings = replace(through(graph, proxy.port), pool_size=2)
        async with client(settings, breaker=breaker) as reader:
            await asyncio.gather(*(reader.raw_rows("names", deadline_s=20) for _ in range(6)))
            assert proxy.connections <= 2
            proxy.fault = Fault.HANG
            holders = [
                asyncio.create_task(reader.raw_rows("names", deadline_s=1.5)) for _ in range(2)
            ]
            await asyncio.sleep(0.1)
            began = time.monotonic()
            waiting = (reader.raw_rows("names", deadline_s=0.4) for _ in range(8))
            errors = await asyncio.gather(*waiting, return_exceptions=True)
            assert time.monotonic() - began < 0.4 + SLACK_S
            assert {type(error) for error in errors} == {GraphTimeout}
            assert proxy.connections <= 2, "nobody opened one beyond the bound"
            held = await asyncio.gather(*holders, return_exceptions=True)
            assert {type(error) for error in held} <= {GraphTimeout, GraphUnavailable}
            proxy.fault = Fault.NONE
            assert await reader.raw_rows("names", deadline_s=20) == []


async def test_a_caller_that_goes_away_gives_the_trial_back() -> None:
    now = [0.0]
    breaker = CircuitBreaker(threshold=1, rest_s=1, clock=lambda: now[0])
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        settings = GraphSettings(f"bolt://127.0.0.1:{silent.getsockname()[1]}")
        async with client(settings, breaker=breaker) as reader:
            with pytest.raises(GraphTimeout):
                await reader.raw_rows("names", deadline_s=0.1)
            now[0] = 1.0
            task = asyncio.create_task(reader.raw_rows("names", deadline_s=5))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert breaker.admit()


async def test_the_embedded_server_opens_no_files_for_a_query(graph_server: RunningServer) -> None:
    template = QueryTemplate(
        name="files",
        text="LOAD CSV FROM 'file:///etc/hostname' AS row RETURN row",
        kind="k",
        parameters=(),
        returns="catalogue",
        yields=(),
        digest="",
    )
    async with GraphClient(graph_server.settings(), templates={"files": template}) as reader:
        with pytest.raises(GraphQueryError):
            await reader.raw_rows("files", deadline_s=20)


def test_a_timeout_the_server_tells_of_is_one_too() -> None:
    told = Neo4jError("the transaction ran too long")
    told._neo4j_code = "Neo.ClientError.Transaction.TransactionTimedOutClientConfiguration"
    error = typed_error(told, GraphSettings("bolt://127.0.0.1:1"), "read work")
    assert isinstance(error, GraphTimeout)


def test_settings_come_from_the_environment() -> None:
    environment = {
        "NEO4J_URI": "bolt://graph:7687",
        "NEO4J_USERNAME": "desk",
        "NEO4J_PASSWORD": "hush-hush",
        "NEO4J_DATABASE": "deskgraph",
    }
    settings = GraphSettings.from_env(environment=environment)
    assert (settings.uri, settings.username, settings.database) == (
        "bolt://graph:7687",
        "desk",
        "deskgraph",
    )
    assert settings.http_address == ("graph", 7688)
    assert "hush-hush" not in repr(settings)
    assert GraphSettings.from_env("bolt://other:1", environment).uri == "bolt://other:1"
    with pytest.raises(InputError, match="deskgraph graph start"):
        GraphSettings.from_env(environment={})


@pytest.mark.parametrize("uri", ["", "graph", "http://graph:7687", "bolt://", "bolt://h:port"])
def test_addresses_of_no_graph_are_refused(uri: str) -> None:
    with pytest.raises(InputError):
        GraphSettings(uri)
