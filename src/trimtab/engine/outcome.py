"""How a task, a loop or a graph ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from trimtab.engine.values import Values

State = Literal["SUCCEEDED", "FAILED", "SKIPPED", "CANCELLED"]


@dataclass(frozen=True)
class Outcome:
    """Its state, what it put out, and why it did not succeed."""

    state: State
    values: Values = field(default_factory=Values)
    reason: str = ""


Done = Callable[[Outcome], None]

CANCELLED = Outcome("CANCELLED", reason="the run was stopped")
