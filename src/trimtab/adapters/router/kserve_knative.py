"""KServe's Knative mode with `canaryTrafficPercent`: one InferenceService is servers and split, one class both ports.

The object holds the newest version only; versions before are Knative's revisions. The newest gets the percentage, the
revision that was last rolled out the rest. What follows from that, and is kept here:
- A roll-back sets the percentage to 0 and leaves the newest version in the object. To write the old version again
  would make a new revision, and until that is ready Knative sends everything to the newest ready one: the bad one.
- A percentage above 0 waits until the newest version is the newest ready revision: else an older bad one would get it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from trimtab.adapters.cluster import Cluster, Resource
from trimtab.adapters.kserve import (
    INFERENCE_SERVICES,
    OF,
    Json,
    Settings,
    inference_service,
    predictor,
    version_of,
)
from trimtab.adapters.router.abilities import Abilities
from trimtab.adapters.router.gateway_api import SINCE, covers
from trimtab.adapters.router.kserve_roles import refuse_copies
from trimtab.adapters.router.prometheus import Evidence
from trimtab.errors import TrimtabError
from trimtab.ports.router import Routes, Traffic
from trimtab.ports.servers import ServerRequest, ServerView

REVISIONS = Resource("serving.knative.dev", "v1", "revisions", "Revision")
TAGS = "serving.kserve.io/enable-tag-routing"  # the newest revision also has an address of its own: latest-...
ABILITIES = Abilities("kserve-knative", no_copies="neither KServe nor Knative can mirror (kserve/kserve 2978)")


class KServeKnative:
    """Router and ModelServers over one InferenceService. It outlives the operator: `close` changes nothing.

    It cannot send copies or follow the track header (the candidate has an address of its own instead), and the first
    version answers as soon as it is ready.
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
        """Serve these versions; one without a revision is written into the object, at 0 %. Raises ClusterError."""
        self._requests = {request.version: request for request in wanted}
        found = self._found()
        if not wanted:
            self._cluster.delete(INFERENCE_SERVICES, self._settings.namespace, self._settings.name)
            return {}
        revisions = self._revisions()
        newest = _newest(found)
        missing = [version for version in self._requests if version not in revisions and version != newest]
        if found is None:
            self._write(None, next(iter(self._requests)), None)
        elif missing and (newest in revisions or newest not in self._requests):
            self._write(found, missing[0], 0)  # the next one follows when this one has its revision
        elif newest in self._requests:
            self._write(found, newest, _percent(found))
        return {version: self._view(version, revisions.get(version)) for version in self._requests}

    def apply(self, routes: Routes) -> None:
        """Give the newest version its percentage, the one rolled out the rest; raises Refused for copies."""
        refuse_copies(routes)
        found = self._found()
        if found is not None:
            self._share(found, routes)
            url = str((found.get("status") or {}).get("url") or "")
            host = urlsplit(url).hostname
            self._address = f"{host}:{urlsplit(url).port or (443 if url.startswith('https') else 80)}" if host else ""
        self._routes = routes

    def traffic(self) -> Mapping[str, Traffic]:
        """Counters by version, out of Prometheus; raises EvidenceMissing."""
        targets = [one for one in (self._routes.stable, self._routes.candidate) if one is not None]
        if not targets or self._since is None:
            return {}
        addresses = {one.version: one.address for one in targets}
        return self._evidence.read(self._settings.name, addresses, self._since)

    def close(self) -> None:
        """Forget the routes; the cluster keeps them."""
        self._routes, self._address = Routes(), ""

    def _share(self, found: Json, routes: Routes) -> None:
        newest, stable = _newest(found), routes.stable.version if routes.stable is not None else ""
        candidate = routes.candidate.version if routes.candidate is not None else ""
        revisions = self._revisions()
        current = _component(found)
        ready = version_of(revisions.get(newest) or {}) == newest and _is_newest(revisions.get(newest), current)
        if stable in ("", newest):
            if stable and not ready:
                raise TrimtabError(f"version {newest} cannot take all requests: its revision is not ready yet")
            self._write(found, newest, None if stable else _percent(found))
            return
        held = (revisions.get(stable) or {"metadata": {"name": ""}})["metadata"]["name"]
        if held and held in (current.get("latestRolledoutRevision"), current.get("previousRolledoutRevision")):
            percent = routes.candidate_percent if candidate == newest and ready else 0
            self._write(found, newest, percent)
        elif stable in self._requests:
            # Knative cannot pin requests to a revision that KServe has forgotten: the version is rolled out anew.
            self._write(found, stable, None)
        else:
            raise TrimtabError(f"requests cannot go to version {stable}: KServe was not told to serve it")

    def _write(self, found: Json | None, version: str, percent: int | None) -> None:
        if self._since is None:
            noted = ((found or {}).get("metadata", {}).get("annotations") or {}).get(SINCE, "")
            self._since = self._evidence.begin(str(noted))
        known = version in self._requests
        body = predictor(self._settings, self._requests[version], named=False) if known else _bare(found)
        if percent is not None:
            body["canaryTrafficPercent"] = percent
        notes = {SINCE: self._since.isoformat(), TAGS: "true"}
        whole = inference_service(self._settings, self._settings.name, "Knative", {"predictor": body}, notes)
        same = found is not None and covers(found["spec"], whole["spec"]) and _percent(found) == percent
        if not (same and found is not None and covers(found["metadata"], whole["metadata"])):
            self._cluster.apply(INFERENCE_SERVICES, self._settings.namespace, whole)

    def _found(self) -> Json | None:
        return self._cluster.get(INFERENCE_SERVICES, self._settings.namespace, self._settings.name)

    def _revisions(self) -> dict[str, Json]:
        """The newest revision of each version."""
        found = self._cluster.list(REVISIONS, self._settings.namespace, f"{OF}={self._settings.name}")
        found.sort(key=lambda one: int(one["metadata"]["labels"].get("serving.knative.dev/configurationGeneration", 0)))
        return {version_of(one): one for one in found if version_of(one)}

    def _view(self, version: str, revision: Json | None) -> ServerView:
        if revision is None:
            return ServerView(version, "starting", reason="Knative has not made its revision yet")
        address = f"{revision['metadata']['name']}.{self._settings.namespace}.svc:80"
        for condition in (revision.get("status") or {}).get("conditions") or ():
            if condition["type"] == "Ready" and condition["status"] == "True":
                return ServerView(version, "ready", address)
            if condition["type"] == "Ready" and condition["status"] == "False":
                return ServerView(version, "failed", reason=str(condition.get("message") or condition.get("reason")))
        return ServerView(version, "starting")


def _newest(found: Mapping[str, Any] | None) -> str:
    return version_of((found or {}).get("spec", {}).get("predictor") or {})


def _percent(found: Mapping[str, Any] | None) -> int | None:
    percent = (found or {}).get("spec", {}).get("predictor", {}).get("canaryTrafficPercent")
    return None if percent is None else int(percent)


def _component(found: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict(((found.get("status") or {}).get("components") or {}).get("predictor") or {})


def _is_newest(revision: Mapping[str, Any] | None, component: Mapping[str, Any]) -> bool:
    """Whether the revision is both the newest made and the newest ready: requests for the newest go to the latter."""
    name = revision["metadata"]["name"] if revision is not None else ""
    return bool(name) and component.get("latestReadyRevision") == component.get("latestCreatedRevision") == name


def _bare(found: Mapping[str, Any] | None) -> Json:
    """The predictor as it is, without its percentage."""
    kept = dict((found or {})["spec"]["predictor"])
    kept.pop("canaryTrafficPercent", None)
    return kept
