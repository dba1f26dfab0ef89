"""What doctor finds: one part of a cluster, how it stands, and the command that mends it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 10**3, "M": 10**6, "G": 10**9, "m": 1e-3, "": 1}


@dataclass(frozen=True)
class Finding:
    """One part of the cluster. `absent`: not there and not needed; `unknown`: may not be looked at, or not settled."""

    part: str
    state: Literal["ok", "absent", "unknown", "broken"]
    sentence: str
    mend: str = ""


def quantity(text: object) -> float:
    """A Kubernetes quantity as a number: `500m` is 0.5, `4Gi` is 4294967296; 0 for what is none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([A-Za-z]{0,2})", str(text))
    return float(found[1]) * _UNITS.get(found[2], 0) if found else 0.0
