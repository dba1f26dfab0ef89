"""Two versions of a real model behind a real Envoy, and clients that load them."""

import http.client
import json
import threading
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

from serving_processes import GOOD, predictions, until

from trimtab.adapters.router.envoy import EnvoyRouter
from trimtab.adapters.servers.collector import CollectorProcess
from trimtab.adapters.servers.process import ProcessServers
from trimtab.adapters.supervision import Patience
from trimtab.ports.router import Routes, Target
from trimtab.ports.servers import ServerRequest, ServerView
from trimtab.spec.serving import Limits, Serving

PATIENCE = Patience(pause_seconds=0.1, probe_every_seconds=0.2, probe_seconds=2.0, drain_seconds=3.0)


class Clients:
    """Threads that predict one request after another on kept connections while the block runs."""

    def __init__(self, address: str, count: int = 4) -> None:
        self._address, self._stop, self._lock = address, threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._client, args=(number,)) for number in range(count)]
        self.answered: dict[str, tuple[str, str]] = {}  # id: version, prediction
        self.lost: Counter[str] = Counter()
        self.slowest_seconds = 0.0

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def count(self) -> int:
        with self._lock:
            return len(self.answered) + sum(self.lost.values())

    def _client(self, client: int) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=30)
        number = 0
        while not self._stop.is_set():
            number += 1
            row = {**GOOD, "weight": 10 + number % 40, "hindfoot": 6 + number % 24, "plot": 1 + number % 23}
            body, id_ = json.dumps({"instances": [row]}).encode(), f"load-{client}-{number}"
            begun = time.monotonic()
            try:
                connection.request("POST", "/v1/models/m:predict", body, {"x-request-id": id_})
                answer = connection.getresponse()
                text = answer.read()
                outcome = "" if answer.status == 200 else f"{answer.status} {text.decode()}"
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                outcome = type(error).__name__
            with self._lock:
                self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - begun)
                if outcome:
                    self.lost[outcome] += 1
                else:
                    found = json.loads(text)
                    assert (found["ids"], answer.headers["x-request-id"]) == ([id_], id_)
                    assert answer.headers["x-trimtab-version"] == found["version"]
                    self.answered[id_] = (found["version"], found["predictions"][0])
        connection.close()


class World:
    """Two versions behind Envoy; `turn` is what the controller does."""

    def __init__(self, folder: Path, requests: list[ServerRequest]) -> None:
        self.folder = folder
        serving = Serving(port=0, limits=Limits(timeout=timedelta(seconds=2)))
        log = folder / "predictions"
        self.servers = ProcessServers(
            folder / "servers", name="m", serving=serving, prediction_log=log, patience=PATIENCE
        )
        self.router = EnvoyRouter(folder / "router", serving)
        self.collector = CollectorProcess(folder / "collector", home=folder)
        self.requests, self.views = requests, {}
        self.percent = self.mirror = 0

    def turn(self, percent: int | None = None, mirror: int = 0) -> dict[str, ServerView]:
        if percent is not None:
            self.percent, self.mirror = percent, mirror
        self.views = dict(self.servers.ensure(self.requests))
        ready = {view.version: view for view in self.views.values() if view.state == "ready"}
        targets = [
            Target(request.version, view.address, view.grpc_address) if (view := ready.get(request.version)) else None
            for request in self.requests
        ]
        stable, candidate = targets
        self.router.apply(
            Routes(
                stable,
                candidate,
                self.percent if candidate else 0,
                self.mirror if candidate else 0,
                self.collector.ensure(),
            )
        )
        return self.views

    def all_ready(self) -> bool:
        return all(view.state == "ready" for view in self.turn().values())

    def await_more(self, clients: Clients, count: int) -> None:
        wanted = clients.count + count
        until(lambda: self.turn() and clients.count >= wanted, 60)

    def close(self) -> None:
        self.router.close()
        self.servers.close()
        self.collector.close()


def the_answers(folder: Path) -> dict[str, list[dict]]:
    """By id, the records of its last attempt that were no copies: one, if all is well."""
    by_id: dict[str, list[dict]] = {}
    for record in predictions(folder):
        if not record["shadow"]:
            by_id.setdefault(record["id"], []).append(record)
    return {
        id_: [record for record in records if record["attempt"] == max(one["attempt"] for one in records)]
        for id_, records in by_id.items()
    }


def check(world: World, clients: Clients, front_door_died: bool = False) -> None:
    """No request lost, and each answer is in the log, once, as what the client was told."""
    if front_door_died:  # what was under way got no answer at all, never a wrong one
        assert set(clients.lost) <= {
            "RemoteDisconnected",
            "ConnectionRefusedError",
            "ConnectionResetError",
            "BrokenPipeError",
            "IncompleteRead",
        }
    else:
        assert clients.lost == {}
    logged = the_answers(world.folder)
    assert set(clients.answered) <= set(logged)
    assert {id_: len(records) for id_, records in logged.items() if len(records) != 1} == {}
    wrong = {
        id_: (told, record["version"], record["prediction"])
        for id_, told in clients.answered.items()
        if (record := logged[id_][0]) and told != (record["version"], record["prediction"])
    }
    assert wrong == {}
