"""`quality`: what a new version must show before anybody is served by it."""

from __future__ import annotations

from pydantic import Field

from trimtab.spec.section import Section


class Gate(Section):
    """A bound on one metric of the hold-out. At least one of the bounds."""

    metric: str = Field(min_length=1, description="A model metric that `scope.metrics` names.")
    min: float | None = Field(None, description="Pass only at or above this.")
    max: float | None = Field(None, description="Pass only at or below this.")
    max_worse_than_champion: float | None = Field(
        None, ge=0, description="Pass only if not worse than the champion on the same hold-out rows by more than this."
    )


class Slice(Section):
    """Every value of one column is judged by itself, if it has enough rows."""

    column: str = Field(min_length=1, description="The column whose values make the slices.")
    metric: str = Field(
        "", description="A model metric that `scope.metrics` names; default: the first model metric there."
    )
    min: float | None = Field(None, description="Every slice with enough evidence must reach this.")
    least_rows: int = Field(50, ge=1, description="Fewer rows are insufficient evidence, neither pass nor fail.")


class Quality(Section):
    """Gates, slices and the evidence they need."""

    gates: tuple[Gate, ...] = Field(
        (), description="Empty means: every model metric of scope with a bound becomes a gate."
    )
    slices: tuple[Slice, ...] = Field((), description="Parts of the hold-out judged by themselves.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Confidence of every interval.")
    least_rows: int = Field(100, ge=1, description="A hold-out smaller than this is insufficient evidence.")
