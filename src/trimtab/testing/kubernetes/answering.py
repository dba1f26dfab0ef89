"""What the API server answers to one request: paths and verbs turned into the store's operations."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import yaml

from trimtab.testing.kubernetes import access, discovery, fields, patches, protobuf, schema, selectors
from trimtab.testing.kubernetes.fields import Writer
from trimtab.testing.kubernetes.kinds import Kind
from trimtab.testing.kubernetes.refusal import ApiRefused
from trimtab.testing.kubernetes.selectors import Matches
from trimtab.testing.kubernetes.store import Object, Store
from trimtab.testing.kubernetes.tables import table
from trimtab.testing.kubernetes.watching import Watch

_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_DEFAULT_WATCH_SECONDS = 3600.0


@dataclass(frozen=True)
class Request:
    """One request, its path split."""

    method: str
    parts: tuple[str, ...]
    query: dict[str, str] = field(default_factory=dict)
    content_type: str = ""
    accept: str = ""
    agent: str = ""
    body: bytes = b""


@dataclass(frozen=True)
class Place:
    """What a path names."""

    group: str
    version: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def place_of(parts: tuple[str, ...]) -> Place | None:
    """The object or list that the path names, or None for what is no object's."""
    match parts:
        case ("api", version, *rest) if rest:
            group = ""
        case ("apis", group, version, *rest) if rest:
            pass
        case _:
            return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    rest += [""] * (3 - len(rest))
    return Place(group, version, rest[0], namespace, rest[1], "/".join(rest[2:]).rstrip("/"))


def verb_of(request: Request, place: Place) -> str:
    """The verb as RBAC names it."""
    if request.method == "GET" and not place.name:
        return "watch" if request.query.get("watch") in ("1", "true", "True") else "list"
    if request.method == "DELETE" and not place.name:
        return "deletecollection"
    return _VERBS.get(request.method, request.method.lower())


class Answers:
    """Answers requests over a store. `pages` keeps lists whose rest is still to be fetched."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._pages: dict[str, tuple[int, list[Object]]] = {}

    def document(self, request: Request) -> dict[str, Any]:
        """What is no object's."""
        return discovery.answer(self.store.kinds, request.parts)

    def watch(self, request: Request, place: Place) -> Watch:
        """The watch that is asked for; raises ApiRefused."""
        query = request.query
        revision = query.get("resourceVersion", "")
        seconds = float(query.get("timeoutSeconds") or _DEFAULT_WATCH_SECONDS)
        return Watch(
            self.store.find(place.group, place.version, place.plural),
            place.namespace,
            self._matches(request, place),
            int(revision) if revision not in ("", "0") else None,
            seconds,
            query.get("allowWatchBookmarks") in ("1", "true", "True"),
            query.get("sendInitialEvents") in ("1", "true", "True"),
        )

    def answer(self, request: Request, place: Place) -> tuple[int, Any]:  # noqa: PLR0911 - one for each verb
        """Status and body; raises ApiRefused."""
        if place.plural == "subjectaccessreviews" and request.method == "POST":
            return 201, access.review(self.store, _read(request.body))
        kind = self.store.find(place.group, place.version, place.plural)
        if place.subresource and not (place.subresource == "status" and kind.status):
            raise ApiRefused(404, "the server could not find the requested resource")
        dry = "dryRun" in request.query
        match verb_of(request, place):
            case "list":
                return 200, self._list(request, place, kind)
            case "get":
                found = self.store.get(kind, place.namespace, place.name)
                return 200, table(kind, [found], "") if "as=Table" in request.accept else found
            case "create":
                given = self._body(request, kind)
                return 201, self.store.create(kind, place.namespace, given, self._writer(request, place, kind), dry)
            case "update":
                old = self.store.get(kind, place.namespace, place.name)
                given = self._body(request, kind)
                return 200, self.store.replace(kind, old, given, self._writer(request, place, kind), dry=dry)
            case "patch":
                return self._patch(request, place, kind, dry)
            case "delete":
                return 200, self._delete(request, place, kind)
            case "deletecollection":
                for one in self.store.all(kind, place.namespace):
                    if self._matches(request, place)(one):
                        self.store.delete(kind, one)
                return 200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        raise ApiRefused(405, "the server does not allow this method on the requested resource")

    def _list(self, request: Request, place: Place, kind: Kind) -> dict[str, Any]:
        token = request.query.get("continue", "")
        if token:
            revision, found = self._pages.pop(token, (-1, []))
            if revision < self.store.journal.oldest:
                raise ApiRefused(410, "The provided continue parameter is too old to display a consistent list result")
        else:
            matches = self._matches(request, place)
            revision = self.store.journal.revision
            wanted = selectors.label_of(request.query.get("labelSelector", ""))
            near = self.store.labelled(kind, place.namespace, *wanted) if wanted else None
            found = [one for one in (self.store.all(kind, place.namespace) if near is None else near) if matches(one)]
        meta: dict[str, Any] = {"resourceVersion": str(revision)}
        limit = int(request.query.get("limit") or 0)
        if limit and len(found) > limit:
            meta |= {"continue": f"page-{len(self._pages) + 1}-{revision}-{len(found)}"}
            meta["remainingItemCount"] = len(found) - limit
            self._pages[meta["continue"]] = (revision, found[limit:])
            found = found[:limit]
        if "as=Table" in request.accept:
            return {**table(kind, found, str(revision)), "metadata": meta}
        return {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": meta, "items": found}

    def _patch(self, request: Request, place: Place, kind: Kind, dry: bool) -> tuple[int, Any]:
        word = request.content_type.split(";")[0]
        writer = self._writer(request, place, kind)
        if word.startswith("application/apply-patch"):
            return self._apply(request, place, kind, dry)
        old = self.store.get(kind, place.namespace, place.name)
        change = _read(request.body)
        if word == "application/json-patch+json":
            found = patches.json_patched(old, change)
        elif word == "application/merge-patch+json" or (word.startswith("application/strategic") and not kind.schema):
            found = (patches.strategic if "strategic" in word else patches.merged)(old, change)
        else:
            raise ApiRefused(415, f"the body of the request was in an unknown format: {word}")
        self._strict(request, kind, found)
        return 200, self.store.replace(kind, old, found, writer, dry=dry)

    def _apply(self, request: Request, place: Place, kind: Kind, dry: bool) -> tuple[int, Any]:
        manager = request.query.get("fieldManager")
        if not manager:
            raise ApiRefused(400, "PatchOptions.meta.k8s.io is invalid: fieldManager: Required value for apply patch")
        wanted = self._body(request, kind)
        if "managedFields" in wanted.get("metadata", {}):
            raise ApiRefused(400, "metadata.managedFields must be nil")
        writer = Writer(manager, "Apply", kind.api_version, place.subresource)
        keys = fields.keys_from(kind.schema)
        force = request.query.get("force") in ("1", "true", "True")
        try:
            old = self.store.get(kind, place.namespace, place.name)
        except ApiRefused:
            new = {
                **deepcopy(wanted),
                "metadata": {**wanted.get("metadata", {}), "name": place.name, "managedFields": []},
            }
            new = fields.with_owners(new, {writer: set(fields.leaves(wanted, keys))})
            return 201, self.store.create(kind, place.namespace, new, writer, dry)
        found = fields.applied(old, wanted, writer, keys, force)
        given = wanted.get("metadata", {})
        found["metadata"] |= {key: given[key] for key in ("resourceVersion", "uid") if key in given}
        return 200, self.store.replace(kind, old, found, writer, owned=True, dry=dry)

    def _delete(self, request: Request, place: Place, kind: Kind) -> Any:
        old = self.store.get(kind, place.namespace, place.name)
        options = _read(request.body)
        for key, value in ((options or {}).get("preconditions") or {}).items():
            if old["metadata"].get(key) != value:
                raise ApiRefused(409, f"the {key} in the precondition ({value}) does not match")
        policy = (options or {}).get("propagationPolicy") or request.query.get("propagationPolicy", "Background")
        found = self.store.delete(kind, old, policy)
        if "deletionTimestamp" in found["metadata"]:
            return found
        details = {"name": place.name, "group": kind.group, "kind": kind.plural, "uid": old["metadata"]["uid"]}
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    def _body(self, request: Request, kind: Kind) -> Object:
        if "cbor" in request.content_type:
            raise ApiRefused(415, f"the body of the request was in an unknown format: {request.content_type}")
        found = _read(request.body)
        if not isinstance(found, dict):
            raise ApiRefused(400, "the body is not an object")
        if found.get("kind", kind.kind) != kind.kind or found.get("apiVersion", kind.api_version) != kind.api_version:
            raise ApiRefused(400, f"{found.get('apiVersion')} {found.get('kind')} does not match the path")
        self._strict(request, kind, found)
        return {**found, "metadata": dict(found.get("metadata") or {})}

    def _strict(self, request: Request, kind: Kind, found: Object) -> None:
        """Unknown fields are refused where the client asks for it, and dropped where it does not."""
        if request.query.get("fieldValidation") != "Strict" or kind.schema is None:
            return
        lost: list[str] = []
        known = {**kind.schema, "properties": {**(kind.schema.get("properties") or {}), **_HEAD}}
        schema.pruned(found, known, "", lost)
        if lost:
            said = ", ".join(f'unknown field "{one}"' for one in lost)
            raise ApiRefused(
                400, f"{kind.kind} in version {kind.version!r} cannot be handled: strict decoding error: {said}"
            )

    def _matches(self, request: Request, place: Place) -> Matches:
        labels = selectors.by_labels(request.query.get("labelSelector", ""))
        by_fields = selectors.by_fields(request.query.get("fieldSelector", ""))
        wanted = place.name
        return lambda one: labels(one) and by_fields(one) and (not wanted or one["metadata"]["name"] == wanted)

    def _writer(self, request: Request, place: Place, kind: Kind) -> Writer:
        manager = request.query.get("fieldManager") or request.agent.split("/")[0] or "unknown"
        return Writer(manager, "Update", kind.api_version, place.subresource)


def _read(body: bytes) -> Any:
    """JSON, which is quick to read, YAML, or protobuf."""
    if body.startswith(protobuf.MAGIC):
        return protobuf.read(body)
    try:
        return json.loads(body) if body else None
    except ValueError:
        return yaml.safe_load(body)


_OPEN = {"x-kubernetes-preserve-unknown-fields": True}
_HEAD: dict[str, Any] = {"apiVersion": {}, "kind": {}, "metadata": _OPEN}
