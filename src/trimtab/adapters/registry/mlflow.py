"""The registry in MLflow (SQLite on one machine, a server on a cluster)."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from trimtab.errors import ArtifactCorrupt, TrimtabError
from trimtab.ports.registry import RegisteredVersion
from trimtab.stages.bundle import verify
from trimtab.stages.objects import store_errors
from trimtab.stages.register import DIGEST_TAG, connect

if TYPE_CHECKING:
    from mlflow import MlflowClient


class MlflowRegistry:
    """Reads versions and moves aliases. `cache`: where bundles are brought to when the store is no local folder."""

    def __init__(self, tracking_uri: str, cache: Path) -> None:
        self._uri = tracking_uri
        self._cache = cache
        self._connected: MlflowClient | None = None
        self._checked: set[str] = set()

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
        return RegisteredVersion(name, str(found.version), digest, self._bundle(str(found.source), digest), evidence)

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

    def _bundle(self, source: str, digest: str) -> Path:
        parsed = urlparse(source)
        if parsed.scheme == "file":
            return Path(unquote(parsed.path))
        if "://" not in source:
            return Path(source)  # a path is no URL: what looks like an escape or a fragment belongs to its name
        folder = self._cache / digest.replace(":", "-")
        if digest not in self._checked and not _is_whole(folder, digest):
            self._download(source, folder, digest)
        self._checked.add(digest)  # whoever loads it checks it again; here it is done once a process
        return folder

    def _download(self, source: str, folder: Path, digest: str) -> None:
        """In one rename and checked before it: what was broken off or changed in the store is never kept."""
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        failures: tuple[type[Exception], ...] = (MlflowException, *store_errors())
        self._cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".bundle-", dir=self._cache) as made:
            try:
                found = Path(download_artifacts(artifact_uri=source, dst_path=made, tracking_uri=self._uri))
            except failures as error:
                raise TrimtabError(f"the bundle at {source} could not be brought here: {error}") from error
            try:
                verify(found, digest)
            except ArtifactCorrupt as error:
                raise ArtifactCorrupt(f"what is stored at {source} is not what was registered: {error}") from error
            with contextlib.suppress(OSError):
                folder.rename(Path(made) / "damaged")  # what was here before, if anything was
            with contextlib.suppress(OSError):  # somebody else brought it at the same moment
                found.rename(folder)
        if not folder.is_dir():
            raise TrimtabError(f"{folder} cannot be made. Give a cache folder that can be written")


def _is_whole(folder: Path, digest: str) -> bool:
    try:
        verify(folder, digest)
    except ArtifactCorrupt:
        return False
    return True
