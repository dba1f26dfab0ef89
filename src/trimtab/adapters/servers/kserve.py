"""Model servers as InferenceServices in KServe's Standard mode, one a version; a router of ours sends to them.

This is KServe without its canary: with the router gateway-api a release has copies, shares and the track header.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from trimtab.adapters.cluster import Cluster
from trimtab.adapters.kserve import (
    INFERENCE_SERVICES,
    LOOP,
    VERSION,
    Settings,
    inference_service,
    predictor,
    short,
    standard_views,
)
from trimtab.ports.servers import ServerRequest, ServerView


class KServeServers:
    """One InferenceService a version, named LOOP-vVERSION. They outlive the operator: `close` stops none."""

    def __init__(self, cluster: Cluster, settings: Settings) -> None:
        self._cluster, self._settings = cluster, settings
        self._written: dict[str, object] = {}

    def ensure(self, wanted: Collection[ServerRequest]) -> Mapping[str, ServerView]:
        """Make what is missing, mend what was changed, delete what is not wanted; raises ClusterError."""
        settings = self._settings
        names = {request.version: f"{settings.name}-{short(request.version)}" for request in wanted}
        found = {
            one["metadata"]["name"]: one
            for one in self._cluster.list(INFERENCE_SERVICES, settings.namespace, f"{LOOP}={settings.name},{VERSION}")
        }
        for name in set(found) - set(names.values()):
            self._cluster.delete(INFERENCE_SERVICES, settings.namespace, name)
            self._written.pop(name, None)
        for request in wanted:
            name = names[request.version]
            spec = {"predictor": predictor(settings, request, named=False)}
            body = inference_service(settings, name, "Standard", spec, {})
            body["metadata"]["labels"][VERSION] = request.version
            # KServe's webhook adds to the spec, so what was written is remembered by the generation it became.
            known = found.get(name, {}).get("metadata", {}).get("generation")
            if known is None or self._written.get(name) != (known, body):
                made = self._cluster.apply(INFERENCE_SERVICES, settings.namespace, body)
                self._written[name] = (made["metadata"].get("generation"), body)
        deployments = {version: f"{name}-predictor" for version, name in names.items()}
        return standard_views(self._cluster, settings, deployments, list(names))

    def close(self) -> None:
        """Nothing: what serves is the cluster's."""
