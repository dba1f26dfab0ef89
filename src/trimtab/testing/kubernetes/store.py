"""The objects of the API server and the rules by which they change."""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from trimtab.testing.kubernetes import schema
from trimtab.testing.kubernetes.fields import Writer, keys_from, updated
from trimtab.testing.kubernetes.journal import Happened, Journal
from trimtab.testing.kubernetes.kinds import BUILT_IN, CRDS, NAMESPACES, Kind, kinds_of
from trimtab.testing.kubernetes.refusal import ApiRefused, invalid, not_found, stale

Object = dict[str, Any]
_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.:]*[a-z0-9])?$")
_SERVERS_OWN = ("uid", "creationTimestamp", "deletionTimestamp", "generation", "resourceVersion", "namespace", "name")


class Store:
    """Every object once, whatever version it is asked for in. Callers hold `journal.lock`."""

    def __init__(self) -> None:
        self.journal = Journal()
        self.kinds: list[Kind] = list(BUILT_IN)
        self._objects: dict[str, dict[tuple[str, str], Object]] = {}
        self._labelled: dict[tuple[str, str, str], set[tuple[str, str]]] = {}  # by resource, label and value
        for name in ("default", "kube-system"):
            self.create(NAMESPACES, "", {"metadata": {"name": name}}, Writer("server", "Update", "v1"))

    def find(self, group: str, version: str, plural: str) -> Kind:
        """The kind; raises ApiRefused (404)."""
        for kind in self.kinds:
            if (kind.group, kind.version, kind.plural) == (group, version, plural):
                return kind
        raise ApiRefused(404, "the server could not find the requested resource", "NotFound")

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """The object as this version of the kind; raises ApiRefused (404)."""
        found = self._objects.get(kind.resource, {}).get((namespace if kind.namespaced else "", name))
        if found is None:
            raise not_found(kind.resource, name)
        return as_kind(found, kind)

    def all(self, kind: Kind, namespace: str = "") -> list[Object]:
        """Objects by namespace and name."""
        found = self._objects.get(kind.resource, {})
        return [as_kind(one, kind) for key, one in sorted(found.items()) if not namespace or key[0] == namespace]

    def labelled(self, kind: Kind, namespace: str, label: str, value: str) -> list[Object]:
        """Those with this label, in the same order, without a look at all others."""
        found = self._objects.get(kind.resource, {})
        keys = sorted(self._labelled.get((kind.resource, label, value), ()))
        return [as_kind(found[key], kind) for key in keys if not namespace or key[0] == namespace]

    def create(self, kind: Kind, namespace: str, given: Object, writer: Writer, dry: bool = False) -> Object:
        """A new object; raises ApiRefused (404 namespace, 409, 422)."""
        meta = dict(given.get("metadata") or {})
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"] + secrets.token_hex(3)
        name = meta.get("name") or ""
        self._refuse_place(kind, namespace, name, meta)
        for key in ("resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
            meta.pop(key, None)
        meta |= {"uid": str(uuid.uuid4()), "creationTimestamp": _now()}
        meta |= {"namespace": namespace} if kind.namespaced else {}
        meta |= {"generation": 1} if kind.generation else {}
        found = {**given, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": meta}
        if kind.status and kind.schema is not None:
            found.pop("status", None)
        found = self._checked(kind, found)
        if (namespace if kind.namespaced else "", name) in self._objects.get(kind.resource, {}):
            raise ApiRefused(409, f'{kind.resource} "{name}" already exists', "AlreadyExists")
        if "managedFields" not in meta:
            found = updated(None, found, writer, keys_from(kind.schema))
        return found if dry else self._put(kind, None, found)

    def replace(
        self, kind: Kind, old: Object, given: Object, writer: Writer, owned: bool = False, dry: bool = False
    ) -> Object:
        """The object after a write; the same object if nothing changed. `owned`: managedFields are worked out already.

        Raises ApiRefused (409 for a stale resourceVersion or another uid, 422).
        """
        wanted, name = dict(given.get("metadata") or {}), old["metadata"]["name"]
        if wanted.get("resourceVersion", old["metadata"]["resourceVersion"]) != old["metadata"]["resourceVersion"]:
            raise stale(kind.resource, name)
        if wanted.get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
            raise stale(kind.resource, name)
        found = self._written(kind, old, {**given, "metadata": wanted}, writer.subresource == "status")
        found = self._checked(kind, found)
        if not owned:
            found = updated(old, found, writer, keys_from(kind.schema))
        if found == old or dry:
            return found
        return self._put(kind, old, found)

    def _written(self, kind: Kind, old: Object, given: Object, status: bool) -> Object:
        """What of the written object counts."""
        own = {key: old["metadata"][key] for key in _SERVERS_OWN if key in old["metadata"]}
        if status:
            meta = {**old["metadata"], "managedFields": given["metadata"].get("managedFields", [])}
            return {**old, "metadata": meta, **({"status": given["status"]} if "status" in given else {})}
        meta = {key: value for key, value in given["metadata"].items() if key not in _SERVERS_OWN} | own
        found = {**given, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": meta}
        if kind.status:
            found.pop("status", None)
            found |= {"status": old["status"]} if "status" in old else {}
        if "deletionTimestamp" in own and set(meta.get("finalizers") or ()) - set(
            old["metadata"].get("finalizers") or ()
        ):
            text = "Forbidden: no new finalizers can be added if the object is being deleted"
            raise invalid(kind.kind, old["metadata"]["name"], [("metadata.finalizers", text)])
        if kind.generation and _substance(kind, found) != _substance(kind, old):
            meta["generation"] = own.get("generation", 0) + 1
        return found

    def delete(self, kind: Kind, old: Object, policy: str = "Background") -> Object:
        """Delete it, or mark it where finalizers hold it; dependents go (or with `Orphan` stay) with it."""
        meta = old["metadata"]
        if policy == "Orphan":
            self._orphan(meta["uid"])
        if meta.get("finalizers"):
            if "deletionTimestamp" in meta:
                return old
            marked = {**meta, "deletionTimestamp": _now(), "deletionGracePeriodSeconds": 0}
            marked |= {"generation": meta["generation"] + 1} if "generation" in meta else {}
            return self._put(kind, old, {**old, "metadata": marked})
        return self._remove(kind, old)

    def _put(self, kind: Kind, old: Object | None, found: Object) -> Object:
        found["metadata"]["resourceVersion"] = str(self.journal.next())
        meta = found["metadata"]
        if old is not None and "deletionTimestamp" in meta and not meta.get("finalizers"):
            return self._remove(kind, found)
        self._keep(kind, (meta.get("namespace", ""), meta["name"]), found)
        if kind is CRDS or kind == CRDS:
            found = self._register(found)
        self.journal.add(Happened(int(found["metadata"]["resourceVersion"]), kind.resource, old, found, found))
        return found

    def _remove(self, kind: Kind, old: Object) -> Object:
        meta = old["metadata"]
        self._keep(kind, (meta.get("namespace", ""), meta["name"]), None)
        revision = self.journal.next()
        last = {**old, "metadata": {**meta, "resourceVersion": str(revision)}}
        self.journal.add(Happened(revision, kind.resource, old, None, last))
        if kind == CRDS:
            gone = {one.resource for one in kinds_of(old)}
            for resource in gone:
                self._clear(resource)
            self.kinds = [one for one in self.kinds if one.resource not in gone]
        if kind == NAMESPACES:
            for resource in list(self._objects):
                self._clear(resource, meta["name"])
        self._collect(meta["uid"])
        return last

    def _keep(self, kind: Kind, key: tuple[str, str], found: Object | None) -> None:
        there = self._objects.setdefault(kind.resource, {})
        for label, value in ((there.pop(key, {}).get("metadata") or {}).get("labels") or {}).items():
            self._labelled[kind.resource, label, value].discard(key)
        if found is not None:
            there[key] = found
            for label, value in (found["metadata"].get("labels") or {}).items():
                self._labelled.setdefault((kind.resource, label, value), set()).add(key)

    def _clear(self, resource: str, namespace: str = "") -> None:
        kind = next(one for one in self.kinds if one.resource == resource)
        for one in self.all(kind, namespace) if not namespace or kind.namespaced else []:
            self.delete(kind, one)

    def _collect(self, uid: str) -> None:
        """Delete what only this owner held. The real collector does so a moment later."""
        for resource in list(self._objects):
            kind = next((one for one in self.kinds if one.resource == resource), None)
            for one in self.all(kind) if kind else []:
                owners = one["metadata"].get("ownerReferences") or []
                if any(owner["uid"] == uid for owner in owners) and len(owners) == 1 and kind:
                    self.delete(kind, one)

    def _orphan(self, uid: str) -> None:
        for resource in list(self._objects):
            kind = next(one for one in self.kinds if one.resource == resource)
            for one in self.all(kind):
                owners = one["metadata"].get("ownerReferences") or []
                kept = [owner for owner in owners if owner["uid"] != uid]
                if kept != owners:
                    self._put(kind, one, {**one, "metadata": {**one["metadata"], "ownerReferences": kept}})

    def _refuse_place(self, kind: Kind, namespace: str, name: str, meta: Mapping[str, Any]) -> None:
        if kind.namespaced and meta.get("namespace", namespace) != namespace:
            raise ApiRefused(400, "the namespace of the provided object does not match the namespace sent")
        if kind.namespaced and (("", namespace) not in self._objects.get("namespaces", {})):
            raise not_found("namespaces", namespace)
        if not name:
            raise invalid(kind.kind, "", [("metadata.name", "Required value: name or generateName is required")])
        if not _NAME.fullmatch(name) or len(name) > 253:
            raise invalid(
                kind.kind, name, [("metadata.name", f'Invalid value: "{name}": a lowercase RFC 1123 subdomain')]
            )

    def _checked(self, kind: Kind, given: Object) -> Object:
        """With defaults, without unknown fields; raises ApiRefused (422)."""
        if kind.schema is None:
            return deepcopy(given)
        body = {key: value for key, value in given.items() if key not in ("apiVersion", "kind", "metadata")}
        found = schema.defaulted(schema.pruned(body, kind.schema), kind.schema)
        wrong = [one for one in schema.problems(found, kind.schema) if one[0] not in ("apiVersion", "kind", "metadata")]
        if wrong:
            raise invalid(kind.kind, given["metadata"]["name"], wrong)
        head = {key: given[key] for key in ("apiVersion", "kind", "metadata")}
        return {**head, **found}

    def _register(self, crd: Object) -> Object:
        """Serve what the definition defines, and say so in its status."""
        served = kinds_of(crd)
        gone = {one.resource for one in served}
        self.kinds = [one for one in self.kinds if one.resource not in gone] + served
        conditions = [
            {"type": name, "status": "True", "reason": "NoConflicts", "message": "", "lastTransitionTime": _now()}
            for name in ("NamesAccepted", "Established")
        ]
        stored = [one["name"] for one in crd["spec"]["versions"] if one.get("storage")]
        crd["status"] = {"acceptedNames": crd["spec"]["names"], "conditions": conditions, "storedVersions": stored}
        return crd


def as_kind(found: Object, kind: Kind) -> Object:
    """The stored object in the version asked for; nothing else is converted."""
    return found if found["apiVersion"] == kind.api_version else {**found, "apiVersion": kind.api_version}


def _substance(kind: Kind, found: Object) -> Object:
    left_out = {"metadata", "apiVersion", "kind"} | ({"status"} if kind.status else set())
    return {key: value for key, value in found.items() if key not in left_out}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
