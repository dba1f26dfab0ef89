"""The registry in MLflow (SQLite on one machine, a server on a cluster)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.adapters.registry.bundles import Bundles, place_of
from trimtab.errors import TrimtabError
from trimtab.ports.registry import RegisteredVersion
from trimtab.stages.register import DIGEST_TAG, connect

if TYPE_CHECKING:
    from mlflow import MlflowClient


class MlflowRegistry:
    """Reads versions and moves aliases. `cache`: where bundles are brought to when the store is no local folder."""

    def __init__(self, tracking_uri: str, cache: Path) -> None:
        self._uri = tracking_uri
        self._bundles = Bundles(cache, tracking_uri)
        self._connected: MlflowClient | None = None

    def version(self, name: str, version: str) -> RegisteredVersion:
        """One version with its bundle in a local folder; raises TrimtabError if there is none."""
        from mlflow.exceptions import MlflowException

        try:
            found = self._client().get_model_version(name, version)
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
        from mlflow.exceptions import MlflowException

        try:
            if version is None:
                self._client().delete_registered_model_alias(name, alias)
            else:
                self._client().set_registered_model_alias(name, alias, version)
        except MlflowException as error:
            if version is None and error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return
            raise TrimtabError(f"alias {alias} of {name} could not be moved to {version}: {error.message}") from error

    def _client(self) -> MlflowClient:
        if self._connected is None:
            self._connected = connect(self._uri)
        return self._connected


def _uri(source: str) -> str:
    return source if place_of(source) is None or source.startswith("file:") else Path(source).absolute().as_uri()
