"""Dynamic batching: each request gets its own results, whatever happens to its neighbours."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from trimtab.serving.batching import Batcher
from trimtab.serving.refusals import Unavailable


class _Gate:
    """A `compute` that waits until it is opened; -1 among the items makes it fail."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun = threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, items: list[int]) -> list[int]:
        self.begun.set()
        assert self.open.wait(20)
        self.batches.append(items)
        if -1 in items:
            raise ValueError("minus one")
        return [item * 10 for item in items]


async def _gathered(gate: _Gate, batcher: Batcher, *requests: list[int]) -> list[asyncio.Task]:
    """The first request is computed while the others come to wait."""
    tasks = [asyncio.create_task(batcher.submit(requests[0]))]
    assert await asyncio.to_thread(gate.begun.wait, 20)
    tasks += [asyncio.create_task(batcher.submit(items)) for items in requests[1:]]
    await asyncio.sleep(0)  # let each of them come to wait
    return tasks


def _run(scenario: Callable[[_Gate, Batcher], object], max_rows: int = 4, max_waiting: int = 1000) -> _Gate:
    gate = _Gate()
    batcher = Batcher(gate, max_rows, lambda _: None, max_waiting)
    try:
        asyncio.run(asyncio.wait_for(scenario(gate, batcher), 30))
    finally:
        gate.open.set()
        batcher.close()
    return gate


def test_what_waits_is_computed_together_up_to_the_bound() -> None:
    async def scenario(gate: _Gate, batcher: Batcher) -> None:
        tasks = await _gathered(gate, batcher, [1], [2, 3], [4], [5, 6], [7, 8, 9, 10, 11])
        gate.open.set()
        assert await asyncio.gather(*tasks) == [[10], [20, 30], [40], [50, 60], [70, 80, 90, 100, 110]]

    assert _run(scenario).batches == [[1], [2, 3, 4], [5, 6], [7, 8, 9, 10, 11]]


def test_a_failing_request_fails_alone() -> None:
    async def scenario(gate: _Gate, batcher: Batcher) -> None:
        tasks = await _gathered(gate, batcher, [1], [2], [-1], [3])
        gate.open.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(result) for result in results] == ["[10]", "[20]", "minus one", "[30]"]
        assert await batcher.submit([4]) == [40]

    _run(scenario)


def test_a_client_that_has_gone_is_not_computed() -> None:
    async def scenario(gate: _Gate, batcher: Batcher) -> None:
        tasks = await _gathered(gate, batcher, [1], [2], [3])
        tasks[1].cancel()
        await asyncio.sleep(0)
        gate.open.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert (results[0], results[2]) == ([10], [30])

    assert _run(scenario).batches == [[1], [3]]


def test_too_many_waiting_rows_are_turned_away_at_once() -> None:
    async def scenario(gate: _Gate, batcher: Batcher) -> None:
        tasks = await _gathered(gate, batcher, [1], [2, 3], [4])
        with pytest.raises(Unavailable, match="3 rows are waiting"):
            await batcher.submit([5])
        gate.open.set()
        assert await asyncio.gather(*tasks) == [[10], [20, 30], [40]]
        assert await batcher.submit([1, 2, 3, 4, 5]) == [10, 20, 30, 40, 50]  # alone, it waits for nobody

    _run(scenario, max_waiting=3)


def test_a_wrong_number_of_results_is_an_error_and_no_mix_up() -> None:
    async def scenario() -> None:
        batcher = Batcher(lambda items: items[1:], 4, lambda _: None)
        with pytest.raises(RuntimeError, match="1 results for 2 rows"):
            await batcher.submit([1, 2])
        batcher.close()

    asyncio.run(scenario())


def test_how_long_the_batch_under_way_takes_is_known() -> None:
    async def scenario(gate: _Gate, batcher: Batcher) -> None:
        assert batcher.busy_seconds == 0
        tasks = await _gathered(gate, batcher, [1])
        first = batcher.busy_seconds
        assert first > 0
        assert batcher.busy_seconds > first
        gate.open.set()
        await asyncio.gather(*tasks)
        assert batcher.busy_seconds == 0

    _run(scenario)
