"""A real Envoy with fake model servers behind it, as the router suite's world, and clients that load it."""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from trimtab.adapters.router.envoy import EnvoyRouter
from trimtab.ports.router import Target
from trimtab.spec.serving import Limits, Serving


def until(happened: Callable[[], object], seconds: float = 20.0) -> None:
    """Poll until it happened; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            raise AssertionError(f"it did not happen within {seconds:.0f} s")
        select.select([], [], [], 0.01)


def ask(
    address: str,
    method: str,
    path: str,
    body: bytes = b"{}",
    *,
    headers: dict[str, str] | None = None,
) -> tuple[int, Any, dict[str, str]]:
    """(status, JSON, headers by lower-case name) of one request on a connection of its own."""
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.request(method, path, body if method == "POST" else None, headers or {})
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text or b"null"), {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()


class Load:
    """Clients that predict one after another on kept connections while the block runs; each answer is counted.

    `answers`: by version; `lost`: what was no 200, by status or error; `ids` of all that were sent.
    """

    def __init__(self, address: str, clients: int = 4) -> None:
        self._address, self._stop = address, threading.Event()
        self._threads = [threading.Thread(target=self._client, args=(number,)) for number in range(clients)]
        self._lock = threading.Lock()
        self.answers: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.slowest_seconds = 0.0

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def count(self) -> int:
        """Requests that have ended so far."""
        with self._lock:
            return sum(self.answers.values()) + sum(self.lost.values())

    def await_more(self, count: int, seconds: float = 60.0) -> None:
        """Wait until so many more requests have ended."""
        wanted = self.count + count
        until(lambda: self.count >= wanted, seconds)

    def _client(self, client: int) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=30)
        number = 0
        while not self._stop.is_set():
            number += 1
            begun = time.monotonic()
            try:
                connection.request("POST", "/v1/models/m:predict", b"{}", {"x-request-id": f"load-{client}-{number}"})
                answer = connection.getresponse()
                text = answer.read().decode()
                outcome = "" if answer.status == 200 else f"{answer.status} {text}"
                version = answer.headers.get("x-served-by", "?")
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                outcome, version = type(error).__name__, "?"
            with self._lock:
                self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - begun)
                (self.lost if outcome else self.answers)[outcome or version] += 1
        connection.close()


class EnvoyWorld:
    """Real processes; `close` ends all of them."""

    def __init__(self, folder: Path, timeout_seconds: float = 1.0, port: int = 0) -> None:
        limits = Limits(timeout=timedelta(seconds=timeout_seconds), max_body_bytes=100_000)
        self.router = EnvoyRouter(folder / "router", Serving(port=port, limits=limits))
        self.servers: dict[str, subprocess.Popen[str]] = {}
        self.targets: dict[str, Target] = {}

    def server(self, version: str, port: int = 0) -> Target:
        """Start a server, on a free port unless one is given."""
        command = [sys.executable, "-m", "trimtab.testing.fake_server", "--version", version, "--http-port", str(port)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        self.servers[version] = process
        self.targets[version] = Target(version, f"127.0.0.1:{process.stdout.readline().split()[-1]}")
        return self.targets[version]

    def fail(self, version: str) -> None:
        """Let it answer nothing any more."""
        self.kill(version)

    def kill(self, version: str) -> None:
        """kill -9 its server."""
        process = self.servers.pop(version)
        process.kill()
        process.communicate()

    def mode(self, version: str, mode: str) -> None:
        """Tell its server how to behave from now on (see fake_server)."""
        ask(self.targets[version].address, "POST", f"/control/{mode}")

    def counts(self, version: str) -> dict[str, list[str]]:
        """What its server answered: `ids` and `copies`."""
        found: dict[str, list[str]] = ask(self.targets[version].address, "GET", "/counts")[1]
        return found

    def send(self, request_id: str, track: str = "") -> str | None:
        """One prediction; the version that answered, or None."""
        headers = {"x-request-id": request_id, **({"x-model-track": track} if track else {})}
        status, answer, found = ask(self.router.address, "POST", "/v1/models/m:predict", headers=headers)
        if status != 200:
            return None if answer["error"] else "an answer without a sentence"
        if (found["x-served-by"], found["x-request-id"]) != (answer["version"], request_id):
            raise AssertionError(f"headers {found} do not fit the answer {answer}")
        return str(answer["version"])

    def kill_envoy(self) -> int:
        """kill -9 Envoy; the pid it had."""
        pid = self.router.pid
        os.kill(pid, signal.SIGKILL)
        until(lambda: self.router.pid == 0)
        return pid

    def close(self) -> None:
        """End every process."""
        self.router.close()
        for version in list(self.servers):
            self.kill(version)
