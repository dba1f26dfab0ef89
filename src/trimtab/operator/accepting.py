"""From the object in the cluster to the document, or to what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trimtab.spec.document import ModelLoop
from trimtab.spec.read import check

_METADATA = ("name", "namespace", "labels", "annotations")


@dataclass(frozen=True)
class LoopObject:
    """Which object a loop is. `owner` is the reference that lets its runs go with it."""

    namespace: str
    name: str
    uid: str

    @property
    def owner(self) -> dict[str, Any]:
        """An entry of metadata.ownerReferences."""
        about = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "ModelLoop", "name": self.name, "uid": self.uid}
        return {**about, "controller": True, "blockOwnerDeletion": False}


def object_of(body: Mapping[str, Any]) -> LoopObject:
    """The object's identity."""
    meta = body["metadata"]
    return LoopObject(str(meta["namespace"]), str(meta["name"]), str(meta["uid"]))


def accepted(body: Mapping[str, Any]) -> tuple[ModelLoop | None, tuple[str, ...]]:
    """The document, or None and every problem in a sentence that starts with its path."""
    meta = {key: body["metadata"][key] for key in _METADATA if body["metadata"].get(key)}
    document = {"apiVersion": body.get("apiVersion"), "kind": body.get("kind"), "metadata": meta}
    # Annotations are for tools, kubectl's copy of the whole document among them.
    meta.pop("annotations", None)
    loop, problems = check(json.dumps({**document, "spec": body.get("spec")}).encode())
    # Lines and columns are of a text that nobody wrote.
    return loop, tuple(problem.text("").partition("  ")[2] for problem in problems)
