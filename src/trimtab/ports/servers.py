"""Keeping model servers running."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol


@dataclass(frozen=True)
class ServerRequest:
    """One version to be served: its bundle folder, the digest the registry vouches for, and where its store keeps it.

    `uri` is "" or a file: URI where nobody but this machine finds the bundle.
    """

    version: str
    bundle: Path
    digest: str
    uri: str = ""


@dataclass(frozen=True)
class ServerView:
    """How a version's server stands. Addresses are host:port of its REST and gRPC interfaces."""

    version: str
    state: Literal["starting", "ready", "failed"]
    address: str = ""
    grpc_address: str = ""
    pid: int = 0
    restarts: int = 0
    reason: str = ""


class ModelServers(Protocol):
    """Runs one model server a version."""

    def ensure(self, wanted: Collection[ServerRequest]) -> Mapping[str, ServerView]:
        """Start what is missing, restart what died, stop what is not wanted; returns at once, by version."""
        ...

    def close(self) -> None:
        """Stop every server, letting each finish the requests it has taken."""
        ...
