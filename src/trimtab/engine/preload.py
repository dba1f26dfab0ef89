"""Which heavy libraries a component is about to import, so that the warm host imports each only once.

Only libraries that start no thread when imported: forking a process with threads is not safe.
"""

from __future__ import annotations

import ast
from functools import lru_cache

_LIBRARIES = frozenset(
    {"numpy", "pandas", "pyarrow", "scipy", "sklearn", "joblib", "pydantic", "yaml", "orjson", "trimtab"}
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
    return tuple(name for name in found if name.partition(".")[0] in _LIBRARIES)
