"""`python -m trimtab.operator`: wait for the lease, keep every loop on course until told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import kopf
from prometheus_client import start_http_server

from trimtab.adapters.cluster import Cluster
from trimtab.errors import TrimtabError
from trimtab.operator.handlers import Pools, registry_of
from trimtab.operator.health import Health
from trimtab.operator.keeper import Keeper, WorldFactory
from trimtab.operator.leader import Leader, lead
from trimtab.operator.metrics import Metrics
from trimtab.operator.settings import LEASE, Settings, from_environment

log = logging.getLogger(__name__)
_POLL_SECONDS = 0.2
_SILENT_SECONDS = 60.0


class Operator:
    """One process. `worlds` makes a loop's world; `login` tells kopf how to reach the API server (None: as usual)."""

    def __init__(
        self, cluster: Cluster, worlds: WorldFactory, settings: Settings, login: Callable[..., Any] | None = None
    ) -> None:
        self._cluster, self._worlds, self._settings, self._login = cluster, worlds, settings, login
        self.metrics = Metrics()
        self.stop = threading.Event()
        self.ready = threading.Event()  # the loops are being watched
        self._led, self._lost = threading.Event(), threading.Event()
        self._beat = time.monotonic()

    def well(self) -> bool:
        """Whether the process waits for the lease, or its event loop turned lately."""
        return not self._led.is_set() or time.monotonic() - self._beat < _SILENT_SECONDS

    def run(self) -> int:
        """Until `stop`; returns the exit status: 1 if the lease was lost, so that the pod starts anew."""
        settings = self._settings
        leader = Leader(self._cluster, settings.own_namespace, LEASE, settings.identity, settings.lease_seconds)
        ended = threading.Event()
        thread = threading.Thread(
            target=lead, args=(leader, settings.lease_seconds, ended, self._led, self._lost), name="lease", daemon=True
        )
        thread.start()
        try:
            while not self._led.wait(_POLL_SECONDS):
                if self.stop.is_set():
                    return 0
            self._beat = time.monotonic()
            self.metrics.leader.set(1)
            asyncio.run(self._operate())
        finally:
            self.metrics.leader.set(0)
            ended.set()
            thread.join()
            if self._led.is_set() and not self._lost.is_set():
                _give_up(leader)
        return 1 if self._lost.is_set() else 0

    async def _operate(self) -> None:
        stop = asyncio.Event()
        workers = self._settings.workers
        with (
            ThreadPoolExecutor(workers, "turn") as usual,
            ThreadPoolExecutor(max(1, workers // 4), "changed") as changed,
        ):
            registry = registry_of(self._keeper, Pools(usual, changed), self._login)
            watcher = asyncio.create_task(self._end(stop))
            scope: dict[str, Any] = {"namespaces": list(self._settings.namespaces)}
            try:
                await kopf.operator(
                    registry=registry,
                    standalone=True,
                    stop_flag=stop,
                    ready_flag=self.ready,
                    **(scope if self._settings.namespaces else {"clusterwide": True}),
                )
            finally:
                watcher.cancel()

    def _keeper(self) -> Keeper:
        return Keeper(self._cluster, self._worlds, self._settings, self.metrics)

    async def _end(self, stop: asyncio.Event) -> None:
        while not (self.stop.is_set() or self._lost.is_set()):
            self._beat = time.monotonic()
            await asyncio.sleep(_POLL_SECONDS)
        stop.set()


def _give_up(leader: Leader) -> None:
    try:
        leader.release()
    except TrimtabError as error:
        log.warning("the lease was not given up and will run out: %s", error)


def _login(**given: Any) -> kopf.ConnectionInfo | None:
    """As a pod, or with KUBECONFIG: a registry of our own has none of kopf's usual ways to log in."""
    return kopf.login_with_service_account(**given) or kopf.login_with_kubeconfig(**given)


def main(worlds: WorldFactory | None = None) -> int:
    """The process: settings from the environment, the cluster from KUBECONFIG or the pod."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        settings = from_environment()
        kubeconfig = os.environ.get("KUBECONFIG")
        cluster = Cluster.connect(Path(kubeconfig) if kubeconfig else None)
        if worlds is None:
            from trimtab.operator.worlds import worlds_from_environment

            worlds = worlds_from_environment(cluster)
    except TrimtabError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    operator = Operator(cluster, worlds, settings, _login)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: operator.stop.set())
    health = Health(settings.health_port, operator.well, settings.address) if settings.health_port is not None else None
    if settings.metrics_port is not None:
        start_http_server(settings.metrics_port, settings.address, registry=operator.metrics.registry)
    try:
        return operator.run()
    finally:
        if health is not None:
            health.close()
