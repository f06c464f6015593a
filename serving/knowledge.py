"""What is kept of the graph between requests: names to link by, read anew every while."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from kg_schema.client import FactRow, GraphQueryError, GraphTimeout, GraphUnavailable
from serving.catalogue import Catalogue
from serving.contracts import EntityLink
from serving.linking import Linker
from serving.retrieval import GraphReader
from serving.symptoms import SymptomIndex

_LOG = logging.getLogger(__name__)
MAX_NODES = 100_000


class Knowledge:
    """One reading of the catalogue, and what is built on it.

    Args:
        catalogue: The nodes that can be named.
        policies: What `policy_fingerprint` says of the day.
    """

    def __init__(self, catalogue: Catalogue, policies: Sequence[FactRow] = ()) -> None:
        self.catalogue = catalogue
        self.linker = Linker(catalogue)
        self.symptoms = SymptomIndex(catalogue.of("Symptom"))
        self.version = _version(catalogue, policies)

    def categories_of(self, products: Sequence[EntityLink]) -> tuple[str, ...]:
        """Ids of the categories of linked products, each once."""
        nodes = (self.catalogue.get(f"{link.label}/{link.id}") for link in products)
        found = (node.properties.get("category") for node in nodes if node)
        return tuple(dict.fromkeys(category for category in found if category))


def _version(catalogue: Catalogue, policies: Sequence[FactRow]) -> str:
    said = sorted(
        f"{row.subject_id}\t{row.predicate}\t{row.object_id}\t{row.value}" for row in policies
    )
    return hashlib.sha256("\n".join([catalogue.digest(), *said]).encode()).hexdigest()[:12]


class KnowledgeCache:
    """The current knowledge; while it is read anew, requests go on with the last one.

    Args:
        graph: Where names are read.
        ttl_s: Seconds after which they are read anew, in the background.
        clock: Seconds, monotonic.
    """

    def __init__(
        self, graph: GraphReader, ttl_s: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._graph = graph
        self._ttl_s = ttl_s
        self._clock = clock
        self._first: asyncio.Task[Knowledge] | None = None
        self._knowledge: Knowledge | None = None
        self._read_at = 0.0
        self._refresh: asyncio.Task[None] | None = None

    async def get(self, deadline_s: float) -> Knowledge:
        """The knowledge; the first calls read it together, later ones never wait.

        Raises:
            GraphUnavailable: There is none yet, and the graph cannot be reached.
            GraphTimeout: There is none yet, and the graph is too slow.
            GraphQueryError: There is none yet, and the graph refused the query.
        """
        if self._knowledge is None:
            # Whoever waits shares one reading, and its failure: no queue of retries builds up.
            if self._first is None or self._first.done():
                self._first = asyncio.create_task(self._start(deadline_s), name="catalogue")
            return await asyncio.shield(self._first)
        if self._clock() - self._read_at > self._ttl_s and not self._refreshing:
            self._refresh = asyncio.create_task(self._renew(deadline_s), name="catalogue")
        return self._knowledge

    async def close(self) -> None:
        """Ends a reading in the background. Safe to call twice."""
        tasks = [task for task in (self._first, self._refresh) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def _refreshing(self) -> bool:
        return self._refresh is not None and not self._refresh.done()

    async def _start(self, deadline_s: float) -> Knowledge:
        self._knowledge = await self._read(deadline_s)
        self._read_at = self._clock()
        return self._knowledge

    async def _renew(self, deadline_s: float) -> None:
        self._read_at = self._clock()
        try:
            self._knowledge = await self._read(deadline_s)
        except (GraphUnavailable, GraphTimeout, GraphQueryError) as error:
            _LOG.warning("keeping the names read earlier: %s", error)

    async def _read(self, deadline_s: float) -> Knowledge:
        today = datetime.now(UTC).date().isoformat()
        names, policies = await asyncio.gather(
            self._graph.read("catalogue", {"limit": MAX_NODES}, deadline_s=deadline_s),
            self._graph.read("policy_fingerprint", {"as_of": today}, deadline_s=deadline_s),
        )
        catalogue = Catalogue.from_rows(names)
        if self._knowledge is not None and (
            _version(catalogue, policies) == self._knowledge.version
        ):
            return self._knowledge
        # Building the indexes of a large catalogue takes long enough to hold up other requests.
        return await asyncio.to_thread(Knowledge, catalogue, policies)
