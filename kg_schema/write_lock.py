"""Lets one process at a time migrate or load a database, and outlives none that dies.

The lock is a node with an owner and a time, by the server's clock, until which it holds. Its
owner prolongs it every few seconds from a thread of its own, however long a statement takes;
once a dead owner's time is over, the next one takes it, and at once where it can see that the
process is gone.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid

from kg_schema import statements
from kg_schema.connection import GraphQueryError, GraphSettings, GraphUnavailable
from kg_schema.errors import DeskGraphError
from kg_schema.writer import GraphWriter, Run

LEASE_S = 20.0
BEAT_S = 5.0
POLL_S = 0.25
WAIT_S = 900.0
# On the embedded engine the second of two who ask at once is refused; asking again is right.
REFUSALS = 20

logger = logging.getLogger(__name__)


class WriteLockError(DeskGraphError):
    """Another process migrates or loads this database, or took over from this one."""


def _place() -> str:
    """Where process ids mean the same: a host, and on it one container's view of them."""
    try:
        view = os.readlink("/proc/self/ns/pid")
    except OSError:
        view = ""
    return f"{socket.gethostname()}:{''.join(filter(str.isdigit, view))}"


def _gone(owner: str) -> str:
    """The owner if it is a process of this place that has ended; else nothing."""
    place, _, rest = owner.rpartition(":")[0].rpartition(":")
    if place != _place() or not rest.isdigit():
        return ""
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return owner
    except PermissionError:
        return ""
    return ""


class WriteLock:
    """The right to migrate or load a database; a context manager.

    Args:
        settings: The database.
        wait_s: Seconds to wait for another process that has it.
    """

    def __init__(self, settings: GraphSettings, *, wait_s: float = WAIT_S) -> None:
        self._settings = settings
        self._wait_s = wait_s
        self._given = {
            "owner": f"{_place()}:{os.getpid()}:{uuid.uuid4().hex[:8]}",
            "lease_ms": int(LEASE_S * 1000),
        }
        self._kept = 0.0
        self._done = threading.Event()
        self._beat = threading.Thread(target=self._prolong, name="write-lock", daemon=True)

    def __enter__(self) -> WriteLock:
        with GraphWriter(self._settings) as writer:
            writer.administer(statements.lock_constraint(), what="prepare the write lock")
            self._take(writer)
        self._beat.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._beat.join()
        try:
            with GraphWriter(self._settings) as writer:
                writer.write(statements.release_lock(), self._given, what="release the lock")
        except (GraphUnavailable, GraphQueryError) as failure:
            # It ends by itself, and must not hide why the work failed.
            logger.warning("the write lock holds for %.0f s more: %s", LEASE_S, failure)

    def require(self, writer: GraphWriter) -> None:
        """Makes sure that it is still ours: a process that was stopped for long may have lost it.

        Raises:
            WriteLockError: Another process took over.
            GraphUnavailable: The database cannot be reached.
        """
        if not self._keep(writer):
            raise self._lost()

    def _lost(self) -> WriteLockError:
        return WriteLockError(
            "another process took the writing over",
            where=self._settings.address,
            fix="run the same command again",
        )

    def require_within(self, run: Run) -> None:
        """As `require`, inside a transaction: whoever takes over now waits for its end.

        Raises:
            WriteLockError: Another process took over.
        """
        if not run(statements.keep_lock(), self._given):
            raise self._lost()

    def require_soon(self, writer: GraphWriter) -> None:
        """As `require`, for what asks often: asks the server only where it was not told of late."""
        if time.monotonic() - self._kept > 2 * BEAT_S:
            self.require(writer)

    def _keep(self, writer: GraphWriter) -> bool:
        asked = time.monotonic()
        ours = bool(writer.write(statements.keep_lock(), self._given, what="keep the lock")[0])
        if ours:
            self._kept = asked
        return ours

    def _take(self, writer: GraphWriter) -> None:
        until = time.monotonic() + self._wait_s
        refusals = 0
        while True:
            try:
                given = {**self._given, "gone": _gone(self._owner(writer))}
                asked = time.monotonic()
                if writer.write(statements.take_lock(), given, what="take the lock")[0]:
                    self._kept = asked
                    return
                refusals = 0
            except GraphQueryError:
                refusals += 1
                if refusals >= REFUSALS:
                    raise
            if time.monotonic() >= until:
                raise WriteLockError(
                    f"another process writes to it ({self._owner(writer)})",
                    where=self._settings.address,
                    fix="wait until it is done",
                )
            time.sleep(POLL_S)

    def _owner(self, writer: GraphWriter) -> str:
        rows = writer.read(statements.lock_owner(), what="read the lock")
        return str(rows[0]["owner"]) if rows and rows[0]["owner"] else "it has just ended"

    def _prolong(self) -> None:
        with GraphWriter(self._settings) as writer:
            while not self._done.wait(BEAT_S):
                try:
                    self._keep(writer)
                except (GraphUnavailable, GraphQueryError) as failure:
                    # The next beat, or `require`, tells whether it was lost.
                    logger.warning("the write lock was not prolonged: %s", failure)
