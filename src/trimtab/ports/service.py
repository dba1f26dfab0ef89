"""A long-running process that the loop keeps alive, such as the collector of labels."""

from __future__ import annotations

from typing import Protocol


class Service(Protocol):
    """One process with one address."""

    def ensure(self) -> str:
        """Start it if it is missing or dead; returns its host:port, or "" while it is not answering yet."""
        ...

    def close(self) -> None:
        """Stop it, letting it finish what it has taken."""
        ...
