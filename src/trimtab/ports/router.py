"""Splitting traffic between versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

NOBODY = ""  # stands where a version does in the counts: for predictions that no version was there to answer


@dataclass(frozen=True)
class Target:
    """A version and the host:port that serves it; `grpc_address` if it speaks gRPC too."""

    version: str
    address: str
    grpc_address: str = ""


@dataclass(frozen=True)
class Routes:
    """Where requests go. Percentages are whole numbers, 0 to 100; a mirrored request's answer is thrown away."""

    stable: Target | None = None
    candidate: Target | None = None
    candidate_percent: int = 0
    mirror_percent: int = 0
    feedback: str = ""  # host:port that takes /v1/feedback

    def __post_init__(self) -> None:
        """Refuse shares that are not percentages."""
        for name in ("candidate_percent", "mirror_percent"):
            value = getattr(self, name)
            if not 0 <= value <= 100:
                raise ValueError(f"{name} must be 0 to 100, found {value}")


@dataclass(frozen=True)
class Traffic:
    """Counters of one version since the router started (`epoch`).

    `requests`: predictions that the split (or the track header) chose it for. `failures`: those of them that it did not
    answer: another version had to, or the client got a 5xx. `mirrored`, `mirror_failures`: the same of its copies.
    """

    requests: int = 0
    failures: int = 0
    epoch: str = ""
    mirrored: int = 0
    mirror_failures: int = 0


class Router(Protocol):
    """The front door."""

    @property
    def address(self) -> str:
        """host:port that clients send to; "" before the first `apply`."""
        ...

    def apply(self, routes: Routes) -> None:
        """Make these the routes, losing no request; the same routes again change nothing."""
        ...

    def traffic(self) -> Mapping[str, Traffic]:
        """Counters by version, and under NOBODY if the router knows of predictions that it could send nowhere."""
        ...

    def close(self) -> None:
        """Stop listening after the requests under way are answered."""
        ...
