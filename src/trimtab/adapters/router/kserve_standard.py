"""KServe's Standard mode with `spec.canary`: servers and split are one InferenceService, so one class is both ports.

The stable version is `spec.predictor`, every other one an entry of `spec.canary` with its share; promotion retargets
the predictor's name, so that no pod starts anew. The stable version before stays as a dark entry until no HTTPRoute
sends to it. KServe 0.20.0 makes the servers of `spec.canary` but splits nothing: the weights came to its HTTPRoute
later (kserve/kserve 5912). So what KServe's route really says is read, and while it is not what was asked for there is
no evidence and a release holds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from trimtab.adapters.cluster import Cluster
from trimtab.adapters.kserve import (
    INFERENCE_SERVICES,
    Json,
    Settings,
    inference_service,
    predictor,
    short,
    standard_views,
    version_of,
)
from trimtab.adapters.router.abilities import Abilities
from trimtab.adapters.router.gateway_api import HTTP_ROUTES, SINCE, covers
from trimtab.adapters.router.kserve_roles import Roles, with_routes, with_servers
from trimtab.adapters.router.prometheus import Evidence
from trimtab.errors import EvidenceMissing
from trimtab.ports.router import Routes, Traffic
from trimtab.ports.servers import ServerRequest, ServerView

ABILITIES = Abilities("kserve-standard", no_copies="KServe's Standard mode has no mirror (kserve/kserve 2978)")


class KServeStandard:
    """Router and ModelServers over one InferenceService. It outlives the operator: `close` changes nothing.

    It cannot send copies or follow the track header, and the first version answers as soon as it is ready.
    """

    def __init__(self, cluster: Cluster, settings: Settings, evidence: Evidence) -> None:
        self._cluster, self._settings, self._evidence = cluster, settings, evidence
        self._requests: dict[str, ServerRequest] = {}
        self._routes = Routes()
        self._since: datetime | None = None
        self._address = ""

    @property
    def address(self) -> str:
        """host:port of the InferenceService's URL; "" before the first `apply`."""
        return self._address

    def ensure(self, wanted: Collection[ServerRequest]) -> Mapping[str, ServerView]:
        """Serve these versions, new ones without requests; raises ClusterError."""
        self._requests = {request.version: request for request in wanted}
        found = self._found()
        if not wanted:
            self._cluster.delete(INFERENCE_SERVICES, self._settings.namespace, self._settings.name)
            return {}
        roles = with_servers(_roles(found), list(self._requests), self._used(found))
        if roles is not None:
            self._write(found, roles)
        return standard_views(self._cluster, self._settings, self._deployments(), list(self._requests))

    def apply(self, routes: Routes) -> None:
        """Give each version its role and share; raises Refused for copies, ClusterError."""
        found = self._found()
        roles = _roles(found)
        if found is not None and roles is not None:
            self._write(found, with_routes(roles, routes))
            url = str((found.get("status") or {}).get("url") or "")
            host = urlsplit(url).hostname
            self._address = f"{host}:{urlsplit(url).port or (443 if url.startswith('https') else 80)}" if host else ""
        elif routes.mirror_percent:
            with_routes(Roles(""), routes)
        self._routes = routes

    def traffic(self) -> Mapping[str, Traffic]:
        """Counters by version, out of Prometheus; raises EvidenceMissing, also while KServe does not split as asked."""
        targets = [one for one in (self._routes.stable, self._routes.candidate) if one is not None]
        if not targets or self._since is None:
            return {}
        if self._routes.candidate is not None and self._routes.candidate_percent:
            self._check_split(self._routes.candidate.version, self._routes.candidate_percent)
        addresses = {one.version: one.address for one in targets}
        return self._evidence.read(self._settings.name, addresses, self._since)

    def close(self) -> None:
        """Forget the routes; the cluster keeps them."""
        self._routes, self._address = Routes(), ""

    def _found(self) -> Json | None:
        return self._cluster.get(INFERENCE_SERVICES, self._settings.namespace, self._settings.name)

    def _deployment(self, version: str) -> str:
        return f"{self._settings.name}-{short(version)}-predictor"

    def _deployments(self) -> dict[str, str]:
        return {version: self._deployment(version) for version in self._requests}

    def _write(self, found: Json | None, roles: Roles) -> None:
        if self._since is None:
            noted = ((found or {}).get("metadata", {}).get("annotations") or {}).get(SINCE, "")
            self._since = self._evidence.begin(str(noted))
        # KServe takes the canaries' pods off the stable version's, so those are added to what it shall have.
        stable = {"minReplicas": self._settings.min_replicas * (1 + len(roles.others))}
        spec: Json = {"predictor": {**self._predictor(found, roles.stable), **stable}}
        # Written even when empty: an entry that is not said to be gone would stay.
        spec["canary"] = [
            {"trafficPercent": share, "predictor": self._predictor(found, version)}
            for version, share in sorted(roles.others.items())
        ]
        notes = {SINCE: self._since.isoformat()}
        body = inference_service(self._settings, self._settings.name, "Standard", spec, notes)
        same = found is not None and covers(found["spec"], spec) and covers(found["metadata"], body["metadata"])
        if not same:
            self._cluster.apply(INFERENCE_SERVICES, self._settings.namespace, body)

    def _predictor(self, found: Json | None, version: str) -> Json:
        """As it was asked for; a version that is not wanted any more stays as it is."""
        if version in self._requests:
            return predictor(self._settings, self._requests[version], named=True)
        return {**_entries(found)[version], "minReplicas": self._settings.min_replicas}

    def _used(self, found: Json | None) -> set[str]:
        """Versions that KServe's route sends requests to, whatever the object says."""
        shares = self._shares()
        return {version for version in _entries(found) if shares.get(self._deployment(version), 0)}

    def _shares(self) -> dict[str, int]:
        """Weights by Service in the HTTPRoute that KServe makes for the object's URL."""
        route = self._cluster.get(HTTP_ROUTES, self._settings.namespace, self._settings.name) or {"spec": {}}
        rules = [rule for rule in route["spec"].get("rules") or () if rule.get("backendRefs")]
        return {one["name"]: int(one.get("weight", 1)) for rule in rules for one in rule["backendRefs"]}

    def _check_split(self, version: str, percent: int) -> None:
        shares = self._shares()
        if not shares:
            raise EvidenceMissing(
                f"KServe made no HTTPRoute {self._settings.name}, so it splits no requests: set enableGatewayApi: true "
                "under `ingress` in its ConfigMap inferenceservice-config"
            )
        total, given = sum(shares.values()), shares.get(self._deployment(version), 0)
        if given * 100 != percent * total:
            raise EvidenceMissing(
                f"KServe's HTTPRoute sends {100 * given / max(total, 1):.0f} % to version {version}, not {percent} %. "
                "KServe 0.20.0 makes the servers of spec.canary but splits nothing (kserve/kserve 5912 does): "
                "use a later KServe, or the router gateway-api"
            )


def _entries(found: Mapping[str, Any] | None) -> dict[str, Json]:
    """The predictors in the object, by version."""
    spec = (found or {}).get("spec") or {}
    predictors = [spec.get("predictor") or {}, *[one["predictor"] for one in spec.get("canary") or ()]]
    return {version_of(one): one for one in predictors if version_of(one)}


def _roles(found: Mapping[str, Any] | None) -> Roles | None:
    if found is None:
        return None
    others = {version_of(one["predictor"]): int(one["trafficPercent"]) for one in found["spec"].get("canary") or ()}
    return Roles(version_of(found["spec"]["predictor"]), others)
