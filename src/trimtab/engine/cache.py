"""Results that need not be computed again: of this run when it is resumed, and of any run with the same inputs.

A stored result counts only while its artifacts are still what they were: each is read and compared with its digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from trimtab.engine import ir
from trimtab.engine.executors import python_program
from trimtab.engine.values import Artifact, Values, digest_of, from_json
from trimtab.engine.versions import versions_of
from trimtab.ports.runs import RunStore, TaskRecord


def key(pipeline: ir.Pipeline, component: ir.Component, task: ir.Task, inputs: Values) -> str:
    """What the result depends on: interface, code and the libraries it runs on, image, environment, parameters, and
    the content of artifacts.

    A key that the author set (`set_caching_options(cache_key=...)`) replaces the inputs, as on a cluster.
    """
    container = pipeline.executors[component.executor].get("container", {})
    parts: dict[str, Any] = {
        "code": {name: container.get(name) for name in ("image", "command", "args", "env")},
        "versions": versions_of(python_program(container).source),
        "outputs": {
            "parameters": {name: spec.type for name, spec in component.outputs.parameters.items()},
            "artifacts": {name: [spec.title, spec.version] for name, spec in component.outputs.artifacts.items()},
        },
    }
    if task.cache_key:
        parts["key"] = task.cache_key
    else:
        parts["parameters"] = dict(inputs.parameters)
        parts["artifacts"] = {name: [_content(one) for one in many] for name, many in inputs.artifacts.items()}
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _content(artifact: Artifact) -> list[Any]:
    content = artifact.digest or artifact.uri  # what has no bytes here is known by its address
    return [artifact.title, artifact.version, dict(artifact.metadata), content]


def lookup(store: RunStore, cache_key: str, component: ir.Component) -> tuple[Values, TaskRecord] | None:
    """The outputs of the newest task with this key, if they are all still there and unchanged."""
    record = store.cached(cache_key)
    values = None if record is None else _intact(record, component)
    return None if record is None or values is None else (values, record)


def reusable(record: TaskRecord, component: ir.Component, inputs: Mapping[str, Any]) -> Values | None:
    """The outputs of a task of the run being resumed, if it succeeded on these very inputs and its files are intact."""
    if record.state not in {"SUCCEEDED", "CACHED"} or _json(record.inputs) != _json(inputs):
        return None
    return _intact(record, component)


def _intact(record: TaskRecord, component: ir.Component) -> Values | None:
    try:
        values = from_json(record.outputs, component.outputs)
    except (KeyError, TypeError, AttributeError):
        return None
    whole = all(digest_of(one.uri) == one.digest for many in values.artifacts.values() for one in many)
    return values if whole and set(component.outputs.artifacts) <= set(values.artifacts) else None


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
