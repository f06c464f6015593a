"""One inference thread behind one bounded queue: what waits together is computed together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

from kg_schema.errors import DeskGraphError

Item = TypeVar("Item")
Result = TypeVar("Result")


class Overloaded(DeskGraphError):
    """More requests wait than the queue holds; the same request can succeed a moment later."""


class Stopping(DeskGraphError):
    """The server is going down and takes nothing new."""


class Batcher(Generic[Item, Result]):
    """Runs a batch function on one thread, so that the event loop never waits for a model.

    A batch is whatever waits when the thread becomes free, at most `max_batch` items: nothing is
    held back in the hope of company. An item whose caller has given up is dropped unscored.

    Args:
        compute: Results of the items, one each, in order; runs on the inference thread only.
        capacity: Items that may wait; one more is refused with `Overloaded`.
        max_batch: Items of one call of `compute`.
        executor: A one-thread executor shared with other batchers; its own where None.
    """

    def __init__(
        self,
        compute: Callable[[list[Item]], Sequence[Result]],
        *,
        capacity: int = 64,
        max_batch: int = 16,
        executor: Executor | None = None,
    ) -> None:
        self._compute = compute
        self._capacity = capacity
        self._max_batch = max_batch
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._executor = executor or ThreadPoolExecutor(1, thread_name_prefix="inference")
        self._owns_executor = executor is None
        self._worker: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def depth(self) -> int:
        """Items waiting, without those being computed."""
        return len(self._waiting)

    async def submit(self, item: Item) -> Result:
        """Computes one item, in the company of whatever else waits.

        Raises:
            Overloaded: The queue is full.
            Stopping: `stop` was called.
            Exception: Whatever `compute` raised, for every item of that batch.
        """
        if self._stopping:
            raise Stopping("the server is shutting down", fix="send the request again")
        if len(self._waiting) >= self._capacity:
            raise Overloaded(
                f"{self._capacity} requests are waiting already", fix="try again in a second"
            )
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._drain(), name="batcher")
        return await future

    async def stop(self) -> None:
        """Takes nothing new, finishes what waits, then ends the thread. Safe to call twice."""
        self._stopping = True
        if self._worker is not None:
            await self._worker
        if self._owns_executor:
            self._executor.shutdown(wait=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._take():
            items = [item for item, _ in batch]
            call = loop.run_in_executor(self._executor, self._compute, items)
            await asyncio.wait([call])
            error = call.exception()
            if error is None and len(call.result()) != len(items):
                error = DeskGraphError(f"{len(call.result())} results for {len(items)} items")
            for index, (_, future) in enumerate(batch):
                if future.done():
                    continue
                if error is None:
                    future.set_result(call.result()[index])
                else:
                    future.set_exception(error)

    def _take(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        batch: list[tuple[Item, asyncio.Future[Result]]] = []
        while self._waiting and len(batch) < self._max_batch:
            item, future = self._waiting.popleft()
            if not future.done():
                batch.append((item, future))
        return batch
