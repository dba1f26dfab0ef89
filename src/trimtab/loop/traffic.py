"""Historic rows as real requests: one HTTP prediction a row, each with its own virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

import aiohttp

from trimtab.errors import TrimtabError

_TRIES = 240
_PAUSE_SECONDS = 0.25


@dataclass(frozen=True)
class Row:
    """One row to be predicted: its id, when it happened, its raw columns (JSON-ready)."""

    id: str
    time: datetime
    features: Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """What came back for a row. `prediction` is None when no answer came, and `error` says why."""

    id: str
    prediction: Any
    version: str = ""
    error: str = ""


async def predict(rows: Sequence[Row], address: str, model: str, concurrency: int = 32) -> list[Answer]:
    """Send each row as a V1 request of its own, at most `concurrency` at once; answers in the rows' order.

    A request that was not answered is sent again with the same id, which the log counts once.
    """
    url = f"http://{address}/v1/models/{model}:predict"
    answers: list[Answer] = [Answer("", None)] * len(rows)
    waiting = iter(range(len(rows)))
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=concurrency), timeout=aiohttp.ClientTimeout(total=60)
    ) as session:

        async def work() -> None:
            for index in waiting:
                answers[index] = await _one(session, url, rows[index])

        await asyncio.gather(*(work() for _ in range(min(concurrency, len(rows)))))
    return answers


async def _one(session: aiohttp.ClientSession, url: str, row: Row) -> Answer:
    headers = {"x-request-id": row.id, "x-trimtab-time": row.time.isoformat()}
    body = {"instances": [dict(row.features)]}
    error = ""
    for _ in range(_TRIES):
        try:
            async with session.post(url, json=body, headers=headers) as response:
                if response.status == 200:
                    found = await response.json()
                    return Answer(row.id, found["predictions"][0], str(found.get("version", "")))
                error = f"HTTP {response.status}: {(await response.text())[:300]}"
                if response.status < 500:
                    return Answer(row.id, None, error=error)
        except (aiohttp.ClientError, TimeoutError) as failure:
            error = f"{type(failure).__name__}: {failure}"
        await asyncio.sleep(_PAUSE_SECONDS)
    return Answer(row.id, None, error=error)


async def predict_together(
    rows: Sequence[Row], address: Callable[[], str], model: str, most_rows: int = 500
) -> list[Answer]:
    """Send many rows a request, for a version that is only compared with; raises TrimtabError if it does not answer.

    `address` is asked before each try: "" while nobody is there, another one once the server was started again.
    """
    answers: list[Answer] = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as session:
        for start in range(0, len(rows), most_rows):
            part = rows[start : start + most_rows]
            found = await _many(session, part, address, model)
            answers.extend(
                Answer(row.id, value, str(found.get("version", "")))
                for row, value in zip(part, found["predictions"], strict=True)
            )
    return answers


async def _many(
    session: aiohttp.ClientSession, rows: Sequence[Row], address: Callable[[], str], model: str
) -> Mapping[str, Any]:
    body = {"instances": [dict(row.features) for row in rows]}
    headers = {"x-trimtab-time": rows[0].time.isoformat()}
    error = "it is not ready"
    for _ in range(_TRIES):
        host = address()
        try:
            if host:
                url = f"http://{host}/v1/models/{model}:predict"
                async with session.post(url, json=body, headers=headers) as response:
                    if response.status == 200:
                        return dict(await response.json())
                    error = f"HTTP {response.status}: {(await response.text())[:300]}"
                    if response.status < 500:
                        break
        except (aiohttp.ClientError, TimeoutError) as failure:
            error = f"{type(failure).__name__}: {failure}"
        await asyncio.sleep(_PAUSE_SECONDS)
    raise TrimtabError(f"the baseline did not answer: {error}")


async def give_labels(labels: Sequence[tuple[str, str, datetime]], address: str, most: int = 1000) -> int:
    """POST (id, label, time it became known) to /v1/feedback, a call for each time; returns how many were accepted."""
    accepted = 0
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        for time, group in groupby(sorted(labels, key=itemgetter(2)), key=itemgetter(2)):
            items = [{"id": id_, "label": label} for id_, label, _ in group]
            for start in range(0, len(items), most):
                part = items[start : start + most]
                accepted += await _feedback(session, f"http://{address}/v1/feedback", {"labels": part}, time)
    return accepted


async def _feedback(session: aiohttp.ClientSession, url: str, body: Mapping[str, Any], time: datetime) -> int:
    error = ""
    for _ in range(_TRIES):
        try:
            async with session.post(url, json=body, headers={"x-trimtab-time": time.isoformat()}) as response:
                if response.status == 202:
                    return int((await response.json())["accepted"])
                error = f"HTTP {response.status}: {(await response.text())[:300]}"
                if response.status < 500:
                    break
        except (aiohttp.ClientError, TimeoutError) as failure:
            error = f"{type(failure).__name__}: {failure}"
        await asyncio.sleep(_PAUSE_SECONDS)
    raise TrimtabError(f"labels were not accepted: {error}")
