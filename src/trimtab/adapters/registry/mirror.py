"""A second registry that shows what the first one says: for people who look there, never for the loop itself.

What it should show is remembered here and brought there by one thread of the process, so that a registry that is away
holds up no turn. A process that ends before it came back forgets what it still had to show; the next one shows what the
loop then takes up, which is all that serves.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from trimtab.adapters.json_api import ApiError
from trimtab.errors import Refused, TrimtabError
from trimtab.ports.registry import RegisteredVersion, Registry

log = logging.getLogger(__name__)
URL, TOKEN_FILE = "TRIMTAB_MODEL_REGISTRY_URL", "TRIMTAB_MODEL_REGISTRY_TOKEN_FILE"


class Showing(Protocol):
    """A registry that can be told of versions; both calls may be repeated without harm and raise TrimtabError."""

    def publish(self, found: RegisteredVersion) -> None:
        """Show the version."""
        ...

    def set_alias(self, name: str, alias: str, version: str | None) -> None:
        """Point the alias at a version that it shows, or remove it."""
        ...


@dataclass
class _Wanted:
    """What a model's page does not show yet."""

    versions: dict[str, RegisteredVersion] = field(default_factory=dict)
    aliases: dict[str, str | None] = field(default_factory=dict)


class Publisher:
    """Brings what it is told to `showing`, again and again until it is there. One serves all loops of a process."""

    def __init__(self, showing: Showing, retry_seconds: float = 30.0) -> None:
        self._showing, self._retry_seconds = showing, retry_seconds
        self._wanted: dict[str, _Wanted] = {}
        self._shown: set[tuple[str, str]] = set()
        self._troubles: dict[str, str] = {}
        self._lock, self._news, self._passes = threading.Lock(), threading.Event(), threading.Lock()
        self._thread: threading.Thread | None = None

    def publish(self, found: RegisteredVersion) -> None:
        """Show the version some time soon."""
        with self._lock:
            if (found.name, found.version) in self._shown:
                return
            self._wanted.setdefault(found.name, _Wanted()).versions[found.version] = found
        self._wake()

    def point(self, name: str, alias: str, version: str | None) -> None:
        """Move the alias some time soon; of several moves the last one counts."""
        with self._lock:
            self._wanted.setdefault(name, _Wanted()).aliases[alias] = version
        self._wake()

    def trouble(self, name: str) -> str:
        """Why the model's page is behind, or ""."""
        with self._lock:
            return self._troubles.get(name, "")

    def bring(self) -> bool:
        """Try once to show all that waits; returns whether nothing waits any more."""
        with self._passes:
            with self._lock:
                names = list(self._wanted)
            for number, name in enumerate(names):
                try:
                    self._bring(name)
                    self._level(name)
                except TrimtabError as error:
                    away = isinstance(error, ApiError) and error.silent
                    self._behind(names[number:] if away else [name], error)
                    if away:  # the others would wait for the same
                        return False
            with self._lock:
                return not self._wanted

    def flush(self, seconds: float) -> None:
        """Wait until nothing waits, at most so long."""
        until = time.monotonic() + seconds
        while self._wanted and time.monotonic() < until and not self.bring():
            time.sleep(min(0.5, max(0.0, until - time.monotonic())))

    def _bring(self, name: str) -> None:
        with self._lock:
            wanted = self._wanted[name]
            versions, aliases = dict(wanted.versions), dict(wanted.aliases)
        for version, found in versions.items():
            self._showing.publish(found)
            with self._lock:
                self._shown.add((name, version))
                wanted.versions.pop(version, None)
        for alias, version_wanted in aliases.items():
            self._showing.set_alias(name, alias, version_wanted)
            with self._lock:
                if wanted.aliases.get(alias) == version_wanted:  # it may have moved on meanwhile
                    wanted.aliases.pop(alias, None)

    def _level(self, name: str) -> None:
        with self._lock:
            wanted = self._wanted.get(name)
            if wanted is not None and not wanted.versions and not wanted.aliases:
                del self._wanted[name]
            before = self._troubles.pop(name, "")
        if before:
            log.info("%s: the second registry shows everything again", name)

    def _behind(self, names: list[str], error: TrimtabError) -> None:
        said = f"{error}. The loop goes on; its versions are shown there later"
        with self._lock:
            news = [name for name in names if self._troubles.get(name) != said]
            self._troubles.update(dict.fromkeys(names, said))
        if news:
            log.warning("%s: %s", ", ".join(news), said)

    def _wake(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="second registry", daemon=True)
                self._thread.start()
        self._news.set()

    def _run(self) -> None:
        level = True
        while True:
            self._news.wait(None if level else self._retry_seconds)
            self._news.clear()
            try:
                level = self.bring()
            except Exception:
                log.exception("the second registry could not be told")
                level = False


class MirroredRegistry:
    """`truth` answers; what it says of this loop's versions and aliases is shown in the second registry too."""

    def __init__(self, truth: Registry, publisher: Publisher) -> None:
        self._truth, self._publisher = truth, publisher

    def version(self, name: str, version: str) -> RegisteredVersion:
        """One version; raises TrimtabError if there is none."""
        found = self._truth.version(name, version)
        self._publisher.publish(found)
        return found

    def set_alias(self, name: str, alias: str, version: str | None) -> None:
        """Point the alias at the version, or remove it."""
        self._truth.set_alias(name, alias, version)
        if version is not None:
            self.version(name, version)
        self._publisher.point(name, alias, version)


def publisher_from_environment(environment: Mapping[str, str] | None = None) -> Publisher | None:
    """The publisher to Kubeflow Model Registry, if the environment names one; raises Refused for what is no URL."""
    found = os.environ if environment is None else environment
    url, token = found.get(URL, ""), found.get(TOKEN_FILE, "")
    if not url:
        return None
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise Refused(
            f"{URL} must be a URL without user and password, such as http://model-registry-service.kubeflow:8080, "
            f"found one of scheme {parts.scheme!r}. Mend the environment"
        )
    from trimtab.adapters.registry.bundles import Bundles
    from trimtab.adapters.registry.kubeflow import KubeflowRegistry, ModelRegistryClient

    client = ModelRegistryClient(url, Path(token) if token else None)
    return Publisher(KubeflowRegistry(client, Bundles(Path(tempfile.gettempdir()) / "trimtab-bundles")))
