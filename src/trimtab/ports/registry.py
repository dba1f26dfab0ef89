"""The model registry as the loop sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class RegisteredVersion:
    """A version with what vouches for it: digest of its bundle, evidence of its hold-out.

    `bundle` is a folder here; `uri` is where the registry's store keeps it, "" if nobody else can find it.
    """

    name: str
    version: str
    digest: str
    bundle: Path
    evidence: Mapping[str, Any] = field(default_factory=dict)
    uri: str = ""


class Registry(Protocol):
    """Versions and aliases."""

    def version(self, name: str, version: str) -> RegisteredVersion:
        """One version; raises TrimtabError if there is none."""
        ...

    def set_alias(self, name: str, alias: str, version: str | None) -> None:
        """Point the alias (`champion`, `challenger`) at the version, or remove it."""
        ...
