"""Routes and clusters of our Envoy in a ConfigMap, and what of them is in force, retired or still to come. Pure.

A change takes two steps, so that no request meets a route without a warm cluster: first the clusters of both, then the
routes. Clusters that lost their routes stay until the last requests to them have ended. All of it is a value that can
be read back from the ConfigMap, so any operator can take the next step.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from trimtab.adapters.router.envoy_clusters import clusters
from trimtab.adapters.router.envoy_config import CLUSTERS_FILE, ROUTES_FILE, Bounds, Json, discovery
from trimtab.adapters.router.envoy_routes import route_table
from trimtab.adapters.router.envoy_statistics import statistic_name
from trimtab.ports.router import Routes, Target

NOTE = "trimtab.dev/router"


@dataclass(frozen=True)
class Files:
    """What the ConfigMap says. `retired`: clusters without routes, and since when; editions grow with each change."""

    routes: Routes
    bounds: Bounds
    clusters: Mapping[str, Json] = field(default_factory=dict)
    retired: Mapping[str, datetime] = field(default_factory=dict)
    clusters_edition: int = 1
    routes_edition: int = 1

    @classmethod
    def first(cls, routes: Routes, bounds: Bounds, now: datetime) -> Files:
        """Where nothing is written yet. Its editions are none that pods may know from files that were lost."""
        edition = int(now.timestamp() * 1000)
        return cls(routes, bounds, _named(routes), {}, edition, edition)

    @classmethod
    def read(cls, config_map: Json) -> Files:
        """As a ConfigMap has it."""
        note = json.loads(config_map["metadata"]["annotations"][NOTE])
        found = json.loads(config_map["data"][CLUSTERS_FILE])["resources"]
        retired = {name: datetime.fromisoformat(time) for name, time in note["retired"].items()}
        return cls(
            _routes(note["routes"]),
            Bounds(**note["bounds"]),
            {one["name"]: one for one in found},
            retired,
            note["clusters_edition"],
            note["routes_edition"],
        )

    def data(self) -> dict[str, str]:
        """The files."""
        resources = [self.clusters[name] for name in sorted(self.clusters)]
        table = route_table(self.routes, self.bounds)
        return {
            CLUSTERS_FILE: json.dumps(discovery(str(self.clusters_edition), resources)),
            ROUTES_FILE: json.dumps(discovery(str(self.routes_edition), [table])),
        }

    def note(self) -> str:
        """What the files do not say, for an annotation."""
        told = {
            "routes": asdict(self.routes),
            "bounds": asdict(self.bounds),
            "retired": {name: time.isoformat() for name, time in self.retired.items()},
            "clusters_edition": self.clusters_edition,
            "routes_edition": self.routes_edition,
        }
        return json.dumps(told, sort_keys=True)

    def with_clusters_for(self, routes: Routes) -> Files:
        """Step one: whatever these routes need is there."""
        wanted = _named(routes)
        retired = {name: time for name, time in self.retired.items() if name not in wanted}
        if wanted.keys() <= self.clusters.keys():
            return replace(self, retired=retired)
        return replace(
            self,
            clusters={**self.clusters, **wanted},
            retired=retired,
            clusters_edition=self.clusters_edition + 1,
        )

    def with_routes(self, routes: Routes, bounds: Bounds, now: datetime) -> Files:
        """Step two: requests go by them."""
        wanted = _named(routes)
        retired = {name: self.retired.get(name, now) for name in self.clusters if name not in wanted}
        edition = self.routes_edition + 1
        return replace(self, routes=routes, bounds=bounds, retired=retired, routes_edition=edition)

    def without_retired(self, before: datetime) -> Files:
        """Without clusters that lost their routes before that time."""
        gone = {name for name, time in self.retired.items() if time < before}
        if not gone:
            return self
        return replace(
            self,
            clusters={name: one for name, one in self.clusters.items() if name not in gone},
            retired={name: time for name, time in self.retired.items() if name not in gone},
            clusters_edition=self.clusters_edition + 1,
        )

    def names(self, address: str) -> bool:
        """Whether a request may still be sent to this address."""
        return any(name.endswith(f"-{address.replace(':', '_')}") for name in self.clusters)

    def mirrors(self) -> dict[str, str]:
        """Version by the statistic name of the cluster that takes its copies."""
        return {
            statistic_name(name): _version(one) for name, one in self.clusters.items() if name.startswith("mirror-")
        }

    def drained_by(self) -> timedelta:
        """How long after the last route to it a cluster may have requests."""
        return timedelta(seconds=2 * self.bounds.timeout_seconds + 5)


def _named(routes: Routes) -> dict[str, Json]:
    return {name: {**one, "alt_stat_name": statistic_name(name)} for name, one in clusters(routes).items()}


def _version(cluster: Json) -> str:
    (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    return str(endpoint["metadata"]["filter_metadata"]["trimtab"]["version"])


def _routes(told: Mapping[str, Any]) -> Routes:
    targets = {key: Target(**told[key]) if told[key] else None for key in ("stable", "candidate")}
    return Routes(**{**told, **targets})
