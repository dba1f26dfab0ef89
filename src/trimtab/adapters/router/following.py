"""A Router that only counts: a cluster that follows a repository splits the requests."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from trimtab.adapters.router.prometheus import Evidence
from trimtab.errors import EvidenceMissing
from trimtab.ports.router import Routes, Traffic


class FollowingRouter:
    """Remembers the routes that are asked for, to know of whom to count; changes nothing."""

    def __init__(self, model: str, address: str, evidence: Evidence | None) -> None:
        """`evidence`: None where nobody counts, so that a release holds."""
        self._model, self.address, self._evidence = model, address, evidence
        self._routes = Routes()
        self._since: datetime | None = None

    def apply(self, routes: Routes) -> None:
        """Take note."""
        if self._evidence is not None and self._since is None:
            self._since = self._evidence.begin("")
        self._routes = routes

    def traffic(self) -> Mapping[str, Traffic]:
        """Counters by version; raises EvidenceMissing."""
        targets = [one for one in (self._routes.stable, self._routes.candidate) if one is not None]
        if not targets:
            return {}
        if self._evidence is None or self._since is None:
            raise EvidenceMissing(
                "with gitops the requests are counted by Prometheus, and none is named: set the operator's "
                "TRIMTAB_PROMETHEUS_URL"
            )
        return self._evidence.read(self._model, {one.version: one.address for one in targets}, self._since)

    def close(self) -> None:
        """Nothing: the routes are the repository's."""
