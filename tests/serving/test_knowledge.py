"""The names kept between requests: read once for everybody who waits, and so is a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from kg_schema.client import FactRow, GraphUnavailable
from serving.knowledge import KnowledgeCache


class RefusingGraph:
    """Refuses after a moment, and counts how often it was asked for the catalogue."""

    def __init__(self) -> None:
        self.asked = 0

    async def read(
        self, template: str, parameters: Mapping[str, object], *, deadline_s: float
    ) -> list[FactRow]:
        self.asked += template == "catalogue"
        await asyncio.sleep(0.05)
        raise GraphUnavailable("read: cannot reach the graph")


async def test_those_who_wait_share_one_reading_and_its_failure() -> None:
    graph = RefusingGraph()
    cache = KnowledgeCache(graph, ttl_s=30)
    told = await asyncio.gather(*(cache.get(1.0) for _ in range(20)), return_exceptions=True)
    assert all(isinstance(each, GraphUnavailable) for each in told)
    assert graph.asked == 1
    with pytest.raises(GraphUnavailable):
        await cache.get(1.0)
    assert graph.asked == 2
    await cache.close()


async def test_a_caller_who_goes_away_ends_nobody_elses_reading() -> None:
    graph = RefusingGraph()
    cache = KnowledgeCache(graph, ttl_s=30)
    first = asyncio.ensure_future(cache.get(1.0))
    second = asyncio.ensure_future(cache.get(1.0))
    await asyncio.sleep(0.01)
    first.cancel()
    with pytest.raises(GraphUnavailable):
        await second
    assert graph.asked == 1
