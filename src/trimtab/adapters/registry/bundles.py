"""Bundles that a registry names by a URI, in a local folder: brought once, checked before they are kept."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlparse

from trimtab.errors import ArtifactCorrupt, TrimtabError
from trimtab.stages.bundle import verify
from trimtab.stages.objects import store_errors


class Bundles:
    """`cache`: where those of other machines are kept. MLflow, which knows many stores, brings them."""

    def __init__(self, cache: Path, tracking_uri: str = "") -> None:
        """`tracking_uri` is that of the MLflow server whose own store (`mlflow-artifacts:`) a URI may name."""
        self._cache, self._tracking_uri = cache, tracking_uri
        self._checked: set[str] = set()

    def local(self, uri: str, digest: str) -> Path:
        """The bundle's folder; raises ArtifactCorrupt if the digest does not vouch for what came, and TrimtabError."""
        here = place_of(uri)
        if here is not None:
            return here
        folder = self._cache / digest.replace(":", "-")
        if digest not in self._checked and not _is_whole(folder, digest):
            self._download(uri, folder, digest)
        self._checked.add(digest)  # whoever loads it checks it again; here it is done once a process
        return folder

    def _download(self, uri: str, folder: Path, digest: str) -> None:
        """In one rename and checked before it: what was broken off or changed in the store is never kept."""
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        failures: tuple[type[Exception], ...] = (MlflowException, *store_errors())
        self._cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".bundle-", dir=self._cache) as made:
            try:
                found = Path(
                    download_artifacts(artifact_uri=uri, dst_path=made, tracking_uri=self._tracking_uri or None)
                )
            except failures as error:
                raise TrimtabError(f"the bundle at {uri} could not be brought here: {error}") from error
            try:
                verify(found, digest)
            except ArtifactCorrupt as error:
                raise ArtifactCorrupt(f"what is stored at {uri} is not what was registered: {error}") from error
            with contextlib.suppress(OSError):
                folder.rename(Path(made) / "damaged")  # what was here before, if anything was
            with contextlib.suppress(OSError):  # somebody else brought it at the same moment
                found.rename(folder)
        if not folder.is_dir():
            raise TrimtabError(f"{folder} cannot be made. Give a cache folder that can be written")


def place_of(uri: str) -> Path | None:
    """The folder that a file: URI or a path names; None for what is elsewhere."""
    parsed = urlparse(uri)
    if parsed.scheme == "file":
        return Path(unquote(parsed.path))
    if "://" in uri or uri.startswith("mlflow-artifacts:/"):
        return None
    return Path(uri)  # a path is no URL: what looks like an escape or a fragment belongs to its name


def _is_whole(folder: Path, digest: str) -> bool:
    try:
        verify(folder, digest)
    except ArtifactCorrupt:
        return False
    return True
