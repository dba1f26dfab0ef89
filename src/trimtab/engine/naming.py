"""File names out of names that somebody else chose: no traversal, no collision, no surprise for a shell or a glob."""

from __future__ import annotations

import hashlib
import re

_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}")
_PARAMETER = re.compile(r"inputs\.parameter_values\['(?:pipelinechannel--)?([^']*)'\]")
_BRANCH = re.compile(r"condition(-branches)?-\d+")
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")


def segment(name: str) -> str:
    """One path segment for `name`; two names never share one (a changed name carries its digest after a dot)."""
    if _SAFE.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:10]
    return f"{_UNSAFE.sub('-', name)[:60]}.{digest}".lstrip("-") or digest


def iteration(index: int) -> str:
    """Path segment of one iteration of a loop; `segment` never gives this form, as tasks have no leading dot."""
    return f"iteration.{index}"


def run_id(key: str) -> str:
    """The id of the run of a key: the same key, the same run; readable as far as it may be."""
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    start = _UNSAFE.sub("-", key)[:40].strip("-")
    return f"{start}-{digest}" if start else digest


def is_branch(name: str) -> bool:
    """Whether the compiler gave this name to a condition."""
    return _BRANCH.fullmatch(name) is not None


def readable(condition: str) -> str:
    """A condition of the IR without the names that only the compiler knows."""
    return _PARAMETER.sub(r"\1", condition)
