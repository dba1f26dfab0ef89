"""The test API server with CRDs as their projects publish them, and their CEL rules."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trimtab.testing.kubernetes.schema import defaulted, problems, pruned
from trimtab.testing.kubernetes.server import KubernetesApi

try:
    import cel
except ImportError:
    cel = None  # the schema alone is judged then

_FOLDER = Path(__file__).parent / "published"
HTTP_ROUTES = "httproutes.gateway.networking.k8s.io"
INFERENCE_SERVICES = "inferenceservices.serving.kserve.io"


def definition(name: str) -> dict[str, Any]:
    """One CRD."""
    return dict(json.loads(gzip.decompress((_FOLDER / f"{name}.json.gz").read_bytes())))


def schema_of(name: str) -> dict[str, Any]:
    """The structural schema of its stored version."""
    return dict(definition(name)["spec"]["versions"][0]["schema"]["openAPIV3Schema"])


def with_definitions(api: KubernetesApi, *names: str) -> KubernetesApi:
    """The server knows these kinds, and has the namespace `shop`."""
    api.request("POST", "/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": "shop"}})
    for name in names:
        api.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition(name))
    return api


def broken(body: Mapping[str, Any], name: str) -> list[str]:
    """Everything a server would have against the object: unknown fields, wrong values, CEL rules."""
    schema = schema_of(name)
    lost: list[str] = []
    ready = defaulted(pruned(dict(body), {**schema, "x-kubernetes-embedded-resource": True}, "", lost), schema)
    found = [f"{path}: unknown field" for path in lost]
    found += [f"{path}: {message}" for path, message in problems(ready, schema)]
    return [*found, *_rules(ready, schema)]


def _rules(value: Any, schema: Mapping[str, Any]) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations") or ():
        if cel is not None and not cel.evaluate(rule["rule"], cel.Context(variables={"self": value})):
            yield rule["message"]
    if isinstance(value, Mapping):
        for key, inner in (schema.get("properties") or {}).items():
            if key in value:
                yield from _rules(value[key], inner)
    if isinstance(value, list):
        for one in value:
            yield from _rules(one, schema.get("items") or {})
