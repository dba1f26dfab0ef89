"""What one process serves, whatever its runtime: a version's bundle, its digest, and where its log is kept.

It goes to the runtime's own process in environment variables: they reach a worker however many processes stand between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trimtab.errors import Refused, TrimtabError
from trimtab.stages import bundle
from trimtab.stages.bundle import Predictor

_PREFIX = "TRIMTAB_"
_NEEDED = ("NAME", "VERSION", "BUNDLE", "DIGEST")


@dataclass(frozen=True)
class Served:
    """`log_dir` None keeps no log of predictions; `when_full`: refuse, or serve without a record."""

    name: str
    version: str
    bundle: Path
    digest: str
    log_dir: Path | None
    max_rows: int = 1000
    log_scores: bool = True
    when_full: str = "refuse"
    virtual_time: bool = False

    def to_environment(self) -> dict[str, str]:
        """The variables from which `from_environment` makes the same again."""
        found = {
            "NAME": self.name,
            "VERSION": self.version,
            "BUNDLE": str(self.bundle.absolute()),
            "DIGEST": self.digest,
            "LOG_DIR": str(self.log_dir.absolute()) if self.log_dir else "",
            "MAX_ROWS": str(self.max_rows),
            "LOG_SCORES": str(int(self.log_scores)),
            "WHEN_FULL": self.when_full,
            "VIRTUAL_TIME": str(int(self.virtual_time)),
        }
        return {f"{_PREFIX}{name}": value for name, value in found.items()}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Served:
        """Raises Refused for what is missing: a runtime that was started past its room's own command."""
        missing = [f"{_PREFIX}{name}" for name in _NEEDED if not environment.get(f"{_PREFIX}{name}")]
        if missing:
            raise Refused(
                f"a version is served by name, version, bundle and digest, but {', '.join(missing)} is not set. "
                "Start it by python -m trimtab.serving.<runtime>.server, or set it"
            )
        given = {name.removeprefix(_PREFIX): value for name, value in environment.items() if name.startswith(_PREFIX)}
        return cls(
            name=given["NAME"],
            version=given["VERSION"],
            bundle=Path(given["BUNDLE"]),
            digest=given["DIGEST"],
            log_dir=Path(given["LOG_DIR"]) if given.get("LOG_DIR") else None,
            max_rows=int(given.get("MAX_ROWS", "1000")),
            log_scores=given.get("LOG_SCORES", "1") == "1",
            when_full=given.get("WHEN_FULL", "refuse"),
            virtual_time=given.get("VIRTUAL_TIME", "0") == "1",
        )


def load(folder: Path, digest: str) -> Predictor:
    """The bundle, checked; raises TrimtabError with a sentence for whatever is wrong with it."""
    try:
        return bundle.load(folder, digest)
    except TrimtabError:
        raise
    except Exception as error:
        raise TrimtabError(
            f"{folder} is as the registry vouches for, but cannot be loaded here ({type(error).__name__}: {error}). "
            "Was it trained with other versions of its libraries? Train again"
        ) from error
