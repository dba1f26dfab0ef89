"""KServe's controllers as far as a release meets them, over the test API server: for tests of InferenceServices.

Written after the sources of kserve/kserve: components/predictor.go, reconcilers/knative/ksvc_reconciler.go,
PropagateStatus in inference_service_status.go (v0.20.0), and applyCanaryWeights in httproute_reconciler.go, which came
after 0.20.0 and which `splits` turns on. It runs no pod: a version is ready unless `pending` or `broken` names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab.testing.kubernetes.refusal import ApiRefused
from trimtab.testing.kubernetes.server import KubernetesApi

Json = dict[str, Any]
_SERVICES = "/apis/serving.kserve.io/v1beta1/namespaces/{}/inferenceservices"
_DEPLOYMENTS = "/apis/apps/v1/namespaces/{}/deployments"
_ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/{}/httproutes"
_REVISIONS = "/apis/serving.knative.dev/v1/namespaces/{}/revisions"
_OF, _VERSION = "serving.kserve.io/inferenceservice", "trimtab.dev/version"
REVISION_DEFINITION: Json = {
    "metadata": {"name": "revisions.serving.knative.dev"},
    "spec": {
        "group": "serving.knative.dev",
        "scope": "Namespaced",
        "names": {"kind": "Revision", "plural": "revisions", "singular": "revision", "listKind": "RevisionList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


class KServeController:
    """`reconcile` once, as after an event. `lost` names Services that were deleted while a route sent to them,
    `restarted` Deployments whose pods had to start anew, `shares` the shares by version after each reconciliation."""

    def __init__(self, api: KubernetesApi, namespace: str, splits: bool = True) -> None:
        self.api, self.namespace, self.splits = api, namespace, splits
        self.pending: set[str] = set()
        self.broken: dict[str, str] = {}
        self.lost: list[str] = []
        self.restarted: list[str] = []
        self.shares: list[dict[str, float]] = []

    def reconcile(self) -> None:
        """Every InferenceService of the namespace."""
        services = self.api.objects(_SERVICES.format(self.namespace))
        for service in services:
            if service["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Standard":
                self._standard(service)
            else:
                self._knative(service)
        wanted = {service["metadata"]["name"] for service in services}
        for path in (_DEPLOYMENTS, _ROUTES, _REVISIONS):
            for made in self._made(path):
                if made["metadata"]["labels"][_OF] not in wanted:
                    self._delete(path, made)

    def _standard(self, service: Json) -> None:
        name, spec = service["metadata"]["name"], service["spec"]
        canaries = spec.get("canary") or []
        _validate(spec["predictor"], canaries)
        deployments = {
            self._deployment(name, one): one for one in (spec["predictor"], *[c["predictor"] for c in canaries])
        }
        for deployment, predictor in deployments.items():
            replicas = predictor.get("minReplicas", 1)
            if predictor is spec["predictor"]:
                replicas = max(1, replicas - sum(one["predictor"].get("minReplicas", 1) for one in canaries))
            self._deploy(name, deployment, predictor, replicas)
        for made in self._made(_DEPLOYMENTS, name):
            if made["metadata"]["name"] not in deployments:
                if self.route_shares(name).get(made["metadata"]["name"]):
                    self.lost.append(made["metadata"]["name"])
                self._delete(_DEPLOYMENTS, made)
        status: Json = dict(service.get("status") or {})
        status["canaryStatuses"] = [
            {
                "name": one["predictor"]["name"],
                "ready": self._runs(one["predictor"]),
                "trafficPercent": one["trafficPercent"],
            }
            for one in canaries
        ]
        if self._runs(spec["predictor"]):
            status["url"] = f"http://{name}-{self.namespace}.example.com"
            self._route(name, spec["predictor"], [one for one in canaries if self._runs(one["predictor"])])
        self._save(_SERVICES, {**service, "status": status}, "/status")
        found = self.route_shares(name)
        versions = {one: deployments[one]["labels"][_VERSION] for one in deployments}
        self.shares.append({versions[one]: share for one, share in found.items() if share and one in versions})

    def _route(self, name: str, stable: Json, canaries: list[Json]) -> None:
        canaries = canaries if self.splits else []
        weights = {self._deployment(name, one["predictor"]): int(one["trafficPercent"]) for one in canaries}
        weights = {self._deployment(name, stable): 100 - sum(weights.values()), **weights}
        backends = [
            {"kind": "Service", "name": one, "namespace": self.namespace, "port": 80, "weight": weight}
            for one, weight in weights.items()
        ]
        rule = {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "backendRefs": backends}
        self._save(_ROUTES, {"metadata": {"name": name, "labels": {_OF: name}}, "spec": {"rules": [rule]}})

    def route_shares(self, name: str) -> dict[str, float]:
        """Percent of requests by Service, as the route of the InferenceService has it."""
        routes = [one for one in self._made(_ROUTES, name) if one["metadata"]["name"] == name]
        backends = routes[0]["spec"]["rules"][0]["backendRefs"] if routes else []
        total = sum(one["weight"] for one in backends)
        return {one["name"]: 100 * one["weight"] / total for one in backends}

    def _deployment(self, name: str, predictor: Json) -> str:
        return f"{name}-{predictor['name']}-predictor" if predictor.get("name") else f"{name}-predictor"

    def _runs(self, predictor: Json) -> bool:
        version = predictor["labels"][_VERSION]
        return version not in self.pending and version not in self.broken

    def _deploy(self, name: str, deployment: str, predictor: Json, replicas: int) -> None:
        labels = {**predictor["labels"], _OF: name, "app": f"isvc.{deployment}"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [predictor["model"]]}}
        before = [one for one in self._made(_DEPLOYMENTS, name) if one["metadata"]["name"] == deployment]
        if before and before[0]["spec"]["template"] != template:
            self.restarted.append(deployment)
        body = {
            "metadata": {"name": deployment, "labels": labels},
            "spec": {"replicas": replicas, "template": template},
        }
        made = self._save(_DEPLOYMENTS, body)
        version = predictor["labels"][_VERSION]
        status: Json = {"observedGeneration": made["metadata"]["generation"]}
        if self._runs(predictor):
            status["availableReplicas"] = replicas
        if version in self.broken:
            status["conditions"] = [{"type": "Progressing", "status": "False", "message": self.broken[version]}]
        self._save(_DEPLOYMENTS, {**made, "status": status}, "/status")

    def _knative(self, service: Json) -> None:
        name, predictor = service["metadata"]["name"], service["spec"]["predictor"]
        revisions = sorted(self._made(_REVISIONS, name), key=lambda one: one["metadata"]["name"])
        template = {"model": predictor["model"], "labels": predictor["labels"]}
        if not revisions or revisions[-1]["spec"] != template:
            revisions.append(self._revision(name, len(revisions) + 1, template))
        for number, revision in enumerate(revisions):
            revisions[number] = self._ready(revision)
        created = revisions[-1]["metadata"]["name"]
        good = [one["metadata"]["name"] for one in revisions if one["status"]["conditions"][0]["status"] == "True"]
        ready = good[-1] if good else ""
        components = (service.get("status") or {}).get("components") or {}
        component = dict(components.get("predictor") or {})
        percent, rolled = predictor.get("canaryTrafficPercent"), component.get("latestRolledoutRevision")
        traffic = [(ready, 100 if percent is None or not rolled else percent, True)]
        if percent is not None and rolled and percent < 100:
            traffic.append((rolled, 100 - percent, False))
        _propagate(component, created, ready, traffic)
        status: Json = {"components": {"predictor": component}}
        if ready:
            status["url"] = f"http://{name}-{self.namespace}.example.com"
        self._save(_SERVICES, {**service, "status": status}, "/status")
        versions = {one["metadata"]["name"]: one["metadata"]["labels"][_VERSION] for one in revisions}
        shares: dict[str, float] = {}
        for name_of_one, share, _ in traffic:
            if name_of_one and share:
                shares[versions[name_of_one]] = shares.get(versions[name_of_one], 0) + share
        self.shares.append(shares)

    def _revision(self, name: str, number: int, template: Json) -> Json:
        labels = {**template["labels"], _OF: name, "serving.knative.dev/configurationGeneration": str(number)}
        return self._save(
            _REVISIONS, {"metadata": {"name": f"{name}-predictor-{number:05}", "labels": labels}, "spec": template}
        )

    def _ready(self, revision: Json) -> Json:
        version = revision["metadata"]["labels"][_VERSION]
        state = "Unknown" if version in self.pending else "False" if version in self.broken else "True"
        condition = {"type": "Ready", "status": state, "message": self.broken.get(version, "")}
        return self._save(_REVISIONS, {**revision, "status": {"conditions": [condition]}})

    def _made(self, path: str, name: str = "") -> list[Json]:
        try:
            found = self.api.objects(path.format(self.namespace))
        except ApiRefused:  # the kind is not installed
            return []
        made = [one for one in found if _OF in (one["metadata"].get("labels") or {})]
        return [one for one in made if not name or one["metadata"]["labels"][_OF] == name]

    def _save(self, path: str, body: Json, subresource: str = "") -> Json:
        place = path.format(self.namespace)
        try:
            kept = self.api.request("GET", f"{place}/{body['metadata']['name']}")
        except ApiRefused:
            return dict(self.api.request("POST", place, body))
        whole = {**kept, **body, "metadata": {**kept["metadata"], **body["metadata"]}}
        whole["metadata"]["resourceVersion"] = kept["metadata"]["resourceVersion"]
        return dict(self.api.request("PUT", f"{place}/{body['metadata']['name']}{subresource}", whole))

    def _delete(self, path: str, made: Json) -> None:
        self.api.request("DELETE", f"{path.format(self.namespace)}/{made['metadata']['name']}")


def _validate(stable: Mapping[str, Any], canaries: list[Json]) -> None:
    """What KServe's webhook refuses (validateCanarySpecs)."""
    names = [stable.get("name"), *[one["predictor"].get("name") for one in canaries]]
    assert len(set(names)) == len(names), f"names are used twice: {names}"
    assert sum(one["trafficPercent"] for one in canaries) <= 100
    for one in canaries:
        assert one["predictor"].get("name"), "predictor.name is required"
        assert one["predictor"].get("minReplicas", 0) <= stable.get("minReplicas", 1), "more replicas than stable"
        assert not {"maxReplicas", "scaleTarget", "scaleMetric", "autoScaling", "workerSpec"} & set(one["predictor"])


def _propagate(component: Json, created: str, ready: str, traffic: list[tuple[str, int, bool]]) -> None:
    """PropagateStatus: which revision counts as rolled out."""
    total: dict[str, int] = {}
    for revision, share, _ in traffic:
        total[revision] = total.get(revision, 0) + share
    for revision, share, newest in traffic:
        if not (newest and revision == ready and ready):
            continue
        if component.get("latestRolledoutRevision") != ready:
            if share == 100:
                component["previousRolledoutRevision"] = component.get("latestRolledoutRevision", "")
                component["latestRolledoutRevision"] = ready
        elif ready == created and share < 100 and total[ready] == 100 and component.get("previousRolledoutRevision"):
            component["latestRolledoutRevision"] = component["previousRolledoutRevision"]
    component["latestCreatedRevision"], component["latestReadyRevision"] = created, ready
