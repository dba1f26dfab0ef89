"""`retraining`: what starts a new training run, and how often it may."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trimtab.spec.section import Duration, Section


class Budget(Section):
    """How many runs in how long."""

    runs: int = Field(
        10, ge=0, description="Most retraining runs in `per`; runs that a person asks for count but are not refused."
    )
    per: Duration = Field("1y", validate_default=True, description="The time the budget is for.")


class Retraining(Section):
    """Causes, cooldown and budget."""

    causes: tuple[Literal["quality", "drift", "new-class", "schedule"], ...] = Field(
        ("quality", "drift", "new-class"), description="What may cause a retraining; a person always may."
    )
    every: Duration | None = Field(None, description="The schedule, when `causes` has schedule.")
    cooldown: Duration = Field("7d", validate_default=True, description="Least time between two retrainings.")
    worse_than_holdout_by: float = Field(
        0.05,
        ge=0,
        description="Quality surely worse than the champion's own hold-out by more than this is a cause. In the main "
        "metric's own unit: 0.05 is five points of accuracy; for mae and rmse, which are in the label's unit, it must "
        "be set.",
    )
    new_class_share: float = Field(
        0.02, ge=0, le=1, description="Share of labels of a never-seen class that is a cause."
    )
    new_class_least: int = Field(
        20, ge=1, description="Labels of a never-seen class needed: a model must have something to learn from."
    )
    budget: Budget = Field(Budget(), description="How many runs in how long.")
