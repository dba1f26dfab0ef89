"""Open registries of MLflow: one client a tracking store for all loops, and of SQLite files a few at a time.

MLflow keeps whatever store was ever opened, with its connections, for the life of the process. That is about a megabyte
and two files each, which an operator of a thousand loops, each with a SQLite file of its own, cannot afford.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from trimtab.stages.register import bring_mlflow, connect, made_by_one

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

_MOST_FILES = 8


class OpenRegistry(Protocol):
    """What is asked of a registry, as MLflow's client and its stores have it. Raises MlflowException."""

    def get_model_version(self, name: str, version: str) -> ModelVersion:
        """One version."""
        ...

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        """Point the alias at the version."""
        ...

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Remove the alias."""
        ...


class OpenStores:
    """Those of one process. Safe for several threads."""

    def __init__(self, most_files: int = _MOST_FILES) -> None:
        self._most_files = most_files
        self._lock = threading.Lock()
        self._clients: dict[str, OpenRegistry] = {}
        self._files: OrderedDict[str, _File] = OrderedDict()  # longest unused first

    @contextmanager
    def opened(self, uri: str) -> Iterator[OpenRegistry]:
        """The registry at this tracking URI; a file is not closed while it is used."""
        if not uri.startswith("sqlite:"):
            with self._lock:
                if uri not in self._clients:
                    self._clients[uri] = cast(OpenRegistry, connect(uri))
            yield self._clients[uri]
            return
        with self._lock:  # one is opened at a time: MLflow makes new files with Alembic, which knows no threads
            file = self._files.pop(uri, None) or _File(_opened(uri))
            file.users += 1
            self._files[uri] = file
        try:
            yield cast(OpenRegistry, file.store)
        finally:
            with self._lock:
                file.users -= 1
                self._close_some()

    def _close_some(self) -> None:
        unused = [uri for uri, file in self._files.items() if not file.users]
        for uri in unused[: max(0, len(self._files) - self._most_files)]:
            store = self._files.pop(uri).store
            type(store)._engine_map.pop(uri, None)  # MLflow has no public way to let one go
            store.engine.dispose()


@dataclass
class _File:
    store: Any
    users: int = 0


def _opened(uri: str) -> Any:
    """The registry's part of a SQLite file: the tracking part, which nobody asks here, takes as long to open."""
    bring_mlflow()
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

    with made_by_one(uri):
        return cast(Any, SqlAlchemyStore)(uri)


STORES = OpenStores()
