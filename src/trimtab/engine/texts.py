"""What the texts of a pipeline name that is not on this machine: URIs of importers, placeholders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trimtab.engine.placeholders import unsupported

_REMOTE = ("gs://", "s3://", "minio://", "oci://", "http://", "https://", "hf://", "huggingface://")


def placeholders(who: str, value: Any) -> Iterator[str]:
    """A problem for each placeholder that means nothing here."""
    for found in dict.fromkeys(unsupported(value)):
        yield f"{who}: the placeholder {found} has no meaning here"


def importer(label: str, told: Mapping[str, Any]) -> Iterator[str]:
    """Problems of an importer's executor."""
    who = f"executor {label}"
    uri = told.get("artifactUri", {}).get("constant")
    if isinstance(uri, str):
        yield from elsewhere(who, uri)
    yield from placeholders(who, [uri, told.get("metadata")])
    if told.get("downloadToWorkspace"):
        yield f"{who}: downloadToWorkspace is not supported here: the task reads the imported path itself"


def imported(who: str, task: Mapping[str, Any]) -> Iterator[str]:
    """Problems of a task that imports a constant URI."""
    uri = task.get("inputs", {}).get("parameters", {}).get("uri", {}).get("runtimeValue", {}).get("constant")
    if isinstance(uri, str):
        yield from elsewhere(who, uri)


def elsewhere(who: str, uri: str) -> Iterator[str]:
    """A problem if the URI is on another machine, or counts from a folder that only its author knows."""
    if uri.startswith(_REMOTE) or ("://" in uri and not uri.startswith("file://")):
        yield f"{who}: {uri[:80]} is not on this machine: download it and import the local path instead"
    elif uri and not uri.startswith(("/", "file:///", "{{$")):
        yield f"{who}: {uri[:80]} is a relative path: an importer needs an absolute one, such as {Path.cwd() / uri}"


def missing(who: str, uri: str) -> Iterator[str]:
    """A problem if there is nothing at a URI of this machine."""
    path = Path(uri.removeprefix("file://"))
    if path.is_absolute() and "{{$" not in uri and not path.exists():
        yield f"{who}: {uri[:80]} is not there: the importer needs an existing file or folder"
