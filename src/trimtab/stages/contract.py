"""What rows must look like: the data contract that training fits, the bundle stores and the server enforces.

Only what a *person* stated (`data.contract` in loop.yaml) and what no model can compute with (a wrong type, NaN,
infinity) refuses a request. Ranges and domains inferred from reference data warn and never refuse: a heavier animal or
a plot type nobody had seen is news for monitoring, not an error of the caller.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from trimtab.errors import DataRefused
from trimtab.stages.rowcheck import RowCheck, refuse_row

ColumnType = Literal["number", "integer", "string", "boolean", "empty"]
Role = Literal["feature", "label", "id", "time", "entity", "identifier", "ignored"]
Statement = Literal["type", "min", "max", "domain", "max_missing_share"]

NUMERIC: frozenset[str] = frozenset({"number", "integer"})


class ColumnRule(BaseModel):
    """One column: what was stated about it, and what the reference data showed.

    `type` "empty" means that the reference data held no value at all, so that every scalar is accepted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(min_length=1)
    type: ColumnType
    role: Role = "feature"
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    domain: tuple[str, ...] | None = None
    max_missing_share: float | None = Field(None, ge=0, le=1)
    missing_share: float = Field(0.0, ge=0, le=1)
    deciles: tuple[float, ...] | None = Field(None, min_length=9, max_length=9)
    constant: bool = False
    stated: tuple[Statement, ...] = ()

    @property
    def required(self) -> bool:
        """True when a person said that no value may be missing."""
        return self.max_missing_share == 0 and "max_missing_share" in self.stated

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"column {self.name}: min {self.minimum:g} is above max {self.maximum:g}")
        return self


class Contract(BaseModel):
    """All columns of the raw data in their order, over how many reference rows they were seen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    problem: Literal["classification", "regression"]
    rows: int = Field(ge=0)
    columns: tuple[ColumnRule, ...]

    @model_validator(mode="after")
    def _unique(self) -> Self:
        if len({rule.name for rule in self.columns}) != len(self.columns):
            raise ValueError("a column is described twice")
        return self

    @cached_property
    def by_name(self) -> dict[str, ColumnRule]:
        """Column name to its rule."""
        return {rule.name: rule for rule in self.columns}

    @cached_property
    def features(self) -> tuple[ColumnRule, ...]:
        """The columns that a model may use, in the order of the raw data."""
        return tuple(rule for rule in self.columns if rule.role == "feature")

    @property
    def label(self) -> ColumnRule:
        """The column to predict; for classification its `domain` holds the classes as strings, sorted."""
        return next(rule for rule in self.columns if rule.role == "label")

    @cached_property
    def _row_check(self) -> RowCheck:
        return RowCheck.compile(self.columns)

    def refuse_row(self, row: dict[str, Any]) -> str | None:
        """Why a request's row (column -> JSON value) cannot be answered, in a sentence, or None; a few microseconds.

        Refused: an unknown field, the label itself, a field left out that reference rows always had (null is fine
        unless a person said that none may be missing), a wrong type, NaN or infinity, text over 10,000 characters or
        not storable as UTF-8, and values outside a range or domain that a person stated.
        """
        return refuse_row(self._row_check, row)

    def to_json(self) -> str:
        """The contract as JSON text."""
        return self.model_dump_json(indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> Contract:
        """Read what `to_json` wrote; raises DataRefused on anything else, naming the first thing that is wrong."""
        try:
            return cls.model_validate_json(text, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "document"
            raise DataRefused(
                f"this is not a data contract that trimtab wrote: {where}: {first['msg']}. "
                "Train again, or restore contract.json."
            ) from error
