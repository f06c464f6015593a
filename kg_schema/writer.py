"""The one way to write to the graph: managed transactions of statements made in `statements`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, cast

from neo4j import READ_ACCESS, WRITE_ACCESS, Driver, GraphDatabase, ManagedTransaction
from neo4j.exceptions import DriverError, Neo4jError

from kg_schema.connection import GraphSettings, typed_error
from kg_schema.engines import Engine, engine_of

RETRY_S = 30.0

Result = TypeVar("Result")
Run = Callable[[str, Mapping[str, object]], list[dict[str, Any]]]


class GraphWriter:
    """Writes and administers a graph, one statement a transaction; for a few threads at once.

    Every statement runs in an explicit managed transaction: outside one, the embedded engine
    commits parts of a large batch before it fails. Use it as a context manager.

    Args:
        settings: Where the graph is.
    """

    def __init__(self, settings: GraphSettings) -> None:
        self.settings = settings
        self._driver: Driver = GraphDatabase.driver(
            settings.uri,
            auth=(settings.username, settings.password),
            max_connection_pool_size=4,
            connection_timeout=settings.connect_timeout_s,
            max_transaction_retry_time=RETRY_S,
            notifications_min_severity="OFF",
            telemetry_disabled=True,
        )

    def __enter__(self) -> GraphWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._driver.close()

    def engine(self) -> Engine:
        """Which engine answers.

        Raises:
            GraphUnavailable: None does.
        """
        try:
            return engine_of(self._driver.get_server_info().agent)
        except (OSError, DriverError, Neo4jError) as error:
            raise typed_error(error, self.settings, "connect") from None

    def write(
        self, statement: str, parameters: Mapping[str, object] | None = None, *, what: str
    ) -> tuple[list[dict[str, Any]], int]:
        """Runs a writing statement; retries it where the server says that it may.

        Args:
            statement: A statement from `statements` or a migration file.
            parameters: Its values.
            what: What it does, for an error's text.

        Returns:
            Its rows, and how many nodes and relationships it created.

        Raises:
            GraphUnavailable: The server cannot be reached, or stays busy.
            GraphQueryError: The server refuses it.
        """
        return self._run(statement, parameters, what, WRITE_ACCESS)

    def transact(self, work: Callable[[Run], Result], *, what: str) -> Result:
        """Runs several statements as one: all of what they write is kept, or nothing.

        Args:
            work: Gets what runs a statement and returns its rows; run again where the server
                says that the transaction may be.
            what: What it does, for an error's text.

        Raises:
            GraphUnavailable: The server cannot be reached, or stays busy.
            GraphQueryError: The server refuses a statement.
        """

        def managed(transaction: ManagedTransaction) -> Result:
            def run(statement: str, parameters: Mapping[str, object]) -> list[dict[str, Any]]:
                return transaction.run(cast("Any", statement), dict(parameters)).data()

            return work(run)

        try:
            with self._driver.session(database=self.settings.database) as session:
                return session.execute_write(managed)
        except (OSError, DriverError, Neo4jError) as error:
            raise typed_error(error, self.settings, what) from None

    def read(
        self, statement: str, parameters: Mapping[str, object] | None = None, *, what: str
    ) -> list[dict[str, Any]]:
        """Runs a bookkeeping read of `statements`; arguments and errors as `write`."""
        return self._run(statement, parameters, what, READ_ACCESS)[0]

    def stream(
        self, statement: str, parameters: Mapping[str, object], *, what: str
    ) -> Iterator[dict[str, Any]]:
        """The rows of a bookkeeping read one by one, for those that would fill the memory.

        Nothing is retried, for a part may have been seen. Arguments and errors as `write`.
        """
        try:
            with self._driver.session(
                database=self.settings.database, default_access_mode=READ_ACCESS
            ) as session:
                for record in session.run(cast("Any", statement), dict(parameters)):
                    yield record.data()
        except (OSError, DriverError, Neo4jError) as error:
            raise typed_error(error, self.settings, what) from None

    def administer(self, statement: str, *, what: str) -> None:
        """Runs a schema statement, which no transaction with writes in it may hold.

        Arguments and errors as `write`.
        """
        try:
            with self._driver.session(database=self.settings.database) as session:
                session.run(cast("Any", statement)).consume()
        except (OSError, DriverError, Neo4jError) as error:
            raise typed_error(error, self.settings, what) from None

    def _run(
        self, statement: str, parameters: Mapping[str, object] | None, what: str, access: str
    ) -> tuple[list[dict[str, Any]], int]:
        def work(transaction: ManagedTransaction) -> tuple[list[dict[str, Any]], int]:
            result = transaction.run(cast("Any", statement), dict(parameters or {}))
            rows = result.data()
            counters = result.consume().counters
            return rows, counters.nodes_created + counters.relationships_created

        try:
            with self._driver.session(
                database=self.settings.database, default_access_mode=access
            ) as session:
                if access == READ_ACCESS:
                    return session.execute_read(work)
                return session.execute_write(work)
        except (OSError, DriverError, Neo4jError) as error:
            raise typed_error(error, self.settings, what) from None
