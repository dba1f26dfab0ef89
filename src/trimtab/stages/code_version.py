"""Which code made a version: trimtab's release, and the commit of the loop's folder where that is kept in git."""

from __future__ import annotations

import subprocess
from pathlib import Path

from trimtab import __version__

_WAIT_SECONDS = 10.0


def code_version(folder: Path) -> str:
    """`0.1.0`, or `0.1.0+git.1a2b3c4d5e6f`, with `-dirty` if files there that git knows were changed since."""
    commit = _git(folder, "rev-parse", "--short=12", "HEAD")
    if not commit:
        return __version__
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return f"{__version__}+git.{commit}{'-dirty' if changed else ''}"


def _git(folder: Path, *arguments: str) -> str:
    """What git says; "" where there is no git, no repository or no answer."""
    # The folder may be anybody's: nothing that its configuration names is run.
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-C", str(folder), *arguments]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_WAIT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    return ended.stdout.strip()
