"""Computing requests together that wait at the same time (dynamic batching), while none of them waits for others."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from trimtab.serving.refusals import Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass
class _Waiting(Generic[Item, Result]):
    items: Sequence[Item]
    answer: asyncio.Future[list[Result]]


class Batcher(Generic[Item, Result]):
    """Runs `compute` over lists of items in one worker thread; while it computes, the next batch gathers.

    `compute` returns one result an item, in order. A batch holds at most `max_rows` items, unless one request alone has
    more. If a batch fails, each of its requests is computed alone: one bad request does not fail its neighbours.
    """

    def __init__(
        self,
        compute: Callable[[list[Item]], list[Result]],
        max_rows: int,
        seen: Callable[[int], None],
        max_waiting: int = 20_000,
    ) -> None:
        """`seen` is told the rows of each batch; with `max_waiting` rows waiting, further requests are turned away."""
        self._compute = compute
        self._max_rows = max_rows
        self._max_waiting = max_waiting
        self._seen = seen
        self._queue: deque[_Waiting[Item, Result]] = deque()
        self.waiting_rows = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="predict")
        self._task: asyncio.Task[None] | None = None
        self._began = 0.0

    @property
    def busy_seconds(self) -> float:
        """How long the batch under way has been computed; 0 if none is."""
        return time.monotonic() - self._began if self._began else 0.0

    async def submit(self, items: Sequence[Item]) -> list[Result]:
        """The results of these items; raises what `compute` raised for them, or Unavailable."""
        if self._queue and self.waiting_rows + len(items) > self._max_waiting:
            raise Unavailable(f"{self.waiting_rows} rows are waiting already; send the request again in a moment")
        loop = asyncio.get_running_loop()
        waiting: _Waiting[Item, Result] = _Waiting(items, loop.create_future())
        self._queue.append(waiting)
        self.waiting_rows += len(items)
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._drain(loop))
        return await waiting.answer

    def close(self) -> None:
        """Compute no more; what is computed now is not waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _drain(self, loop: asyncio.AbstractEventLoop) -> None:
        while batch := self._next():
            flat = [item for one in batch for item in one.items]
            self._seen(len(flat))
            try:
                results = await self._computed(loop, flat)
            except Exception as error:  # noqa: BLE001 - whatever it is belongs to the request that caused it
                await self._each_alone(loop, batch, error)
                continue
            position = 0
            for one in batch:
                _answer(one, results[position : position + len(one.items)])
                position += len(one.items)

    async def _computed(self, loop: asyncio.AbstractEventLoop, items: list[Item]) -> list[Result]:
        self._began = time.monotonic()
        try:
            results = await loop.run_in_executor(self._thread, self._compute, items)
        finally:
            self._began = 0.0
        if len(results) != len(items):  # else neighbours would get one another's answers
            raise RuntimeError(f"{len(results)} results for {len(items)} rows")
        return results

    def _next(self) -> list[_Waiting[Item, Result]]:
        """The requests to compute together, without those whose client has gone; empty if none waits."""
        batch: list[_Waiting[Item, Result]] = []
        rows = 0
        while self._queue and (not batch or rows + len(self._queue[0].items) <= self._max_rows):
            one = self._queue.popleft()
            self.waiting_rows -= len(one.items)
            if not one.answer.done():
                batch.append(one)
                rows += len(one.items)
        return batch

    async def _each_alone(
        self, loop: asyncio.AbstractEventLoop, batch: list[_Waiting[Item, Result]], error: Exception
    ) -> None:
        if len(batch) == 1:
            _fail(batch[0], error)
            return
        for one in batch:
            try:
                _answer(one, await self._computed(loop, list(one.items)))
            except Exception as own:  # noqa: BLE001 - handed to the request it belongs to
                _fail(one, own)


def _answer(waiting: _Waiting[Item, Result], results: list[Result]) -> None:
    if not waiting.answer.done():  # its client may have gone
        waiting.answer.set_result(results)


def _fail(waiting: _Waiting[Item, Result], error: Exception) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(error)
