"""Which code a component's source runs beside itself: trimtab's own and the libraries', as part of the cache key."""

from __future__ import annotations

import hashlib
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from trimtab import __version__
from trimtab.engine.preload import modules_of

_OURS = "trimtab"
_OURS_USES = ("numpy", "pandas", "pyarrow", "scipy", "sklearn")
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "yaml": "PyYAML"}
_ROOMS = (_OURS, "trimtab.components")  # in a checkout the second is not below the first


def versions_of(source: str) -> dict[str, str]:
    """Library to version, of those that the source imports; for trimtab also what its stages compute with."""
    found = {name.partition(".")[0] for name in modules_of(source)}
    if _OURS in found:
        found.update(_OURS_USES)
    python = ".".join(str(part) for part in sys.version_info[:2])
    return {"python": python, **{name: _version(name) for name in sorted(found)}}


@cache
def _version(name: str) -> str:
    if name == _OURS:
        return f"{__version__} {_digest()}"
    import importlib.metadata  # 0.1 s, and most pipelines of other people need none of it

    try:
        return importlib.metadata.version(_DISTRIBUTIONS.get(name, name))
    except importlib.metadata.PackageNotFoundError:
        return ""


def _digest() -> str:
    """Of trimtab's source files, which in a checkout change without its version."""
    hashed = hashlib.sha256()
    for room in _ROOMS:
        spec = find_spec(room)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            for file in sorted(Path(folder).rglob("*.py")):
                hashed.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes())
    return hashed.hexdigest()[:16]
