"""A server on loopback that answers as the REST API v1alpha3 of Kubeflow Model Registry does, and remembers.

Paths, fields and statuses are those of api/openapi/model-registry.yaml; the rest follows the server's source: names are
searched with LIKE, unknown fields are refused, PATCH replaces all custom properties where it has any, and a text longer
than an index entry of PostgreSQL takes is an internal error, as it was before migration 23.
"""

from __future__ import annotations

import re
import uuid
from typing import Any

from trimtab.testing.json_server import JsonServer, Query, Things

_COMMON = {"customProperties", "description", "externalId"}
_MODEL = {"readme", "maturity", "language", "tasks", "provider", "logo", "license", "licenseLink", "libraryName"}
_SOURCE = {f"modelSource{part}" for part in ("Kind", "Class", "Group", "Id", "Name")}
_STORAGE = {"uri", "modelFormatName", "modelFormatVersion", "storageKey", "storagePath", "serviceAccountName"}
_UPDATE = {
    "registered_models": _COMMON | _MODEL | {"owner", "state"},
    "model_versions": _COMMON | {"author", "state"},
    "model_artifacts": _COMMON | _SOURCE | _STORAGE | {"artifactType", "state"},
}
_CREATE = {
    "registered_models": {"name"},
    "model_versions": {"name", "registeredModelId"},
    "model_artifacts": {"name", "id"},
}
_SEARCH = {
    "registered_model": "registered_models",
    "model_version": "model_versions",
    "model_artifact": "model_artifacts",
}
_VALUES = {"String": str, "Int": str, "Double": int | float, "Bool": bool, "Struct": str}
_LONGEST = 2704  # bytes, of a value in a btree of PostgreSQL
_WORDS = {
    **{400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 409: "Conflict"},
    **{422: "Unprocessable Entity", 500: "Internal Server Error", 503: "Service Unavailable"},
}


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ModelRegistryApi(JsonServer):
    """`those` holds registered models, model versions and model artifacts by id."""

    prefix = "/api/model_registry/v1alpha3"

    def __init__(self) -> None:
        super().__init__()
        self.those: dict[str, Things] = {kind: {} for kind in _UPDATE}
        self._clock = 1_760_000_000_000

    def properties(self, kind: str, name: str) -> dict[str, Any]:
        """The custom properties of the one of this name, as plain values."""
        (found,) = (one for one in self.those[kind].values() if one["name"] == name)
        given: Things = found.get("customProperties") or {}
        return {key: next(value[part] for part in value if part != "metadataType") for key, value in given.items()}

    def refusal(self, status: int, message: str) -> Any:
        """As schema Error says."""
        return {"code": _WORDS.get(status, str(status)), "message": message}

    def found(self, method: str, parts: list[str], query: Query, body: Any) -> tuple[int, Any]:
        """Status and JSON of one call."""
        try:
            return self._answer(method, parts, query, body)
        except _Refused as refused:
            return refused.status, self.refusal(refused.status, str(refused))

    def _answer(self, method: str, parts: list[str], query: Query, body: Any) -> tuple[int, Any]:
        status, said = 200, None
        match method, parts:
            case "GET", [kind] if kind in _SEARCH:
                said = self._searched(kind, query)
            case "GET", [kind] if kind in _UPDATE:
                said = _page([*self.those[kind].values()], query)
            case "GET", [kind, id_] if kind in _UPDATE:
                said = self._one(kind, id_)
            case "PATCH", [kind, id_] if kind in _UPDATE:
                said = self._patched(kind, id_, body)
            case "POST", ["registered_models" | "model_versions" as kind]:
                status, said = 201, self._made(kind, body, str(body.get("registeredModelId", "")))
            case "GET", ["registered_models", id_, "versions"]:
                said = self._children("registered_models", id_, "model_versions", query)
            case "GET", ["model_versions", id_, "artifacts"]:
                said = self._children("model_versions", id_, "model_artifacts", query)
            case "POST", ["model_versions", id_, "artifacts"]:
                status, said = self._artifact(id_, body)
            case _:
                raise _Refused(404, f"no such path: {'/'.join(parts)}")
        return status, said

    def _artifact(self, version: str, body: Any) -> tuple[int, Any]:
        self._one("model_versions", version)
        if body.get("artifactType") != "model-artifact":
            raise _Refused(400, "failed to unmarshal Artifact: no match in artifactType")
        if "id" in body:
            changed = {key: value for key, value in body.items() if key not in ("id", "name")}
            return 200, self._patched("model_artifacts", str(body["id"]), changed)
        return 201, self._made("model_artifacts", {"name": str(uuid.uuid4()), **body}, version)

    def _searched(self, kind: str, query: Query) -> Any:
        name, parent, external = (query.get(key, [""])[0] for key in ("name", "parentResourceId", "externalId"))
        if not external and (not name or (kind != "registered_model" and not parent)):
            raise _Refused(400, "invalid parameters call, supply either name and parentResourceId, or externalId")
        like = re.compile("".join({"%": ".*", "_": "."}.get(one, re.escape(one)) for one in name), re.S)
        those = self.those[_SEARCH[kind]].values()
        found = [one for one in those if _parent(one) == parent or not parent]
        found = [one for one in found if (like.fullmatch(one["name"]) if name else one.get("externalId") == external)]
        if len(found) != 1:
            number = "multiple" if found else "no"
            raise _Refused(404, f"{number} {kind}s found for name={name}, externalId={external}: not found")
        return _shown(found[0])

    def _one(self, kind: str, id_: str) -> Any:
        if not re.fullmatch(r"[0-9]{1,9}", id_):
            raise _Refused(400, f"invalid {kind} ID: {id_}")
        if id_ not in self.those[kind]:
            raise _Refused(404, f"no {kind} found for id {id_}: not found")
        return _shown(self.those[kind][id_])

    def _children(self, kind: str, id_: str, of: str, query: Query) -> Any:
        self._one(kind, id_)
        name = query.get("name", [""])[0]
        mine = [one for one in self.those[of].values() if _parent(one) == id_ and (not name or one["name"] == name)]
        return _page(mine, query)

    def _made(self, kind: str, body: Any, parent: str) -> Any:
        _check(body, _UPDATE[kind] | _CREATE[kind])
        missing = [key for key in sorted(_CREATE[kind] - {"id"}) if not body.get(key)]
        if missing:
            raise _Refused(422, f"required field '{missing[0]}' is zero value.")
        if kind == "model_versions" and parent not in self.those["registered_models"]:
            raise _Refused(400, f"invalid registered model ID: {parent}")
        for one in self.those[kind].values():
            external = body.get("externalId")
            if (_parent(one), one["name"]) == (parent, body["name"]) or (external and external == one["externalId"]):
                raise _Refused(409, f"{kind} with name {body['name']} already exists: conflict")
        id_ = str(sum(map(len, self.those.values())) + 1)
        made = {"state": "LIVE", **body, "id": id_, "_parent": parent, "createTimeSinceEpoch": self._now()}
        self.those[kind][id_] = {**made, "lastUpdateTimeSinceEpoch": made["createTimeSinceEpoch"]}
        return self._one(kind, id_)

    def _patched(self, kind: str, id_: str, body: Any) -> Any:
        self._one(kind, id_)
        _check(body, _UPDATE[kind])
        given = {key: value for key, value in body.items() if value is not None and key != "artifactType"}
        self.those[kind][id_] |= {**given, "lastUpdateTimeSinceEpoch": self._now()}
        return self._one(kind, id_)

    def _now(self) -> str:
        self._clock += 1
        return str(self._clock)


def _check(body: Any, known: set[str]) -> None:
    unknown = sorted(set(body) - known)
    if unknown:
        raise _Refused(400, f'json: unknown field "{unknown[0]}"')
    for key, value in (body.get("customProperties") or {}).items():
        kind = str(value.get("metadataType", "")).removeprefix("Metadata").removesuffix("Value")
        field = f"{kind.lower()}_value"
        if set(value) != {"metadataType", field} or not isinstance(value[field], _VALUES.get(kind, ())):
            raise _Refused(400, f"failed to unmarshal MetadataValue: {key}")
        if isinstance(value[field], str) and len(value[field].encode()) > _LONGEST:
            raise _Refused(500, "index row size exceeds btree version 4 maximum 2704")


def _parent(one: Any) -> str:
    return str(one["_parent"])


def _shown(one: Any) -> Any:
    return {key: value for key, value in one.items() if key != "_parent"}


def _page(found: list[Any], query: Query) -> Any:
    """As many as were asked for, with the token of the next; all without `pageSize`."""
    start, size = int(query.get("nextPageToken", ["0"])[0]), int(query.get("pageSize", ["0"])[0])
    stop = start + size if size else len(found)
    items = [_shown(one) for one in found[start:stop]]
    token = str(stop) if stop < len(found) else ""
    return {"items": items, "nextPageToken": token, "pageSize": size, "size": len(items)}
