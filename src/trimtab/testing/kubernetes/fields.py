"""Who manages which field: server-side apply, its conflicts, and the record in metadata.managedFields.

Simpler than the real thing in two ways: a list is a map only where the schema or LIST_KEYS says so, and an item of a
list is otherwise the field of whoever wrote the list last.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from trimtab.testing.kubernetes.patches import LIST_KEYS
from trimtab.testing.kubernetes.refusal import ApiRefused

Path = tuple[str, ...]
KeysOf = Callable[[Path], Sequence[str]]
_OURS = ("apiVersion", "kind", "status")
_METADATA = ("labels", "annotations", "finalizers", "ownerReferences")


@dataclass(frozen=True)
class Writer:
    """Who writes, how (`Apply`, `Update`), with which version of the kind, and to which subresource."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""


def keys_from(schema: Mapping[str, Any] | None) -> KeysOf:
    """Which lists are maps: by the schema of a custom resource, or by name for a built-in kind."""

    def keys(path: Path) -> Sequence[str]:
        if schema is None:
            return LIST_KEYS.get(path[-1].removeprefix("f:"), ())
        found: Mapping[str, Any] = schema
        for part in path:
            if part.startswith("f:"):
                found = (found.get("properties") or {}).get(part[2:]) or found.get("additionalProperties") or {}
            else:
                found = found.get("items") or {}
            if not isinstance(found, Mapping):
                return ()
        return found.get("x-kubernetes-list-map-keys") or ()

    return keys


def leaves(value: Any, keys: KeysOf, status: bool = False) -> dict[Path, Any]:
    """Every field that can be owned, with its value."""
    found: dict[Path, Any] = {}
    for name, child in value.items():
        if name == "metadata" and not status:
            for part in _METADATA:
                if child.get(part):
                    _collect(child[part], ("f:metadata", f"f:{part}"), keys, found)
        elif (name == "status") == status and (status or name not in _OURS) and name != "metadata":
            _collect(child, (f"f:{name}",), keys, found)
    return found


def _collect(value: Any, path: Path, keys: KeysOf, found: dict[Path, Any]) -> None:
    if isinstance(value, dict) and value:
        for name, child in value.items():
            _collect(child, (*path, f"f:{name}"), keys, found)
    elif isinstance(value, list) and value and (names := keys(path)) and all(isinstance(one, dict) for one in value):
        for item in value:
            key = "k:" + json.dumps({name: item.get(name) for name in names}, sort_keys=True, separators=(",", ":"))
            found[(*path, key)] = None  # the item itself, so that one with its keys only is owned too
            _collect(item, (*path, key), keys, found)
    else:
        found[path] = value


def applied(live: dict[str, Any], wanted: dict[str, Any], writer: Writer, keys: KeysOf, force: bool) -> dict[str, Any]:
    """The live object with the wanted fields; raises ApiRefused (409) naming the managers of fields in conflict."""
    status = writer.subresource == "status"
    mine, there = leaves(wanted, keys, status), leaves(live, keys, status)
    owners = _owners(live)
    before = owners.pop(writer, set())
    _refuse_conflicts(owners, mine, there, force)
    kept = set().union(*owners.values()) if owners else set()
    found = deepcopy(live)
    for path in sorted(before - set(mine) - kept, key=len):  # an item of a list before what is in it
        if not any(other[: len(path)] == path for other in kept):
            _remove(found, path)
    found = _laid(found, wanted, (), keys, status)
    for other, paths in owners.items():
        owners[other] = {path for path in paths if path not in mine or there.get(path) == mine[path]}
    owners[writer] = set(mine)
    return with_owners(found, owners)


def _refuse_conflicts(
    owners: Mapping[Writer, set[Path]], mine: Mapping[Path, Any], there: Mapping[Path, Any], force: bool
) -> None:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f'conflict with "{other.name}"',
            "field": "".join(f".{part[2:]}" if part.startswith("f:") else f"[{part[2:]}]" for part in path),
        }
        for other, paths in owners.items()
        for path in sorted(paths)
        if path in mine and path in there and there[path] != mine[path]
    ]
    if causes and not force:
        said = "; ".join(f"{cause['message']}: {cause['field']}" for cause in causes)
        raise ApiRefused(409, f"Apply failed with {len(causes)} conflict(s): {said}", causes=causes)


def updated(before: dict[str, Any] | None, after: dict[str, Any], writer: Writer, keys: KeysOf) -> dict[str, Any]:
    """The object after a plain write: what it changed is the writer's from now on."""
    status = writer.subresource == "status"
    old = leaves(before, keys, status) if before else {}
    new = leaves(after, keys, status)
    changed = {path for path, value in new.items() if path not in old or old[path] != value}
    owners = _owners(before or {})
    gone = set(old) - set(new)
    for other in list(owners):
        owners[other] = owners[other] - gone - (changed if other != writer else set())
    owners[writer] = owners.get(writer, set()) | changed
    return with_owners(after, owners)


def with_owners(value: dict[str, Any], owners: Mapping[Writer, set[Path]]) -> dict[str, Any]:
    """The object with this managedFields; the time of an entry changes only with its fields."""
    known = {_writer(entry): entry for entry in value["metadata"].get("managedFields") or ()}
    entries = []
    for writer, paths in owners.items():
        if not paths:
            continue
        tree = _tree(paths)
        if writer in known and known[writer]["fieldsV1"] == tree:
            entries.append(known[writer])
            continue
        entry = {
            "manager": writer.name,
            "operation": writer.operation,
            "apiVersion": writer.api_version,
            "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "fieldsType": "FieldsV1",
            "fieldsV1": tree,
        }
        entries.append({**entry, "subresource": writer.subresource} if writer.subresource else entry)
    return {**value, "metadata": {**value["metadata"], "managedFields": entries}}


def _owners(value: Mapping[str, Any]) -> dict[Writer, set[Path]]:
    entries = (value.get("metadata") or {}).get("managedFields") or ()
    return {_writer(entry): set(_paths(entry["fieldsV1"])) for entry in entries}


def _writer(entry: Mapping[str, Any]) -> Writer:
    return Writer(entry["manager"], entry["operation"], entry["apiVersion"], entry.get("subresource", ""))


def _tree(paths: set[Path]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path in sorted(paths):
        at = tree
        for part in path:
            at = at.setdefault(part, {})
        if path[-1].startswith("k:"):
            at["."] = {}
    return tree


def _paths(tree: Mapping[str, Any], path: Path = ()) -> list[Path]:
    if not tree:
        return [path]
    return [one for name, inner in tree.items() for one in ([path] if name == "." else _paths(inner, (*path, name)))]


def _laid(live: Any, wanted: Any, path: Path, keys: KeysOf, status: bool = False) -> Any:
    """`wanted` laid over `live`."""
    if isinstance(wanted, dict) and isinstance(live, dict):
        found = dict(live)
        for name, child in wanted.items():
            skipped = (name == "status") != status and name not in ("metadata", "apiVersion", "kind")
            if path or not skipped:
                found[name] = _laid(live.get(name), child, (*path, f"f:{name}"), keys)
        return found
    names = keys(path) if isinstance(wanted, list) and isinstance(live, list) and path else ()
    if not names:
        return deepcopy(wanted)
    found_list = list(live)
    for item in wanted:
        at = next((n for n, one in enumerate(live) if all(one.get(k) == item.get(k) for k in names)), None)
        if at is None:
            found_list.append(deepcopy(item))
        else:
            found_list[at] = _laid(live[at], item, (*path, "k:"), keys)
    return found_list


def _remove(value: Any, path: Path) -> None:
    trail: list[tuple[Any, Any]] = []
    for part in path:
        key = _index(value, part)
        if key is None:
            return
        trail.append((value, key))
        value = value[key]
    parent, key = trail.pop()
    del parent[key]
    for above, name in reversed(trail):  # a map emptied by this goes too
        if above[name] == {} and name not in ("metadata", "spec", "status"):
            del above[name]


def _index(value: Any, part: str) -> Any:
    if part.startswith("f:"):
        return part[2:] if isinstance(value, dict) and part[2:] in value else None
    wanted = json.loads(part[2:])
    if not isinstance(value, list):
        return None
    return next((n for n, one in enumerate(value) if all(one.get(k) == v for k, v in wanted.items())), None)
