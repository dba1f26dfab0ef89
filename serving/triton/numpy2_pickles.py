"""Bundles that were trained under numpy 2, read under numpy 1: their random generators are pickled in another way.

Triton's Python backend (2.51) was built against numpy 1 and misreads the arrays of numpy 2, while scikit-learn keeps
generators in estimators such as HistGradientBoosting, the default. Everything else in a pickle is read as it is.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np


def accept() -> None:
    """Read both ways from now on; nothing to do where numpy is 2 already."""
    if int(np.__version__.partition(".")[0]) > 1:
        return
    from numpy.core import numeric
    from numpy.random import _pickle

    sys.modules.setdefault("numpy._core.numeric", numeric)  # numpy 1.26 knows most of numpy 2's names, but not this one
    pickles: Any = _pickle
    one, generator, state = (
        pickles.__dict__[f"__{name}_ctor"] for name in ("bit_generator", "generator", "randomstate")
    )

    def bit_generator(given: Any = "MT19937") -> Any:
        """numpy 2 tells the class instead of its name, and the state together with the seed."""
        return _restorable(given)() if isinstance(given, type) else one(given)

    def whole(constructor: Any) -> Any:
        """numpy 2 tells the bit generator itself instead of its name."""

        def made(given: Any = "MT19937", ctor: Any = bit_generator) -> Any:
            return constructor(given, ctor if isinstance(given, str) else lambda known: known)

        return made

    pickles.__dict__.update(
        {
            "__bit_generator_ctor": bit_generator,
            "__generator_ctor": whole(generator),
            "__randomstate_ctor": whole(state),
        }
    )


def _restorable(kind: Any) -> Any:
    def restore(self: Any, state: Any) -> None:
        kind.__setstate__(self, state[0] if isinstance(state, tuple) else state)

    return type(kind.__name__, (kind,), {"__setstate__": restore})  # numpy looks at the name
