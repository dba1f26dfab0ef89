"""The registry in MLflow (SQLite on one machine, a server on a cluster)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trimtab.adapters.registry.bundles import Bundles, place_of
from trimtab.adapters.registry.mlflow_stores import STORES, OpenStores
from trimtab.errors import TrimtabError
from trimtab.ports.registry import RegisteredVersion
from trimtab.stages.register import DIGEST_TAG


class MlflowRegistry:
    """Reads versions and moves aliases. `cache`: where bundles are brought to when the store is no local folder."""

    def __init__(self, tracking_uri: str, cache: Path, stores: OpenStores = STORES) -> None:
        self._uri, self._stores = tracking_uri, stores
        self._bundles = Bundles(cache, tracking_uri)

    def version(self, name: str, version: str) -> RegisteredVersion:
        """One version with its bundle in a local folder; raises TrimtabError if there is none."""
        with self._stores.opened(self._uri) as registry:
            from mlflow.exceptions import MlflowException

            try:
                found = registry.get_model_version(name, version)
            except MlflowException as error:
                raise TrimtabError(f"the registry has no version {version} of {name}: {error.message}") from error
        digest = found.tags.get(DIGEST_TAG)
        if digest is None:
            raise TrimtabError(
                f"version {version} of {name} has no digest: trimtab did not register it, and will not load it"
            )
        evidence: dict[str, Any] = json.loads(found.tags.get("trimtab.evidence", "{}"))
        source = str(found.source)
        folder = self._bundles.local(source, digest)
        return RegisteredVersion(name, str(found.version), digest, folder, evidence, _uri(source))

    def set_alias(self, name: str, alias: str, version: str | None) -> None:
        """Point the alias at the version, or remove it; a model that is not registered has none."""
        with self._stores.opened(self._uri) as registry:
            from mlflow.exceptions import MlflowException

            try:
                if version is None:
                    registry.delete_registered_model_alias(name, alias)
                else:
                    registry.set_registered_model_alias(name, alias, version)
            except MlflowException as error:
                if version is None and error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return
                said = f"alias {alias} of {name} could not be moved to {version}: {error.message}"
                raise TrimtabError(said) from error


def _uri(source: str) -> str:
    return source if place_of(source) is None or source.startswith("file:") else Path(source).absolute().as_uri()
