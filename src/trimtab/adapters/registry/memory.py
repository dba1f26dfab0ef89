"""A registry in memory: for tests and for trying things out."""

from __future__ import annotations

from trimtab.errors import TrimtabError
from trimtab.ports.registry import RegisteredVersion


class MemoryRegistry:
    """Holds the versions it is given."""

    def __init__(self) -> None:
        self.versions: dict[tuple[str, str], RegisteredVersion] = {}
        self.aliases: dict[tuple[str, str], str] = {}

    def add(self, version: RegisteredVersion) -> None:
        """Register a version."""
        self.versions[(version.name, version.version)] = version

    def version(self, name: str, version: str) -> RegisteredVersion:
        """One version; raises TrimtabError if there is none."""
        try:
            return self.versions[(name, version)]
        except KeyError:
            raise TrimtabError(f"the registry has no version {version} of {name}") from None

    def set_alias(self, name: str, alias: str, version: str | None) -> None:
        """Point the alias at the version, or remove it."""
        if version is None:
            self.aliases.pop((name, alias), None)
            return
        self.version(name, version)
        self.aliases[(name, alias)] = version
