"""Envoy's admin interface over its Unix socket."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from trimtab.errors import TrimtabError

CLUSTERS, ROUTES = "clusters", "routes"
_SUBSCRIPTIONS = {CLUSTERS: "cluster_manager.cds", ROUTES: "http.ingress.rds.routes"}


class AdminSilentError(TrimtabError):
    """Envoy's admin interface gave no answer in time."""


class _Connection(http.client.HTTPConnection):
    """HTTP over the socket `name` in `folder`."""

    def __init__(self, folder: Path, name: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._folder, self._name = folder, name

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        # A socket's path may have 107 bytes at most; through the open folder it is always short.
        handle = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sock.connect(f"/proc/self/fd/{handle}/{self._name}")
        finally:
            os.close(handle)


class Admin:
    """Requests to the admin interface; each raises AdminSilentError if there is no answer within `timeout` seconds."""

    def __init__(self, folder: Path, name: str, timeout: float = 2.0) -> None:
        self._folder, self._name, self._timeout = folder, name, timeout

    def get(self, path: str) -> str:
        """The body of a GET."""
        return self._ask("GET", path)

    def post(self, path: str) -> str:
        """The body of a POST: these change something."""
        return self._ask("POST", path)

    def statistics(self, pattern: str) -> Mapping[str, Any]:
        """Counters, gauges and texts whose names match a regular expression, by name."""
        answer = json.loads(self.get(f"/stats?format=json&filter={quote(pattern)}"))
        return {row["name"]: row["value"] for row in answer.get("stats", []) if "name" in row}

    def port(self) -> int:
        """The port that the listener got."""
        listeners = json.loads(self.get("/listeners?format=json"))["listener_statuses"]
        return int(listeners[0]["local_address"]["socket_address"]["port_value"])

    def has_taken(self, subscription: str, edition: str) -> bool:
        """Whether the CLUSTERS or ROUTES in force are those of the file with this `version_info`."""
        name = f"{_SUBSCRIPTIONS[subscription]}.version_text"
        return self.statistics(f"^{name}$").get(name) == edition

    def is_warm(self) -> bool:
        """Whether every cluster has had its first health check."""
        name = "cluster_manager.warming_clusters"
        return self.statistics(f"^{name}$").get(name) == 0

    def requests_under_way(self) -> int:
        """Requests of clients that are not answered yet."""
        name = "http.ingress.downstream_rq_active"
        return int(self.statistics(f"^{name}$").get(name, 0))

    def flushes(self) -> tuple[int, int]:
        """(how often the logs were flushed, bytes that wait for it)."""
        found = self.statistics("^filesystem[.](flushed_by_timer|write_total_buffered)$")
        return int(found["filesystem.flushed_by_timer"]), int(found["filesystem.write_total_buffered"])

    def _ask(self, method: str, path: str) -> str:
        connection = _Connection(self._folder, self._name, self._timeout)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise AdminSilentError(f"Envoy's admin interface gave no answer to {path}: {error}") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise AdminSilentError(f"Envoy's admin interface answered {path} with {answer.status}: {body[:200]}")
        return body
