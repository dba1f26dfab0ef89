"""The registry in Kubeflow Model Registry (now kubeflow/hub), by its REST API v1alpha3.

Paths and fields are those of api/openapi/model-registry.yaml; what it does not say (that PATCH replaces all custom
properties, that names are searched with LIKE) is read from the server's source. Its Python client is not used: it is
asynchronous inside, patches the event loop and waits long for a server that is away.

It knows models, their versions and a version's artifacts, but neither digests nor evidence nor aliases. The first two
are custom properties of the version, an alias is one of the registered model: `trimtab.alias.champion: "3"`. As nothing
there has a revision, a property that a person adds in the very moment of an alias' move can be lost.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trimtab.adapters.json_api import ApiError, Json, JsonApi
from trimtab.adapters.registry.bundles import Bundles
from trimtab.errors import TrimtabError
from trimtab.ports.registry import RegisteredVersion

DIGEST, EVIDENCE, ALIAS = "trimtab.digest", "trimtab.evidence", "trimtab.alias."
BUNDLE = "bundle"  # the artifact's name
_LONGEST = 2000  # an older registry on PostgreSQL indexes whole values, which may have 2704 bytes


class ModelRegistryClient(JsonApi):
    """`token_file` is read at each call. A registry that is away is given up soon: nothing waits for it."""

    who, product = "Kubeflow Model Registry", "a Kubeflow Model Registry"
    advice = "Give a file with a token that it takes in TRIMTAB_MODEL_REGISTRY_TOKEN_FILE"

    def __init__(self, url: str, token_file: Path | None = None, timeout_seconds: float = 5.0) -> None:
        super().__init__(f"{url.rstrip('/')}/api/model_registry/v1alpha3", token_file, timeout_seconds)


class KubeflowRegistry:
    """Versions that `publish` made there, and aliases."""

    def __init__(self, client: ModelRegistryClient, bundles: Bundles) -> None:
        self._client, self._bundles = client, bundles

    def version(self, name: str, version: str) -> RegisteredVersion:
        """One version with its bundle in a local folder; raises TrimtabError if there is none."""
        found = self._there(name, version)[1]
        properties = _properties(found)
        if DIGEST not in properties:
            raise TrimtabError(
                f"version {version} of {name} has no digest: trimtab did not publish it, and will not load it"
            )
        artifact = self._find("model_artifact", BUNDLE, str(found["id"]))
        if artifact is None or not artifact.get("uri"):
            raise TrimtabError(f"version {version} of {name} has no bundle in the registry: publish it again")
        try:
            evidence = dict(json.loads("".join(_parts(properties)) or "{}"))
        except ValueError as error:
            raise TrimtabError(f"somebody changed the evidence of version {version} of {name}: {error}") from error
        digest, uri = properties[DIGEST], str(artifact["uri"])
        return RegisteredVersion(name, version, digest, self._bundles.local(uri, digest), evidence, uri)

    def set_alias(self, name: str, alias: str, version: str | None) -> None:
        """Point the alias at the version, or remove it; a model that is not registered has none."""
        model = self._there(name, version)[0] if version is not None else self._find("registered_model", name)
        if model is None:
            return
        key, before = f"{ALIAS}{alias}", _properties(model).get(f"{ALIAS}{alias}")
        if before == version:
            return
        wanted = {one: value for one, value in (model.get("customProperties") or {}).items() if one != key}
        if version is not None:
            wanted[key] = _text(version)
        answer = self._client.patch(f"registered_models/{model['id']}", {"customProperties": wanted})
        if _properties(answer).get(key) != version:
            raise TrimtabError(f"alias {alias} of {name} was not moved to {version}, though the registry says nothing")

    def publish(self, found: RegisteredVersion) -> None:
        """Let the registry show this version; again changes nothing. Raises TrimtabError, also for other bytes."""
        about = {"state": "LIVE", "description": f"Kept on course by trimtab: the loop {found.name}."}
        model = self._made(
            lambda: self._find("registered_model", found.name),
            "registered_models",
            {"name": found.name, **about, "customProperties": {"trimtab.loop": _text(found.name)}},
        )
        parent = str(model["id"])
        version = self._made(
            lambda: self._find("model_version", found.version, parent),
            "model_versions",
            {
                "name": found.version,
                "registeredModelId": parent,
                "state": "LIVE",
                "customProperties": _evidence(found),
            },
        )
        digest = _properties(version).get(DIGEST)
        if digest != found.digest:
            raise TrimtabError(
                f"version {found.version} of {found.name} is in Kubeflow Model Registry with another digest "
                f"({digest or 'none'}, not {found.digest}): another loop or a person took the name. Rename one"
            )
        self._made(
            lambda: self._find("model_artifact", BUNDLE, str(version["id"])),
            f"model_versions/{version['id']}/artifacts",
            {
                "artifactType": "model-artifact",
                "name": BUNDLE,
                "state": "LIVE",
                "uri": found.uri or found.bundle.absolute().as_uri(),
                "customProperties": {DIGEST: _text(found.digest)},
            },
        )

    def _there(self, name: str, version: str) -> tuple[Json, Json]:
        """Model and version; raises TrimtabError."""
        model = self._find("registered_model", name)
        found = self._find("model_version", version, str(model["id"])) if model is not None else None
        if model is None or found is None:
            raise TrimtabError(f"the registry has no version {version} of {name}")
        return model, found

    def _find(self, kind: str, name: str, parent: str = "") -> Json | None:
        if not name:
            return None
        found = self._client.get(kind, {"name": name, **({"parentResourceId": parent} if parent else {})})
        return found if found is not None and found.get("name") == name else None  # % and _ match others too

    def _made(self, find: Callable[[], Json | None], path: str, body: Json) -> Json:
        """What is there, or is made now; somebody else may make it in the same moment."""
        found = find()
        if found is None:
            try:
                found = self._client.post(path, body)
            except ApiError as error:
                found = find() if error.code == 409 else None
                if found is None:
                    raise
        return found


def _evidence(found: RegisteredVersion) -> Json:
    """All of it to read back, and what people look for under its own name: the dashboard lists texts and numbers."""
    text = json.dumps(dict(found.evidence))
    made = {DIGEST: _text(found.digest)}
    for number, start in enumerate(range(0, len(text), _LONGEST)):
        made[f"{EVIDENCE}.{number}" if number else EVIDENCE] = _text(text[start : start + _LONGEST])
    if found.evidence.get("verdict"):
        made["trimtab.verdict"] = _text(str(found.evidence["verdict"]))
    for name, one in (found.evidence.get("metrics") or {}).items():
        value = one.get("value") if isinstance(one, Mapping) else one
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            made[f"metric.{name}"] = {"metadataType": "MetadataDoubleValue", "double_value": float(value)}
    return made


def _parts(properties: Mapping[str, str]) -> list[str]:
    found = [EVIDENCE, *(f"{EVIDENCE}.{number}" for number in range(1, len(properties)))]
    return [properties[name] for name in found if name in properties]


def _text(value: str) -> Json:
    return {"metadataType": "MetadataStringValue", "string_value": value}


def _properties(found: Mapping[str, Any]) -> dict[str, str]:
    """The custom properties that are texts."""
    given: Mapping[str, Any] = found.get("customProperties") or {}
    return {name: str(one["string_value"]) for name, one in given.items() if "string_value" in one}
