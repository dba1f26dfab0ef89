"""Which heavy libraries a component is about to import, so that the warm host imports each only once.

Only libraries that start no Python thread and no OpenMP pool when imported: forking a process that has those is not
safe. (pyarrow's jemalloc starts one thread, which jemalloc itself stops and starts around a fork.)
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import sys
from functools import lru_cache
from pathlib import Path

_OURS = "trimtab"
_LIBRARIES = frozenset(
    {
        "evidently",
        "joblib",
        "mlflow",
        "numpy",
        "orjson",
        "pandas",
        "pyarrow",
        "pydantic",
        "scipy",
        "sklearn",
        "yaml",
        _OURS,
    }
)


@lru_cache(maxsize=256)
def modules_of(source: str) -> tuple[str, ...]:
    """Modules that the source imports anywhere in it, of the libraries that are safe to import before a fork."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return ()  # the task fails with it and shows it in its log
    found: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name: None for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found[node.module] = None
            if node.module.startswith(_OURS):  # the name may be a module of its own
                found |= {f"{node.module}.{alias.name}": None for alias in node.names}
    return tuple(name for name in found if name.partition(".")[0] in _LIBRARIES)


def import_all(modules: list[str], seen: set[str]) -> bool:
    """Import them, and what trimtab's own ones import later inside their functions; returns whether any was new."""
    new = [name for name in modules if name not in seen]
    seen.update(new)
    for name in new:
        # A module that cannot be imported is left to the task, which shows the error in its log.
        with contextlib.suppress(Exception):
            importlib.import_module(name)
        module = sys.modules.get(name) if name.startswith(_OURS) else None
        file = getattr(module, "__file__", None)
        if file:
            import_all(list(modules_of(Path(file).read_text())), seen)
    return bool(new)
