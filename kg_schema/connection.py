"""What every way to the database shares: settings, typed errors, their translation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from neo4j.exceptions import (
    AuthError,
    ConfigurationError,
    DriverError,
    Neo4jError,
    TransientError,
)

from kg_schema.errors import DeskGraphError, InputError

SCHEMES = ("bolt", "bolt+s", "bolt+ssc", "neo4j", "neo4j+s", "neo4j+ssc")
START_FIX = "start one with `deskgraph graph start`, or set NEO4J_URI to a running one"


class GraphUnavailable(DeskGraphError):
    """The database cannot be reached, refuses the log-in, or its breaker is open."""


class GraphTimeout(DeskGraphError):
    """The database gave no answer inside the call's deadline."""


class GraphQueryError(DeskGraphError):
    """The database refused a query, or its rows are not what the query declares."""


@dataclass(frozen=True)
class GraphSettings:
    """Where the graph is and how patient its callers are.

    Args:
        uri: Bolt address, such as `bolt://127.0.0.1:7687`.
        username: User name.
        password: Password; never shown in a representation.
        database: Database name; None takes the server's default one.
        http_uri: Address of the embedded engine's HTTP port, which alone makes its search
            indexes; empty for the port next to the Bolt port, as the embedded server opens it.
        deadline_s: Seconds that a call may take where the caller gives none.
        pool_size: Most connections a process opens.
        connect_timeout_s: Seconds that opening one connection may take.
    """

    uri: str
    username: str = "neo4j"
    password: str = field(default="", repr=False)
    database: str | None = None
    http_uri: str = ""
    deadline_s: float = 5.0
    pool_size: int = 16
    connect_timeout_s: float = 3.0

    def __post_init__(self) -> None:
        """Checks the address.

        Raises:
            InputError: The address is no Bolt address.
        """
        try:
            parts = urlsplit(self.uri)
            usable = parts.scheme in SCHEMES and bool(parts.hostname)
            _ = parts.port
        except ValueError:
            usable = False
        if not usable:
            raise InputError(
                "no address of a graph", where=self.uri, fix="give bolt://HOST:PORT or neo4j://HOST"
            )

    @classmethod
    def from_env(
        cls, uri: str | None = None, environment: Mapping[str, str] | None = None
    ) -> GraphSettings:
        """Reads NEO4J_URI, NEO4J_USERNAME, NEO4J_PASSWORD, NEO4J_DATABASE, NEO4J_HTTP_URI.

        Args:
            uri: Address that wins over NEO4J_URI.
            environment: What to read; the process's own by default.

        Raises:
            InputError: There is no address, or it is no Bolt address.
        """
        env = os.environ if environment is None else environment
        address = uri or env.get("NEO4J_URI", "")
        if not address:
            raise InputError("no graph is named", where="NEO4J_URI", fix=START_FIX)
        return cls(
            uri=address,
            username=env.get("NEO4J_USERNAME") or "neo4j",
            password=env.get("NEO4J_PASSWORD", ""),
            database=env.get("NEO4J_DATABASE") or None,
            http_uri=env.get("NEO4J_HTTP_URI", ""),
        )

    @property
    def address(self) -> str:
        """Host and port, with no user name or password in it."""
        parts = urlsplit(self.uri)
        return f"{parts.hostname}:{parts.port or 7687}"

    @property
    def http_address(self) -> tuple[str, int]:
        """Host and port of the embedded engine's HTTP side."""
        if self.http_uri:
            parts = urlsplit(self.http_uri)
            return parts.hostname or "127.0.0.1", parts.port or 2480
        parts = urlsplit(self.uri)
        return parts.hostname or "127.0.0.1", (parts.port or 7687) + 1


def typed_error(error: Exception, settings: GraphSettings, what: str) -> DeskGraphError:
    """The typed error of a driver's error, with no query text and no data in it.

    Servers put whole queries, with the values in them, into their messages. So only the
    status code travels on; raise the result `from None`.

    Args:
        error: What the driver, the socket or the clock raised.
        settings: The graph it came from.
        what: What was being done, such as `read article_search`.
    """
    code = getattr(error, "code", None) or ""
    if isinstance(error, TimeoutError) or "TransactionTimedOut" in code:
        return GraphTimeout(f"{what}: no answer inside the deadline", where=settings.address)
    if isinstance(error, AuthError):
        return GraphUnavailable(
            f"{what}: the graph refuses the user name or password",
            where=settings.address,
            fix="set NEO4J_USERNAME and NEO4J_PASSWORD",
        )
    if isinstance(error, TransientError):
        return GraphUnavailable(f"{what}: {error.code}", where=settings.address)
    if isinstance(error, Neo4jError):
        return GraphQueryError(f"{what}: {error.code}", where=settings.address)
    if isinstance(error, (ConfigurationError, DriverError, OSError)):
        return GraphUnavailable(
            f"{what}: cannot reach the graph ({type(error).__name__})",
            where=settings.address,
            fix=START_FIX,
        )
    return GraphQueryError(f"{what}: {type(error).__name__}", where=settings.address)
