"""A TCP proxy that misbehaves on command: what stands between a client and a server in trouble."""

from __future__ import annotations

import asyncio
import contextlib
from enum import StrEnum
from types import TracebackType


class Fault(StrEnum):
    """What the proxy does with bytes and new connections."""

    NONE = "forward"
    HANG = "hang"
    RESET = "reset"
    SLOW = "slow"
    REFUSE = "refuse"


TRICKLE_S = 0.2


class FaultyProxy:
    """Forwards to a server on loopback; `fault` may be changed at any time.

    HANG takes connections and bytes and passes none on; RESET closes every connection; SLOW
    passes one byte on every 0.2 s; REFUSE listens no more, once `refuse` was awaited.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._tasks: set[asyncio.Task[None]] = set()
        self._fault = Fault.NONE
        self._moving = asyncio.Event()
        self._moving.set()
        self.connections = 0

    @property
    def fault(self) -> Fault:
        """What it does now."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault) -> None:
        self._fault = fault
        if fault is Fault.HANG:
            self._moving.clear()
        else:
            self._moving.set()

    async def __aenter__(self) -> FaultyProxy:
        self.port = 0
        await self.listen()
        return self

    async def listen(self) -> None:
        """Listens, on the port it had if it had one."""
        self.fault = Fault.NONE
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Closes the port and every connection: whoever comes is refused."""
        self.fault = Fault.REFUSE
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        if self.fault is Fault.RESET:
            writer.close()
            return
        upstream, downstream = await asyncio.open_connection("127.0.0.1", self._target)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(self._pump(reader, downstream), self._pump(upstream, writer))
        writer.close()
        downstream.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            await self._moving.wait()
            if self.fault is Fault.RESET:
                raise ConnectionResetError
            if self.fault is Fault.SLOW:
                await self._trickle(data, sink)
                continue
            sink.write(data)
            await sink.drain()
        raise ConnectionResetError

    async def _trickle(self, data: bytes, sink: asyncio.StreamWriter) -> None:
        for place in range(len(data)):
            if self.fault is not Fault.SLOW:
                sink.write(data[place:])
                break
            sink.write(data[place : place + 1])
            await sink.drain()
            await asyncio.sleep(TRICKLE_S)
        await sink.drain()
