"""`training`: which estimator, on which rows, with which seed."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from trimtab.spec.section import Duration, Section


class Training(Section):
    """The estimator and the rows it learns from."""

    framework: Literal["sklearn"] = Field("sklearn", description="The library that trains.")
    estimator: str | None = Field(
        None, description="A scikit-learn estimator by class name; default HistGradientBoosting for the problem."
    )
    parameters: dict[str, Any] = Field(default_factory=dict, description="The estimator's parameters by name.")
    window: Duration | None = Field(
        None,
        description="Train on rows no older than this; of data that ended longer ago, on the last such span. "
        "Default: all rows.",
    )
    imbalance: Literal["none", "balanced"] = Field(
        "none", description="balanced: weight rows by inverse class frequency."
    )
    seed: int = Field(7, ge=0, le=2**32 - 1, description="Seed of everything random.")
    timeout: Duration = Field("30m", validate_default=True, description="The training task is stopped after this.")
