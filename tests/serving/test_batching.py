import asyncio
import threading

import pytest

from kg_schema.errors import DeskGraphError
from serving.batching import Batcher, Overloaded, Stopping


class Gate:
    """A compute function that waits to be let through, and remembers its batches."""

    def __init__(self):
        self.open = threading.Event()
        self.batches = []
        self.threads = set()

    def __call__(self, items):
        self.batches.append(list(items))
        self.threads.add(threading.get_ident())
        assert self.open.wait(10)
        return [item * 10 for item in items]


async def until(condition):
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("never happened")


async def test_what_waits_together_is_computed_together_and_in_order():
    gate = Gate()
    async with Batcher(gate, max_batch=3) as batcher:
        tasks = [asyncio.create_task(batcher.submit(0))]
        await until(lambda: batcher.depth == 0)
        await until(lambda: gate.batches)
        tasks += [asyncio.create_task(batcher.submit(item)) for item in range(1, 6)]
        await until(lambda: batcher.depth == 5)
        gate.open.set()
        assert await asyncio.gather(*tasks) == [0, 10, 20, 30, 40, 50]
    assert gate.batches == [[0], [1, 2, 3], [4, 5]]
    assert len(gate.threads) == 1
    assert threading.get_ident() not in gate.threads


async def test_a_lone_item_does_not_wait_for_company():
    async with Batcher(lambda items: items, max_batch=64) as batcher:
        async with asyncio.timeout(1):
            assert await batcher.submit("alone") == "alone"


async def test_a_full_queue_refuses_and_recovers():
    gate = Gate()
    async with Batcher(gate, capacity=2, max_batch=1) as batcher:
        first = asyncio.create_task(batcher.submit(1))
        await until(lambda: gate.batches)
        rest = [asyncio.create_task(batcher.submit(item)) for item in (2, 3)]
        await until(lambda: batcher.depth == 2)
        with pytest.raises(Overloaded):
            await batcher.submit(4)
        gate.open.set()
        assert await asyncio.gather(first, *rest) == [10, 20, 30]
        assert await batcher.submit(5) == 50


async def test_an_abandoned_item_is_not_computed():
    gate = Gate()
    async with Batcher(gate, max_batch=1) as batcher:
        first = asyncio.create_task(batcher.submit(1))
        await until(lambda: gate.batches)
        abandoned = asyncio.create_task(batcher.submit(2))
        last = asyncio.create_task(batcher.submit(3))
        await until(lambda: batcher.depth == 2)
        abandoned.cancel()
        await asyncio.sleep(0)
        gate.open.set()
        assert await asyncio.gather(first, last) == [10, 30]
    assert gate.batches == [[1], [3]]


async def test_an_error_reaches_every_caller_and_the_next_batch_goes_on():
    def compute(items):
        if "bad" in items:
            raise DeskGraphError("no")
        return items

    async with Batcher(compute) as batcher:
        with pytest.raises(DeskGraphError):
            await batcher.submit("bad")
        assert await batcher.submit("good") == "good"


async def test_a_wrong_number_of_results_is_an_error_not_a_hang():
    async with Batcher(lambda items: []) as batcher:
        with pytest.raises(DeskGraphError, match="0 results for 1 items"):
            await batcher.submit(1)


async def test_stopping_finishes_what_waits_and_takes_nothing_new():
    gate = Gate()
    batcher = Batcher(gate, max_batch=1)
    tasks = [asyncio.create_task(batcher.submit(item)) for item in (1, 2)]
    await until(lambda: gate.batches)
    stopping = asyncio.create_task(batcher.stop())
    await asyncio.sleep(0)
    with pytest.raises(Stopping):
        await batcher.submit(3)
    gate.open.set()
    await stopping
    assert [task.result() for task in tasks] == [10, 20]
