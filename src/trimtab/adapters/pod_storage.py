"""Where pods that do not share the operator's folders find a bundle: a URI for KServe's storage initializer."""

from __future__ import annotations

from pathlib import Path

from trimtab.errors import TrimtabError

# As far as KServe 0.20 knows them (python/storage/kserve_storage) and MLflow keeps artifacts there.
_STORES = ("s3://", "gs://", "https://", "hdfs://", "webhdfs://")


def storage_uri(version: str, bundle: Path, uri: str, root: Path, root_uri: str) -> str:
    """The bundle's own `uri` where that is an object store's, else its place below `root`, which pods call `root_uri`.

    With `pvc://` pods see the folder itself, and need no right to the store. Raises TrimtabError for a bundle that is
    in neither.
    """
    if uri.startswith(_STORES) and not root_uri.startswith("pvc://"):
        return uri
    try:
        inside = bundle.relative_to(root)
    except ValueError as error:
        raise TrimtabError(
            f"the bundle of version {version} is at {bundle}, where no pod finds it: it is not below {root}, which is "
            f"{root_uri} to pods. Keep artifacts in an object store, or below {root}"
        ) from error
    return f"{root_uri.rstrip('/')}/{inside.as_posix()}"
