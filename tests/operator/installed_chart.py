"""Chart trimtab on the API server for tests, as Helm leaves it there: rendered by a real Helm, with Helm's notes."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest

from trimtab.spec import crd
from trimtab.testing.kubernetes.server import KubernetesApi

sys.path[:0] = [str(Path(__file__).parents[1] / "helm")]

from rendering import NAMESPACE, NO_HELM, helms, rendered  # noqa: E402

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MERGE = "application/merge-patch+json"


def path_of(api: KubernetesApi, found: dict[str, Any], name: str = "") -> str:
    """Where objects of its kind are."""
    for kind in api.store.kinds:
        if (kind.api_version, kind.kind) == (found["apiVersion"], found["kind"]):
            root = f"/apis/{kind.api_version}" if kind.group else "/api/v1"
            space = f"/namespaces/{found['metadata']['namespace']}" if kind.namespaced else ""
            return f"{root}{space}/{kind.plural}{f'/{name}' if name else ''}"
    return ""


def install(api: KubernetesApi, ready: int = 1, **values: Any) -> None:
    """Namespace, definition, everything that the chart renders (of kinds that the server knows), and its state."""
    if not helms():
        pytest.skip(NO_HELM)
    api.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    api.request("POST", f"{DEFINITIONS}?fieldManager=helm", crd.definition())
    given = {key.replace("__", "."): value for key, value in values.items()}
    for one in rendered(helms()[-1], "trimtab", given):
        made = copy.deepcopy(one)
        path = path_of(api, made)
        if not path or made["kind"] == "CustomResourceDefinition":
            continue
        notes = {"meta.helm.sh/release-name": "r", "meta.helm.sh/release-namespace": NAMESPACE}
        made["metadata"].setdefault("annotations", {}).update(notes)
        api.request("POST", f"{path}?fieldManager=helm", made)
        status = {"Deployment": {"availableReplicas": ready}, "PersistentVolumeClaim": {"phase": "Bound"}}
        if made["kind"] in status:
            named = path_of(api, made, made["metadata"]["name"])
            api.request("PATCH", f"{named}/status", {"status": status[made["kind"]]}, MERGE)
    record = {"name": "sh.helm.release.v1.r.v1", "labels": {"owner": "helm", "name": "r"}}
    api.request("POST", f"/api/v1/namespaces/{NAMESPACE}/secrets", {"metadata": record})
