"""Router in memory: splits real request ids and counts, with versions that can be told to fail."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping

from trimtab.errors import TrimtabError
from trimtab.ports.router import NOBODY, Routes, Target, Traffic


class MemoryRouter:
    """Router without a network: `send` takes the place of a client's request.

    `down` holds the versions that answer nothing; they fall back as the real router does: the candidate to the stable
    one, and the stable one to a candidate that takes a share.
    """

    def __init__(self) -> None:
        self.routes = Routes()
        self.down: set[str] = set()
        self.applied: list[Routes] = []  # each change, oldest first
        self.address = ""
        self._requests: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._mirrored: Counter[str] = Counter()
        self._mirror_failures: Counter[str] = Counter()

    def apply(self, routes: Routes) -> None:
        """Make these the routes."""
        if not self.applied or routes != self.routes:
            self.applied.append(routes)
        self.routes, self.address = routes, "memory:1"

    def choose(self, request_id: str, track: str = "") -> str | None:
        """The version that the split picks for an id (always the same one), or None if nobody takes requests."""
        order = self._order(request_id, track)
        return order[0].version if order else None

    def send(self, request_id: str, track: str = "") -> str | None:
        """One prediction; returns the version that answered it, or None if none did."""
        if not self.address:
            raise TrimtabError("the router is closed. Call apply first")
        order = self._order(request_id, track)
        if not order:
            self._requests[NOBODY] += 1
            self._failures[NOBODY] += 1
            return None
        answered = next((target.version for target in order if target.version not in self.down), None)
        picked = order[0].version
        self._requests[picked] += 1
        self._failures[picked] += answered != picked
        if not track and self.routes.candidate and _bucket(f"mirror {request_id}") < self.routes.mirror_percent:
            version = self.routes.candidate.version
            self._mirrored[version] += 1
            self._mirror_failures[version] += version in self.down
        return answered

    def traffic(self) -> Mapping[str, Traffic]:
        """Counters by version."""
        return {
            version: Traffic(
                self._requests[version],
                self._failures[version],
                "memory",
                self._mirrored[version],
                self._mirror_failures[version],
            )
            for version in sorted({*self._requests, *self._mirrored})
        }

    def close(self) -> None:
        """Take no more requests."""
        self.address = ""

    def _order(self, request_id: str, track: str) -> list[Target]:
        """Who is tried first and who then."""
        stable, candidate, percent = self.routes.stable, self.routes.candidate, self.routes.candidate_percent
        if candidate and (track == "candidate" or (percent and (stable is None or _bucket(request_id) < percent))):
            return [target for target in (candidate, stable) if target]
        fallback = candidate if percent else None
        return [target for target in (stable, fallback) if target] if stable else []


def _bucket(text: str) -> int:
    """0 to 99, evenly spread over texts."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % 100
