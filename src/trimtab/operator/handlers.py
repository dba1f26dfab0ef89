"""What kopf is for: watching the objects, their finalizers, and a task an object that lets a Keeper take its steps."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import kopf

from trimtab.operator.keeper import Keeper
from trimtab.operator.settings import FINALIZER
from trimtab.operator.wishing import WISH

GROUP, VERSION, PLURAL = "trimtab.dev", "v1alpha1", "modelloops"
_LEAVE_AGAIN_SECONDS = 5.0
KeeperFactory = Callable[[], Keeper]


@dataclass(frozen=True)
class Pools:
    """Threads for steps; those that a person waits for, as the document was changed, do not queue behind all others."""

    usual: ThreadPoolExecutor
    changed: ThreadPoolExecutor


def registry_of(keepers: KeeperFactory, pools: Pools, login: Callable[..., Any] | None) -> Any:
    """kopf's handlers. A step runs in a pool, so that a slow loop holds up no other."""
    registry = kopf.OperatorRegistry()

    @kopf.on.startup(registry=registry)
    def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        _configure(settings)

    if login is not None:
        kopf.on.login(registry=registry)(login)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def changed(memo: kopf.Memo, meta: kopf.Meta, **_: Any) -> None:
        """A new document, or a person's wish, need not wait for the next step."""
        wake = memo.get("wake")
        new = wake is not None and int(meta.get("generation") or 1) != memo["keeper"].generation
        if wake is not None and (new or WISH in meta.annotations):
            wake.set()

    @kopf.daemon(GROUP, VERSION, PLURAL, registry=registry, cancellation_polling=1.0)
    async def keep(body: kopf.Body, memo: kopf.Memo, stopped: kopf.DaemonStopped, **_: Any) -> None:
        keeper = memo.setdefault("keeper", keepers())
        wake = memo.setdefault("wake", asyncio.Event())
        run, pool = asyncio.get_running_loop().run_in_executor, pools.usual
        try:
            while not stopped:
                wake.clear()
                seconds = await run(pool, keeper.step, _plain(body), datetime.now(UTC))
                await _wait(seconds, wake, stopped)
                pool = pools.changed if wake.is_set() else pools.usual
            while _deleted(stopped) and not await run(pool, keeper.leave, _plain(body)):
                await asyncio.sleep(_LEAVE_AGAIN_SECONDS)
        finally:
            await run(pool, keeper.close)

    return registry


def _configure(settings: kopf.OperatorSettings) -> None:
    settings.posting.enabled = False  # we write our own events, once each
    settings.scanning.disabled = True  # needs no right on definitions and namespaces
    settings.persistence.finalizer = FINALIZER
    settings.watching.connect_timeout = 10
    settings.watching.server_timeout = 240
    settings.watching.client_timeout = 300  # a watch that went silent is opened anew
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10


async def _wait(seconds: float, wake: asyncio.Event, stopped: Any) -> None:
    """Until the time is up, the document changed, or the daemon is to stop."""
    woken = asyncio.ensure_future(wake.wait())
    ended = asyncio.ensure_future(stopped.wait(seconds))
    _, left = await asyncio.wait({woken, ended}, return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()


def _deleted(stopped: Any) -> bool:
    reason = stopped.reason
    return reason is not None and bool(reason & kopf.DaemonStoppingReason.RESOURCE_DELETED)


def _plain(body: Any) -> dict[str, Any]:
    """The object as it is now; kopf's own view changes under the reader."""
    return copy.deepcopy({key: dict(value) if hasattr(value, "items") else value for key, value in body.items()})
