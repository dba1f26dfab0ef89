"""Counts of mirrored requests, out of the statistics of the clusters that take the copies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from trimtab.adapters.router.envoy_admin import Admin

_PATTERN = r"^cluster[.]mirror-.*[.]upstream_rq_(completed|5xx)$"


class MirrorCounts:
    """Adds up statistics that begin at 0 again whenever Envoy does."""

    def __init__(self) -> None:
        self._versions: dict[str, str] = {}
        self._seen: dict[str, int] = {}
        self.sent: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    def watch(self, versions: Mapping[str, str]) -> None:
        """Remember which version a cluster's name stands for; names are never used for another."""
        self._versions.update(versions)

    def restart(self) -> None:
        """Envoy begins at 0."""
        self._seen.clear()

    def see(self, admin: Admin) -> None:
        """Add what came since the last look."""
        for name, value in admin.statistics(_PATTERN).items():
            cluster, _, counter = name.removeprefix("cluster.").rpartition(".")
            if cluster not in self._versions:
                continue  # the same counter again, split by where the request came from
            # A cluster that was dropped and made again begins at 0 too.
            added = value - self._seen.get(name, 0) if value >= self._seen.get(name, 0) else value
            self._seen[name] = value
            counts = self.failed if counter == "upstream_rq_5xx" else self.sent
            counts[self._versions[cluster]] += added
