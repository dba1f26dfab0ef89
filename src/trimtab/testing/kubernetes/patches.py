"""Merge, JSON and (by the names of lists) strategic merge patches."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from trimtab.testing.kubernetes.refusal import ApiRefused

# Lists of the built-in kinds that are maps: the keys that name an item.
LIST_KEYS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "imagePullSecrets": ("name",),
    "volumeMounts": ("mountPath",),
    "conditions": ("type",),
    "ownerReferences": ("uid",),
}


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, Mapping):
        return deepcopy(patch)
    found = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), value)
    return found


def strategic(target: Any, patch: Any, name: str = "") -> Any:
    """As merge, but lists that are maps are merged by their keys; `$patch: delete` and `replace` are obeyed."""
    if isinstance(patch, list) and name in LIST_KEYS and isinstance(target, list):
        return _strategic_list(target, patch, LIST_KEYS[name])
    if not isinstance(patch, Mapping):
        return deepcopy(patch)
    if patch.get("$patch") == "replace":
        return {key: deepcopy(value) for key, value in patch.items() if key != "$patch"}
    found = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        if value is None:
            found.pop(key, None)
        else:
            found[key] = strategic(found.get(key), value, key)
    return found


def _strategic_list(target: list[Any], patch: list[Any], keys: Sequence[str]) -> list[Any]:
    found = list(target)
    for item in patch:
        place = next((at for at, one in enumerate(found) if all(one.get(key) == item.get(key) for key in keys)), None)
        if item.get("$patch") == "delete":
            if place is not None:
                del found[place]
        elif place is None:
            found.append(deepcopy(item))
        else:
            found[place] = strategic(found[place], item)
    return found


def json_patched(target: Any, steps: Sequence[Mapping[str, Any]]) -> Any:
    """RFC 6902; raises ApiRefused where a step cannot be made."""
    found = {"": deepcopy(target)}  # the whole document is one key, so that every path has a parent
    for step in steps:
        try:
            _json_step(found, step)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise ApiRefused(422, f"the server rejected our request: {json.dumps(step)}: {error!r}") from error
    return found[""]


def _json_step(document: Any, step: Mapping[str, Any]) -> None:
    word = step["op"]
    if word in ("add", "replace", "test"):
        value = deepcopy(step["value"])
    elif word in ("move", "copy"):
        parent, last = _place(document, step["from"])
        value = deepcopy(parent[last])
        if word == "move":
            del parent[last]
    elif word != "remove":
        raise ValueError(f"unknown operation {word}")
    parent, last = _place(document, step["path"])
    if word == "test":
        if parent[last] != value:
            raise ValueError("test failed")
    elif word == "remove":
        del parent[last]
    elif isinstance(parent, list) and word != "replace":
        parent.insert(last, value)
    else:
        if word == "replace":
            parent[last]  # it must be there
        parent[last] = value


def _place(document: Any, pointer: str) -> tuple[Any, Any]:
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")]
    found = document
    for part in parts[:-1]:
        found = found[_key(found, part)]
    return found, _key(found, parts[-1])


def _key(parent: Any, part: str) -> Any:
    if not isinstance(parent, list):
        return part
    return len(parent) if part == "-" else int(part)
