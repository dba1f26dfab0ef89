"""Read a compiled pipeline from its YAML: a PipelineSpec, and a PlatformSpec as a second document if there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trimtab.engine import decode, ir, support
from trimtab.errors import PipelineRefused

MOST_BYTES = 64 * 1024 * 1024
_MOST_DEPTH = 100


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A safe loader that leaves dates as the text they are: the IR is JSON, which has none."""


_Loader.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.construct_yaml_str)


@dataclass(frozen=True)
class Loaded:
    """A pipeline that can be run here, the bytes it came from, and what of it has no effect here."""

    pipeline: ir.Pipeline
    source: bytes
    notes: tuple[str, ...]


def load(path: Path) -> Loaded:
    """Read and check; raises PipelineRefused with every reason at once."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise PipelineRefused(f"{path}: larger than {MOST_BYTES >> 20} MB, which no compiled pipeline is")
        source = path.read_bytes()
    except OSError as error:
        raise PipelineRefused(f"{path}: {error.strerror or error}. Give the YAML that kfp's compiler wrote") from error
    document, platform = _documents(path, source)
    found = support.problems(document, platform)
    if found:
        raise PipelineRefused(f"{path}: " + "; ".join(found))
    try:
        loaded = decode.pipeline(document, platform)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PipelineRefused(f"{path}: no compiled KFP pipeline: {type(error).__name__} {error}") from error
    return Loaded(loaded, source, tuple(support.notes(document, platform)))


def _check_shape(text: str) -> None:
    """Raise YAMLError for nesting that overflows the C parser's stack, and for aliases, which can grow without end."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(f"aliases (*{event.anchor}) are not read")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MOST_DEPTH:
            raise yaml.YAMLError(f"nested more than {_MOST_DEPTH} levels deep")


def _documents(path: Path, source: bytes) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    try:
        _check_shape(source.decode())
        found = [one for one in yaml.load_all(source.decode(), Loader=_Loader) if one is not None]
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise PipelineRefused(f"{path}: no YAML: {str(error)[:300]}") from error
    if not found or not all(isinstance(one, dict) for one in found):
        raise PipelineRefused(f"{path}: no compiled KFP pipeline: make one with kfp's compiler")
    platform: Mapping[str, Any] = {}
    if len(found) == 2 and "platforms" in found[1]:
        found, platform = found[:1], found[1]
    if len(found) != 1:
        raise PipelineRefused(f"{path}: {len(found)} documents, expected a PipelineSpec and at most a PlatformSpec")
    document = found[0]
    if "apiVersion" in document or "kind" in document:
        kind = document.get("kind", "?")
        raise PipelineRefused(
            f"{path}: a Kubernetes manifest ({kind}), not a PipelineSpec: compile without kubernetes_manifest_format"
        )
    return document, platform
