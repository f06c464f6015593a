"""Free ports on loopback for servers that this machine starts."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

from kg_schema.errors import DeskGraphError

LOOPBACK = "127.0.0.1"
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - named to be told apart, not bound
RANGE = 10_000
ATTEMPTS = 100
LINUX_FIRST_EPHEMERAL = 32_768


def free_ports(count: int) -> int:
    """The first of `count` neighbouring ports that were free a moment ago.

    They lie below the ports that the system gives to connections. Whoever asks a server above it
    whether it is ready can take its port: a connection to a port where nobody listens yet may be
    given that very port to come from.

    Raises:
        DeskGraphError: None is found.
    """
    end = _first_ephemeral() - count
    for _ in range(ATTEMPTS):
        first = end - secrets.randbelow(RANGE)
        if not taken(first, count):
            return first
    raise DeskGraphError("no free port found", where=LOOPBACK)


def taken(first: int, count: int) -> bool:
    """Whether somebody listens on one of `count` ports."""
    for port in range(first, first + count):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except (OSError, OverflowError):
                return True
    return False


def reached_at(host: str) -> str:
    """The address at which this machine reaches a server that binds `host`."""
    return LOOPBACK if host in EVERYWHERE else host


def _first_ephemeral() -> int:
    try:
        text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
        return max(int(text.split()[0]), 2 * RANGE)
    except (OSError, ValueError):
        return LINUX_FIRST_EPHEMERAL
