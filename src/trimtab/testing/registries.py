"""What every registry must do; subclass it and give a `registry` fixture and `versions`: two versions of one model."""

from __future__ import annotations

from typing import Any

import pytest

from trimtab.errors import TrimtabError
from trimtab.ports.registry import RegisteredVersion


class RegistrySuite:
    """Versions as they were registered; an alias points at one of them or at none."""

    def alias(self, registry: Any, name: str, alias: str) -> str | None:
        """Where the alias points: outside the port, so each adapter's test says how to see it."""
        raise NotImplementedError

    def test_a_version_comes_back_with_digest_bundle_and_evidence(
        self, registry: Any, versions: list[RegisteredVersion]
    ) -> None:
        for wanted in versions:
            found = registry.version(wanted.name, wanted.version)
            assert (found.name, found.version, found.digest) == (wanted.name, wanted.version, wanted.digest)
            assert found.evidence == wanted.evidence

    @pytest.mark.parametrize("version", ["999", "0", "-1", "champion", ""])
    def test_a_version_that_is_not_there_is_told(
        self, registry: Any, versions: list[RegisteredVersion], version: str
    ) -> None:
        with pytest.raises(TrimtabError, match="the registry has no version"):
            registry.version(versions[0].name, version)
        with pytest.raises(TrimtabError, match="the registry has no version"):
            registry.version("nobody", "1")

    def test_an_alias_moves_and_is_removed_and_that_again_does_no_harm(
        self, registry: Any, versions: list[RegisteredVersion]
    ) -> None:
        first, second = versions
        for _ in range(2):
            registry.set_alias(first.name, "champion", first.version)
            assert self.alias(registry, first.name, "champion") == first.version
        registry.set_alias(first.name, "challenger", second.version)
        registry.set_alias(first.name, "champion", second.version)
        assert self.alias(registry, first.name, "champion") == second.version
        for _ in range(2):
            registry.set_alias(first.name, "champion", None)
            assert self.alias(registry, first.name, "champion") is None
        assert self.alias(registry, first.name, "challenger") == second.version

    def test_an_alias_of_what_is_not_there(self, registry: Any, versions: list[RegisteredVersion]) -> None:
        registry.set_alias("nobody", "champion", None)
        for name, version in (("nobody", "1"), (versions[0].name, "999")):
            with pytest.raises(TrimtabError):
                registry.set_alias(name, "champion", version)
            assert self.alias(registry, name, "champion") != version
