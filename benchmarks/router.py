"""What the router and the prediction log cost: CPU per request over the bare model server; and live changes of shares.

    python benchmarks/router.py

Bare: one model server that keeps no log, asked directly. Whole: the same server with its prediction log, asked through
Envoy; the CPU of Envoy, of the server, and of the log writer that makes Parquet of the log all count. CPU time is
utime + stime of /proc/<pid>/stat. Rounds alternate, so that a busy machine disturbs both alike; medians are printed.
Ends with 1 if the difference is over 0.4 ms or a request was lost in 30 live changes of shares.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from trimtab.adapters.router.envoy import EnvoyRouter
from trimtab.adapters.servers.collector import CollectorProcess
from trimtab.adapters.servers.process import KSERVE, ProcessServers
from trimtab.ports.router import Routes, Target
from trimtab.ports.servers import ServerRequest, ServerView
from trimtab.spec.serving import Serving
from trimtab.testing import bundles

BUDGET_MS = 0.4
CHANGES = 30
_NAMES = {
    "bare_ms": "bare server, CPU ms a request",
    "whole_ms": "router + server + log, CPU ms",
    "envoy_ms": "  of which Envoy",
    "server_ms": "  of which server",
    "log_writer_ms": "  of which log writer",
    "difference_ms": "difference, CPU ms",
    "ratio": "ratio",
}
_ROW = {"weight": 40.5, "hindfoot": 30.5, "sex": "M", "plot": 3}
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class World:
    """Two versions with a log behind a router, one without a log beside it, and the log writer."""

    predictions: Path
    servers: ProcessServers
    router: EnvoyRouter
    collector: CollectorProcess
    stable: ServerView
    candidate: ServerView
    bare: ServerView

    def apply(self, candidate_percent: int) -> None:
        """Set the shares."""
        targets = [Target(view.version, view.address) for view in (self.stable, self.candidate)]
        self.router.apply(Routes(*targets, candidate_percent))


def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=3000, help="requests a round (3000)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each kind (5)")
    parser.add_argument("--clients", type=int, default=4, help="connections at once (4)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _world(Path(folder)) as world:
        before = _cpu_seconds(world.collector.pid)
        cost = _costs(world, given.requests, given.rounds, given.clients)
        lost, answered, slowest_ms = _changes(world, given.clients)
        logged = answered + given.requests * (given.rounds + 1)
        cost = _with_log_writer(world, cost, before, logged)
    print(f"clients at once                     {given.clients}")
    for key, name in _NAMES.items():
        print(f"{name:<36}{cost[key]:.3f}")
    print(f"budget of the difference            {BUDGET_MS:.3f}")
    print(
        f"live changes of shares              {CHANGES}: {answered} answered, {lost} lost, slowest {slowest_ms:.0f} ms"
    )
    print(json.dumps({**{key: round(value, 4) for key, value in cost.items()}, "lost": lost, "answered": answered}))
    return 0 if cost["difference_ms"] <= BUDGET_MS and not lost else 1


def _costs(world: World, requests: int, rounds: int, clients: int) -> dict[str, float]:
    """CPU milliseconds a request: medians over the rounds."""
    world.apply(0)
    parts = {"envoy_ms": world.router.pid, "server_ms": world.stable.pid}
    bare: list[float] = []
    whole: dict[str, list[float]] = {name: [] for name in parts}
    for number in range(-1, rounds):  # the first round only warms up
        for through_router in (False, True) if number % 2 else (True, False):
            pids = parts if through_router else {"bare": world.bare.pid}
            before = {name: _cpu_seconds(pid) for name, pid in pids.items()}
            address = world.router.address if through_router else world.bare.address
            assert _ask(address, requests, clients)[1] == 0
            used = {name: (_cpu_seconds(pid) - before[name]) * 1000 / requests for name, pid in pids.items()}
            if number >= 0:
                for name, value in used.items():
                    (bare if name == "bare" else whole[name]).append(value)
    middle = {name: statistics.median(values) for name, values in whole.items()}
    return {"bare_ms": statistics.median(bare), **middle}


def _with_log_writer(world: World, cost: dict[str, float], before: float, logged: int) -> dict[str, float]:
    """Adds the log writer's share, once it has turned every record into Parquet, and the sums."""
    world.servers.close()  # seals what they wrote
    end = time.monotonic() + 60
    while list((world.predictions / "journal").iterdir()) and time.monotonic() < end:
        time.sleep(0.1)
    writer = (_cpu_seconds(world.collector.pid) - before) * 1000 / logged
    together = cost["envoy_ms"] + cost["server_ms"] + writer
    difference, ratio = together - cost["bare_ms"], together / cost["bare_ms"]
    return {**cost, "log_writer_ms": writer, "whole_ms": together, "difference_ms": difference, "ratio": ratio}


def _changes(world: World, clients: int) -> tuple[int, int, float]:
    """Lost and answered requests, and the slowest in ms, while the shares change."""
    stop = threading.Event()
    found: list[tuple[int, int, float]] = []
    thread = threading.Thread(target=lambda: found.append(_ask(world.router.address, 10**9, clients, stop.is_set)))
    thread.start()
    for number in range(CHANGES):
        world.apply(number * 100 // (CHANGES - 1))
        time.sleep(0.1)  # some requests under each share
    stop.set()
    thread.join()
    return found[0][1], found[0][0], found[0][2] * 1000


def _ask(
    address: str, requests: int, clients: int, stopped: Callable[[], bool] = lambda: False
) -> tuple[int, int, float]:
    """Answered, lost, slowest seconds, of requests sent one after another on each of the connections."""
    results: list[tuple[int, int, float]] = []

    def client() -> None:
        answered = lost = 0
        slowest = 0.0
        connection = _connect(address)
        for _ in range(requests // clients):
            if stopped():
                break
            begun = time.perf_counter()
            if _one(connection):
                answered += 1
            else:
                lost += 1
                connection.close()
                connection = _connect(address)
            slowest = max(slowest, time.perf_counter() - begun)
        connection.close()
        results.append((answered, lost, slowest))

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(one[0] for one in results), sum(one[1] for one in results), max(one[2] for one in results)


def _connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)), 30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


_BODY = json.dumps({"instances": [_ROW]}).encode()
_REQUEST = (
    b"POST /v1/models/m:predict HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)


def _one(connection: socket.socket) -> bool:
    """Whether one request was answered with 200."""
    try:
        connection.sendall(_REQUEST)
        found = connection.recv(65536)
        while b"\r\n\r\n" not in found or not found.endswith(b"}"):
            more = connection.recv(65536)
            if not more:
                return False
            found += more
    except OSError:
        return False
    return found.startswith(b"HTTP/1.1 200 ")


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


@contextlib.contextmanager
def _world(folder: Path) -> Iterator[World]:
    serving = Serving(port=0)
    made = [bundles.make(folder / f"bundle-{version}") for version in (1, 2)]
    requests = [ServerRequest(str(number + 1), one.folder, one.digest) for number, one in enumerate(made)]
    log = folder / "predictions"
    servers = ProcessServers(folder / "servers", name="m", serving=serving, prediction_log=log)
    beside = ProcessServers(
        folder / "bare", name="m", serving=serving, prediction_log=log, command=(*KSERVE, "--no-log")
    )
    router, collector = EnvoyRouter(folder / "router", serving), CollectorProcess(folder / "collector", home=folder)
    try:
        views = _ready(servers, requests)
        bare = _ready(beside, requests[:1])["1"]
        while not collector.ensure():
            time.sleep(0.05)
        router.apply(Routes(Target("1", views["1"].address)))
        yield World(log, servers, router, collector, views["1"], views["2"], bare)
    finally:
        router.close()
        servers.close()
        beside.close()
        collector.close()


def _ready(servers: ProcessServers, requests: list[ServerRequest]) -> dict[str, ServerView]:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        views = dict(servers.ensure(requests))
        if all(view.state == "ready" for view in views.values()):
            return views
        time.sleep(0.05)
    raise SystemExit(f"the servers were not ready within 120 s: {views}")


if __name__ == "__main__":
    sys.exit(main())
