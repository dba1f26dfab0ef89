"""What flows between tasks: parameters by name, and artifacts as lists (one element unless collected)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trimtab.engine import ir

MOST_READ_BYTES = 1 << 30  # of an artifact; a larger one is known by the times of its files
_LOCAL = "file://"


@dataclass(frozen=True)
class Artifact:
    """One artifact. `digest` is that of its bytes when it was made: "" where it has no file here."""

    name: str
    uri: str
    title: str
    version: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""

    def to_json(self) -> dict[str, Any]:
        """For the record of a run."""
        return {
            "name": self.name,
            "uri": self.uri,
            "type": self.title,
            "version": self.version,
            "metadata": dict(self.metadata),
            "digest": self.digest,
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Artifact:
        """Out of the record of a run."""
        return cls(
            name=told["name"],
            uri=told["uri"],
            title=told["type"],
            version=told["version"],
            metadata=told["metadata"],
            digest=told["digest"],
        )

    def runtime(self) -> dict[str, Any]:
        """As a RuntimeArtifact of kfp's executor input."""
        kind = {"schemaTitle": self.title, "schemaVersion": self.version}
        return {"name": self.name, "uri": self.uri, "type": kind, "metadata": dict(self.metadata)}


@dataclass(frozen=True)
class Values:
    """Inputs or outputs of a component; a name that is absent has no value."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    artifacts: Mapping[str, tuple[Artifact, ...]] = field(default_factory=dict)

    def to_json(self, interface: ir.Interface | None = None) -> dict[str, Any]:
        """Parameters as they are, an artifact as an object, a list of artifacts as a list."""
        told: dict[str, Any] = dict(self.parameters)
        for name, artifacts in self.artifacts.items():
            spec = interface.artifacts.get(name) if interface else None
            single = len(artifacts) == 1 and not (spec and spec.is_list)
            told[name] = artifacts[0].to_json() if single else [one.to_json() for one in artifacts]
        return told


def from_json(told: Mapping[str, Any], interface: ir.Interface) -> Values:
    """The inverse of `Values.to_json` for outputs of this interface; raises KeyError or TypeError on other shapes."""
    artifacts = {}
    for name in set(told) & set(interface.artifacts):
        many = told[name] if isinstance(told[name], list) else [told[name]]
        artifacts[name] = tuple(Artifact.from_json(one) for one in many)
    return Values({name: value for name, value in told.items() if name in interface.parameters}, artifacts)


def local_path(uri: str) -> Path | None:
    """The path that a URI means on this machine; None for one that is elsewhere."""
    if uri.startswith(_LOCAL):
        return Path(uri.removeprefix(_LOCAL))
    return Path(uri) if uri.startswith("/") else None


def digest_of(uri: str) -> str:
    """SHA-256 over the bytes of a file, or over names and bytes of a folder; "" where there is nothing here.

    Over more than `MOST_READ_BYTES` it is taken of names, sizes and times of change, and begins with `stat:`.
    """
    path = local_path(uri)
    if path is None or not path.exists():
        return ""
    files = [(path, "")] if path.is_file() else sorted(_files(path), key=lambda one: one[1])
    stats = [file.stat() if file.exists() else file.lstat() for file, _ in files]
    large = sum(one.st_size for one in stats) > MOST_READ_BYTES
    whole = hashlib.sha256()
    for (file, name), told in zip(files, stats, strict=True):
        whole.update(f"{name}\0".encode(errors="surrogateescape"))
        if large:
            whole.update(f"{told.st_size} {told.st_mtime_ns}\0".encode())
        elif file.is_file():  # no sockets, pipes or dangling links
            with file.open("rb") as stream:
                whole.update(hashlib.file_digest(stream, "sha256").digest())
    return f"{'stat' if large else 'sha256'}:{whole.hexdigest()}"


def _files(folder: Path) -> Iterator[tuple[Path, str]]:
    for inner, _, names in os.walk(folder):
        for name in names:
            file = Path(inner) / name
            yield file, str(file.relative_to(folder))
