"""The one way to read the graph: async, one deadline a call, reviewed templates only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, cast

from neo4j import (
    READ_ACCESS,
    AsyncDriver,
    AsyncGraphDatabase,
    AsyncManagedTransaction,
    unit_of_work,
)
from neo4j.exceptions import DriverError, Neo4jError

from kg_schema import statements
from kg_schema.breaker import BreakerState, CircuitBreaker
from kg_schema.connection import (
    GraphQueryError,
    GraphSettings,
    GraphTimeout,
    GraphUnavailable,
    typed_error,
)
from kg_schema.engines import Engine, engine_of
from kg_schema.templates import QueryTemplate, find_template, load_templates

__all__ = [
    "FactRow",
    "GraphClient",
    "GraphProbe",
    "GraphQueryError",
    "GraphSettings",
    "GraphTimeout",
    "GraphUnavailable",
]

# The driver waits a second before its first retry: a read is tried twice, and a refused connection
# is told after that second rather than when the whole deadline has passed.
RETRY_S = 0.5
PROBE_FRESH_S = 2.0
PREPARE_S = 120.0
USER_AGENT = "deskgraph"


@dataclass(frozen=True)
class FactRow:
    """One fact as a template yields it: object_* for a relationship, `value` for a property.

    Attributes:
        rank: Order for display among the facts of one answer.
        source: The sources that say it, joined by commas.
        valid_from: First day it holds, ISO; None where it has no such bound.
        valid_to: Last day it holds, ISO.
    """

    subject_label: str
    subject_id: str
    subject_name: str
    predicate: str
    object_label: str | None
    object_id: str | None
    object_name: str | None
    value: str | None
    rank: int | None
    source: str | None
    valid_from: str | None
    valid_to: str | None


FACT_COLUMNS = tuple(field.name for field in fields(FactRow))


@dataclass(frozen=True)
class GraphProbe:
    """What a reachable server says of itself."""

    agent: str
    engine: Engine


class GraphClient:
    """Reads facts from the graph; one object a process and event loop.

    Use it as an async context manager, or close it. Its connections open with the first read.

    Args:
        settings: Where the graph is.
        templates: What may be read; the package's own by default.
        breaker: Stops calls to a server that is down; a new one by default.
    """

    def __init__(
        self,
        settings: GraphSettings,
        *,
        templates: Mapping[str, QueryTemplate] | None = None,
        breaker: CircuitBreaker | None = None,
    ) -> None:
        self._settings = settings
        self._templates = load_templates() if templates is None else templates
        self._breaker = breaker or CircuitBreaker()
        self._driver: AsyncDriver | None = None
        self._probe: tuple[float, GraphProbe] | None = None

    async def __aenter__(self) -> GraphClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections; a server that hangs is not waited for."""
        driver, self._driver = self._driver, None
        if driver is None:
            return
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                await driver.close()
        except (TimeoutError, OSError, DriverError, Neo4jError):
            return

    @property
    def breaker_state(self) -> BreakerState:
        """Whether the next call would reach the server."""
        return self._breaker.state

    @property
    def templates(self) -> Mapping[str, QueryTemplate]:
        """The templates it can read, by name."""
        return self._templates

    async def read(
        self,
        template: str,
        parameters: Mapping[str, object] | None = None,
        *,
        deadline_s: float | None = None,
    ) -> list[FactRow]:
        """Reads the facts of a template.

        Args:
            template: Name of a template that returns facts.
            parameters: Exactly what the template declares.
            deadline_s: Seconds the whole call may take, connecting and retries included.

        Raises:
            InputError: There is no such template.
            TemplateError: The parameters are not what it declares.
            GraphUnavailable: The server cannot be reached, or failed too often of late.
            GraphTimeout: The deadline passed.
            GraphQueryError: The server refused the query, or the columns are not a fact's.
        """
        found = find_template(template, self._templates)
        if found.returns != "facts":
            raise GraphQueryError("this template returns no facts; use raw_rows", where=template)
        rows = await self._rows(found, parameters or {}, deadline_s, text=_gathered(found.text))
        return [_fact(row) for row in rows[0]["facts"]]

    async def raw_rows(
        self,
        template: str,
        parameters: Mapping[str, object] | None = None,
        *,
        deadline_s: float | None = None,
    ) -> list[dict[str, Any]]:
        """Reads a template's rows as they are, keyed by column; arguments and errors as `read`."""
        found = find_template(template, self._templates)
        return await self._rows(found, parameters or {}, deadline_s, text=found.text)

    async def prepare(self, *, deadline_s: float = PREPARE_S) -> frozenset[str]:
        """Reads every template with values that find nothing, so that nobody waits for its plan.

        A Neo4j that has not met a template takes 0.3 to 2 s to plan it, and milliseconds to read
        it from then on. A graph that is down is left alone after the first try.

        Args:
            deadline_s: Seconds for all of them; what is not planned by then is planned later.

        Returns:
            Names of templates that the graph refused. It may refuse such values of one that is
            well after planning it: no index has so short a vector.

        Raises:
            GraphUnavailable: The server cannot be reached.
            GraphTimeout: The deadline passed.
        """
        asked = [(each, given) for each in self._templates.values() for given in each.samples()]
        refused = set()
        try:
            async with asyncio.timeout(deadline_s):
                for template, given in asked:
                    read = self.read if template.returns == "facts" else self.raw_rows
                    try:
                        await read(template.name, given, deadline_s=deadline_s)
                    except GraphQueryError:
                        refused.add(template.name)
        except TimeoutError as error:
            raise typed_error(error, self._settings, "plan the templates") from None
        return frozenset(refused)

    async def probe(self, *, deadline_s: float | None = None) -> GraphProbe:
        """Says what answers at the address; remembered for two seconds.

        Raises:
            GraphUnavailable: Nothing answers, or the log-in is refused.
            GraphTimeout: The deadline passed.
        """
        if self._probe is not None and time.monotonic() - self._probe[0] < PROBE_FRESH_S:
            return self._probe[1]
        try:
            async with asyncio.timeout(self._deadline(deadline_s)):
                info = await self._open().get_server_info()
        except (TimeoutError, OSError, DriverError, Neo4jError) as error:
            raise typed_error(error, self._settings, "probe") from None
        probe = GraphProbe(agent=info.agent, engine=engine_of(info.agent))
        self._probe = (time.monotonic(), probe)
        return probe

    async def _rows(
        self,
        template: QueryTemplate,
        given: Mapping[str, object],
        deadline_s: float | None,
        *,
        text: str,
    ) -> list[dict[str, Any]]:
        bound = template.bind(given)
        what = f"read {template.name}"
        if not self._breaker.admit():
            raise GraphUnavailable(
                f"{what}: the graph failed several times in a row; it is tried again in seconds",
                where=self._settings.address,
            )
        try:
            seconds = self._deadline(deadline_s)
            async with asyncio.timeout(seconds):
                rows = await self._managed_read(text, bound, seconds)
        except (TimeoutError, OSError, DriverError, Neo4jError) as error:
            typed = typed_error(error, self._settings, what)
            if isinstance(typed, GraphQueryError):
                self._breaker.succeeded()
            else:
                self._breaker.failed()
            raise typed from None
        except asyncio.CancelledError:
            self._breaker.abandoned()
            raise
        self._breaker.succeeded()
        return rows

    async def _managed_read(
        self, text: str, bound: dict[str, object], seconds: float
    ) -> list[dict[str, Any]]:
        # The server is told the deadline too, so that it does not work on for nobody.
        @unit_of_work(timeout=seconds)
        async def work(transaction: AsyncManagedTransaction) -> list[dict[str, Any]]:
            # The text is a reviewed file of this package; values travel as parameters alone.
            result = await transaction.run(cast("Any", text), bound)
            return await result.data()

        async with self._open().session(
            database=self._settings.database, default_access_mode=READ_ACCESS
        ) as session:
            return await session.execute_read(work)

    def _deadline(self, deadline_s: float | None) -> float:
        return self._settings.deadline_s if deadline_s is None else deadline_s

    def _open(self) -> AsyncDriver:
        if self._driver is None:
            settings = self._settings
            self._driver = AsyncGraphDatabase.driver(
                settings.uri,
                auth=(settings.username, settings.password),
                max_connection_pool_size=settings.pool_size,
                connection_timeout=settings.connect_timeout_s,
                connection_acquisition_timeout=settings.deadline_s,
                max_transaction_retry_time=RETRY_S,
                user_agent=USER_AGENT,
                notifications_min_severity="OFF",
                telemetry_disabled=True,
            )
        return self._driver


@cache
def _gathered(text: str) -> str:
    return statements.gathered(text, FACT_COLUMNS)


def _fact(values: Sequence[Any]) -> FactRow:
    fact = FactRow(*values)
    if fact.value is not None and not isinstance(fact.value, str):
        return replace(fact, value=str(fact.value))
    return fact
