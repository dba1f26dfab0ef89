"""What is served: /api, /apis, /version and as much OpenAPI as kubectl asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trimtab.testing.kubernetes.kinds import Kind
from trimtab.testing.kubernetes.refusal import ApiRefused

VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]


def answer(kinds: Sequence[Kind], parts: Sequence[str]) -> dict[str, Any]:  # noqa: PLR0911 - one for each path
    """The document at a path that is no object's; raises ApiRefused (404)."""
    match list(parts):
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["apis"]:
            groups = sorted({kind.group for kind in kinds if kind.group})
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(kinds, one) for one in groups]}
        case ["apis", group] if any(kind.group == group for kind in kinds):
            return {"apiVersion": "v1", **_group(kinds, group)}
        case ["api", version]:
            return _resources(kinds, "", version)
        case ["apis", group, version]:
            return _resources(kinds, group, version)
        case ["version"]:
            return {"major": "1", "minor": "33", "gitVersion": "v1.33.0-trimtab", "platform": "linux/amd64"}
        case ["openapi", "v3"]:
            roots = {_root(kind) for kind in kinds}
            return {"paths": {root: {"serverRelativeURL": f"/openapi/v3/{root}"} for root in sorted(roots)}}
        case ["openapi", "v3", *rest]:
            return _openapi([kind for kind in kinds if _root(kind) == "/".join(rest)])
        case ["openapi", "v2"]:
            return {"swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1.33.0"}, "paths": {}}
    raise ApiRefused(404, f"the server could not find the requested resource: /{'/'.join(parts)}")


def _root(kind: Kind) -> str:
    return f"apis/{kind.api_version}" if kind.group else f"api/{kind.version}"


def _group(kinds: Sequence[Kind], group: str) -> dict[str, Any]:
    versions = list(dict.fromkeys(kind.version for kind in kinds if kind.group == group))
    said = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"kind": "APIGroup", "name": group, "versions": said, "preferredVersion": said[0]}


def _resources(kinds: Sequence[Kind], group: str, version: str) -> dict[str, Any]:
    found = [kind for kind in kinds if (kind.group, kind.version) == (group, version)]
    if not found:
        raise ApiRefused(404, "the server could not find the requested resource")
    told: list[dict[str, Any]] = []
    for kind in found:
        said = {"namespaced": kind.namespaced, "kind": kind.kind, "group": group, "version": version}
        names = {"singularName": kind.kind.lower(), "shortNames": list(kind.short)}
        told.append({"name": kind.plural, **names, **said, "verbs": VERBS})
        if kind.status:
            told.append(
                {"name": f"{kind.plural}/status", "singularName": "", **said, "verbs": ["get", "patch", "update"]}
            )
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": found[0].api_version, "resources": told}


def _openapi(kinds: Sequence[Kind]) -> dict[str, Any]:
    """Enough for kubectl to see that the server validates fields itself."""
    paths = {}
    schemas = {}
    for kind in kinds:
        space = "/namespaces/{namespace}" if kind.namespaced else ""
        said = [{"group": kind.group, "version": kind.version, "kind": kind.kind}]
        query = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in ("fieldValidation", "dryRun")]
        operation = {"x-kubernetes-group-version-kind": said[0], "parameters": query, "responses": {}}
        paths[f"/{_root(kind)}{space}/{kind.plural}/{{name}}"] = {"patch": operation, "put": operation}
        schemas[f"{kind.group or 'core'}.{kind.version}.{kind.kind}"] = {
            **(kind.schema or {"type": "object"}),
            "x-kubernetes-group-version-kind": said,
        }
    info = {"title": "Kubernetes", "version": "v1.33.0"}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}}
