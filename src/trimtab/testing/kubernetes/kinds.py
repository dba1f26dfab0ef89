"""The kinds that the API server knows: a few built in, more by CustomResourceDefinition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Kind:
    """One served version of a kind. `schema` is None for built-in kinds, which are not validated."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    status: bool = False
    generation: bool = True  # whether metadata.generation is kept
    schema: Mapping[str, Any] | None = None
    short: tuple[str, ...] = ()
    columns: tuple[Mapping[str, Any], ...] = field(default=(), compare=False)

    @property
    def api_version(self) -> str:
        """`group/version`, or `v1` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """`plural.group`: the same for every version, as objects are stored once."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


CRDS = Kind(
    "apiextensions.k8s.io",
    "v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    namespaced=False,
    status=True,
    short=("crd", "crds"),
)
NAMESPACES = Kind("", "v1", "Namespace", "namespaces", namespaced=False, status=True, generation=False, short=("ns",))
BUILT_IN = (
    CRDS,
    NAMESPACES,
    Kind("", "v1", "Node", "nodes", namespaced=False, status=True, generation=False),
    Kind("", "v1", "Pod", "pods", status=True, generation=False, short=("po",)),
    Kind("", "v1", "Service", "services", status=True, generation=False, short=("svc",)),
    Kind("", "v1", "ConfigMap", "configmaps", generation=False, short=("cm",)),
    Kind("", "v1", "Secret", "secrets", generation=False),
    Kind("", "v1", "Event", "events", generation=False, short=("ev",)),
    Kind("", "v1", "ServiceAccount", "serviceaccounts", generation=False, short=("sa",)),
    Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", status=True, generation=False, short=("pvc",)),
    Kind(
        "",
        "v1",
        "PersistentVolume",
        "persistentvolumes",
        namespaced=False,
        status=True,
        generation=False,
        short=("pv",),
    ),
    Kind("storage.k8s.io", "v1", "StorageClass", "storageclasses", namespaced=False, generation=False, short=("sc",)),
    Kind("apps", "v1", "Deployment", "deployments", status=True, short=("deploy",)),
    Kind("apps", "v1", "ReplicaSet", "replicasets", status=True, short=("rs",)),
    Kind("batch", "v1", "Job", "jobs", status=True),
    Kind("batch", "v1", "CronJob", "cronjobs", status=True, short=("cj",)),
    Kind("coordination.k8s.io", "v1", "Lease", "leases", generation=False),
    Kind("events.k8s.io", "v1", "Event", "events", generation=False),
    Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", short=("netpol",)),
    Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", status=True, short=("pdb",)),
    Kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", status=True, short=("hpa",)),
    Kind("rbac.authorization.k8s.io", "v1", "Role", "roles", generation=False),
    Kind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", generation=False),
    Kind("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", namespaced=False, generation=False),
    Kind(
        "rbac.authorization.k8s.io",
        "v1",
        "ClusterRoleBinding",
        "clusterrolebindings",
        namespaced=False,
        generation=False,
    ),
)


def kinds_of(crd: Mapping[str, Any]) -> list[Kind]:
    """The served versions that a CustomResourceDefinition defines."""
    spec = crd["spec"]
    names = spec["names"]
    return [
        Kind(
            spec["group"],
            version["name"],
            names["kind"],
            names["plural"],
            namespaced=spec.get("scope", "Namespaced") == "Namespaced",
            status="status" in (version.get("subresources") or {}),
            schema=(version.get("schema") or {}).get("openAPIV3Schema") or {},
            short=tuple(names.get("shortNames") or ()),
            columns=tuple(version.get("additionalPrinterColumns") or ()),
        )
        for version in spec["versions"]
        if version.get("served", True)
    ]
