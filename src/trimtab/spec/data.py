"""`data`: where rows come from, what they must look like, and when their labels are known."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trimtab.spec.section import Duration, Section

MARKS = ("", "NA", "NaN", "null")
"""What counts as a missing value in a CSV unless the document says otherwise."""


class Source(Section):
    """Where the rows are. Exactly one of `path` and `query`."""

    path: str | None = Field(
        None, description="A CSV or Parquet file (also .gz), or a glob; relative to loop.yaml, or s3://bucket/key."
    )
    format: Literal["csv", "parquet"] | None = Field(None, description="Default: by the file's ending.")
    encoding: str = Field("utf-8", description="Text encoding of a CSV.")
    delimiter: str = Field(",", min_length=1, max_length=1, description="Column separator of a CSV.")
    decimal: Literal[".", ","] = Field(".", description="What stands before the fraction of a number in a CSV.")
    missing: tuple[str, ...] = Field(MARKS, description="What counts as a missing value in a CSV.")
    query: str | None = Field(None, description="One SELECT to run instead of reading a file.")
    url: str = Field(
        "duckdb://",
        description="SQLAlchemy URL for `query`, without a password; duckdb:// reads files below the folder by SQL.",
    )
    url_env: str | None = Field(
        None, description="Name of the environment variable that holds the URL with its secret."
    )


class EventTime(Section):
    """When a row happened. Exactly one of `column` and `year` (with `month`, `day` if there)."""

    column: str | None = Field(None, description="A column that holds a date or a time.")
    format: str | None = Field(
        None,
        description="strptime format of `column`, or `unix`, `unix_ms` (seconds, milliseconds since 1970); "
        "default ISO 8601.",
    )
    year: str | None = Field(None, description="A column that holds the year.")
    month: str | None = Field(None, description="A column that holds the month, 1 to 12.")
    day: str | None = Field(None, description="A column that holds the day of the month.")


class Label(Section):
    """What is predicted, and how long after the event it is known."""

    column: str = Field(min_length=1, description="The column to predict.")
    delay: Duration = Field("0s", validate_default=True, description="How long after the event the label is known.")


class ColumnContract(Section):
    """What one column must look like; what is not stated is inferred from the training data."""

    type: Literal["number", "integer", "string", "boolean"] | None = Field(None, description="The column's type.")
    unit: str = Field("", description="The unit of a number, for people and reports.")
    min: float | None = Field(None, description="Least value allowed.")
    max: float | None = Field(None, description="Greatest value allowed.")
    domain: tuple[str, ...] = Field((), description="The only values allowed, for strings.")
    max_missing_share: float | None = Field(
        None, ge=0, le=1, description="Share of missing values allowed; 0 means required."
    )


class Split(Section):
    """How training rows and hold-out rows are told apart."""

    by: Literal["time", "entity", "stratified"] = Field(
        "time",
        description="time: the newest rows are held out; entity: whole entities; "
        "stratified: at random within each class.",
    )
    holdout: float = Field(0.2, gt=0, lt=1, description="Share of rows held out for the quality gates.")


class Data(Section):
    """Source, identity, event time, label, contract and split."""

    source: Source = Field(description="Where the rows are.")
    time: EventTime = Field(description="When a row happened.")
    label: Label = Field(description="What is predicted.")
    id: str | None = Field(None, description="A column that names each row; default: the row's position in the source.")
    entity: str | None = Field(None, description="A column that names the thing observed; needed to split by entity.")
    ignore: tuple[str, ...] = Field(
        (), description="Columns never used as features, such as those that leak the label."
    )
    contract: dict[str, ColumnContract] = Field(
        default_factory=dict, description="Column name to what it must look like."
    )
    split: Split = Field(Split(), description="How the hold-out is chosen.")
    use_feedback: bool = Field(
        True, description="Train also on served rows whose label came back through /v1/feedback."
    )
