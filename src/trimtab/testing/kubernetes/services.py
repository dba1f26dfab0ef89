"""Services of the node for tests: an address of its own each, and each connection relayed to a ready pod.

As kube-proxy does it: a connection goes to some pod that is ready now and stays there; without one it is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import threading
from collections.abc import Mapping
from typing import Any

from trimtab.testing.kubernetes.refusal import ApiRefused
from trimtab.testing.kubernetes.server import KubernetesApi

Json = dict[str, Any]
_numbers = itertools.count(1)


def loopback() -> str:
    """An address in 127/8 that nobody else of this machine is likely to use: its second number is the process's."""
    number = next(_numbers)
    return f"127.{20 + os.getpid() % 200}.{number // 250}.{1 + number % 250}"


class Services:
    """Gives Services their addresses and relays connections in a thread of its own."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="services", daemon=True)
        self._listening: dict[tuple[str, int], tuple[str, asyncio.Server | None]] = {}
        self._backends: dict[tuple[str, int], list[tuple[str, int]]] = {}
        self._turn = itertools.count()

    def start(self) -> None:
        """Begin to relay."""
        self._thread.start()

    def close(self) -> None:
        """Stop relaying."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        for _, server in self._listening.values():
            if server is not None:
                server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        with contextlib.suppress(RuntimeError):
            self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def step(self) -> None:
        """Follow the Services and pods there are."""
        pods = self._api.objects("/api/v1/pods")
        wanted: dict[tuple[str, int], list[tuple[str, int]]] = {}
        for service in self._api.objects("/api/v1/services"):
            address = service["spec"].get("clusterIP") or self._address(service)
            for port in service["spec"].get("ports") or ():
                wanted[(address, int(port["port"]))] = _ready(service, port, pods)
        for place, backends in wanted.items():
            self._backends[place] = backends
            if backends and place not in self._listening:
                self._call(self._listen(place))
            elif not backends and place in self._listening:
                self._call(self._unlisten(place))
        for place in set(self._listening) - set(wanted):
            self._call(self._unlisten(place))

    def _address(self, service: Json) -> str:
        address = loopback()
        meta = service["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/services/{meta['name']}"
        with contextlib.suppress(ApiRefused):
            self._api.request(
                "PATCH", path, {"spec": {"clusterIP": address, "clusterIPs": [address]}}, "application/merge-patch+json"
            )
        return address

    def _call(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self, place: tuple[str, int]) -> None:
        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._relay(place, reader, writer)

        self._listening[place] = (place[0], await asyncio.start_server(take, *place, backlog=512))

    async def _unlisten(self, place: tuple[str, int]) -> None:
        server = self._listening.pop(place)[1]
        if server is not None:
            server.close()

    async def _relay(self, place: tuple[str, int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        backends = self._backends.get(place) or []
        try:
            host, port = backends[next(self._turn) % len(backends)]
            there_reader, there_writer = await asyncio.open_connection(host, port)
        except (OSError, IndexError, ZeroDivisionError):
            writer.transport.abort()
            return
        await asyncio.gather(_copy(reader, there_writer), _copy(there_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        with contextlib.suppress(OSError, RuntimeError):
            writer.close()


def _ready(service: Json, port: Json, pods: list[Json]) -> list[tuple[str, int]]:
    selector = service["spec"].get("selector") or {}
    found = []
    for pod in pods:
        meta, status = pod["metadata"], pod.get("status") or {}
        if meta["namespace"] != service["metadata"]["namespace"] or not selector:
            continue
        if not selector.items() <= (meta.get("labels") or {}).items():
            continue
        if any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or ()):
            found.append((status["podIP"], _number(port, pod)))
    return found


def _number(port: Mapping[str, Any], pod: Json) -> int:
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    ports = [one for container in pod["spec"]["containers"] for one in container.get("ports") or ()]
    return next(int(one["containerPort"]) for one in ports if one.get("name") == target)
