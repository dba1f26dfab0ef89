"""`features`: how columns become the numbers that a model sees, once for training and serving alike."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trimtab.spec.section import Section


class Numeric(Section):
    """What is done to numbers."""

    impute: Literal["median", "mean", "zero", "none"] = Field(
        "median", description="What stands in for a missing number."
    )
    scale: Literal["none", "standard"] = Field(
        "none", description="standard: mean 0 and deviation 1 over the training rows."
    )


class Categorical(Section):
    """What is done to strings and booleans."""

    encode: Literal["one-hot", "ordinal"] = Field("one-hot", description="How a category becomes numbers.")
    max_categories: int = Field(50, ge=2, le=1000, description="Rarer categories beyond this many become one `other`.")


class Cross(Section):
    """Two or more categorical columns taken together as one."""

    columns: tuple[str, ...] = Field(min_length=2, description="The columns to join.")


class Features(Section):
    """Transforms, crosses and selection."""

    include: tuple[str, ...] = Field(
        (), description="Columns to use; empty means all but id, time, label, entity and ignored ones."
    )
    numeric: Numeric = Field(Numeric(), description="What is done to numbers.")
    categorical: Categorical = Field(Categorical(), description="What is done to strings and booleans.")
    crosses: tuple[Cross, ...] = Field((), description="Columns to join into one category.")
    time_parts: tuple[Literal["month", "day_of_year", "weekday", "hour"], ...] = Field(
        (), description="Parts of the event time to use as features."
    )
