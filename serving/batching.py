"""Computing requests together that wait at the same time (dynamic batching), without making any of them wait for others."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass
class _Waiting(Generic[Item, Result]):
    items: Sequence[Item]
    answer: asyncio.Future[list[Result]]


class Batcher(Generic[Item, Result]):
    """Runs `compute` over lists of items in one worker thread; while it computes, the next batch gathers.

    `compute` returns one result an item, in order. A batch holds at most `max_rows` items, unless one request alone has
    more. If a batch fails, each of its requests is computed alone, so that one bad request does not fail its neighbours.
    """

    def __init__(
        self, compute: Callable[[list[Item]], list[Result]], max_rows: int, seen: Callable[[int], None]
    ) -> None:
        self._compute = compute
        self._max_rows = max_rows
        self._seen = seen
        self._queue: deque[_Waiting[Item, Result]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="predict")
        self._running = False

    async def submit(self, items: Sequence[Item]) -> list[Result]:
        """The results of these items; raises what `compute` raised for them."""
        loop = asyncio.get_running_loop()
        waiting: _Waiting[Item, Result] = _Waiting(items, loop.create_future())
        self._queue.append(waiting)
        if not self._running:
            self._running = True
            self._task = loop.create_task(self._drain(loop))
        return await waiting.answer

    async def _drain(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._queue:
            batch = self._next()
            flat = [item for one in batch for item in one.items]
            self._seen(len(flat))
            try:
                results = await loop.run_in_executor(self._thread, self._compute, flat)
            except Exception as error:  # noqa: BLE001 - whatever it is belongs to the request that caused it
                await self._each_alone(loop, batch, error)
                continue
            position = 0
            for one in batch:
                _answer(one, results[position : position + len(one.items)])
                position += len(one.items)
        self._running = False

    def _next(self) -> list[_Waiting[Item, Result]]:
        batch = [self._queue.popleft()]
        rows = len(batch[0].items)
        while self._queue and rows + len(self._queue[0].items) <= self._max_rows:
            batch.append(self._queue.popleft())
            rows += len(batch[-1].items)
        return batch

    async def _each_alone(
        self, loop: asyncio.AbstractEventLoop, batch: list[_Waiting[Item, Result]], error: Exception
    ) -> None:
        if len(batch) == 1:
            _fail(batch[0], error)
            return
        for one in batch:
            try:
                _answer(one, await loop.run_in_executor(self._thread, self._compute, list(one.items)))
            except Exception as own:  # noqa: BLE001 - handed to the request it belongs to
                _fail(one, own)


def _answer(waiting: _Waiting[Item, Result], results: list[Result]) -> None:
    if not waiting.answer.done():  # its client may have gone
        waiting.answer.set_result(results)


def _fail(waiting: _Waiting[Item, Result], error: Exception) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(error)
