"""Splitting traffic between versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Target:
    """A version and the host:port that serves it."""

    version: str
    address: str


@dataclass(frozen=True)
class Routes:
    """Where requests go. Percentages are whole numbers, 0 to 100; a mirrored request's answer is thrown away."""

    stable: Target | None = None
    candidate: Target | None = None
    candidate_percent: int = 0
    mirror_percent: int = 0
    feedback: str = ""  # host:port that takes /v1/feedback


@dataclass(frozen=True)
class Traffic:
    """Counters of one version since the router started (`epoch`): requests sent to it, and those it failed to answer."""

    requests: int = 0
    failures: int = 0
    epoch: str = ""


class Router(Protocol):
    """The front door."""

    def apply(self, routes: Routes) -> None:
        """Make these the routes, losing no request; the same routes again change nothing."""
        ...

    def traffic(self) -> Mapping[str, Traffic]:
        """Counters by version."""
        ...

    def close(self) -> None:
        """Stop listening after the requests under way are answered."""
        ...
