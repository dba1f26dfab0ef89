"""Reading what is sent to /v1/feedback; nothing of a call is taken unless all of it can be."""

from __future__ import annotations

import math
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from trimtab.serving.refusals import Malformed, Refused

MOST_LABELS = 10_000
_LONGEST_LABEL = 10_000
_EXPECTED = 'expected {"id": "...", "label": ...} or {"labels": [{"id": "...", "label": ...}, ...]}'


class Label(BaseModel):
    """One label: the id of the request (or of its row) and what turned out to be true."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)

    id: str = Field(min_length=1, max_length=300)
    label: bool | int | float | str

    @field_validator("label", mode="plain")
    @classmethod
    def _one_value(cls, value: Any) -> Any:
        if not isinstance(value, bool | int | float | str):
            raise PydanticCustomError("label", "expected text, a number, true or false")
        return value

    @property
    def text(self) -> str:
        """The label as the log holds it."""
        return self.label if isinstance(self.label, str) else str(self.label)


class Labels(BaseModel):
    """Many labels in one call."""

    model_config = ConfigDict(extra="forbid", strict=True)

    labels: list[Label] = Field(min_length=1, max_length=MOST_LABELS)


def read(body: bytes, numbers: bool = False) -> list[Label]:
    """One label or many; raises Malformed for what is no JSON, Refused with the place of each problem for the rest.

    With `numbers` every label must be a number, or text that is one.
    """
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the body is no JSON: {error}. {_EXPECTED}") from None
    many = isinstance(found, dict) and "labels" in found
    try:
        labels = Labels.model_validate(found).labels if many else [Label.model_validate(found)]
    except ValidationError as error:
        said = "; ".join(_sentence(one) for one in error.errors(include_url=False)[:10])
        raise Refused(f"{said}. {_EXPECTED}") from None
    for number, one in enumerate(labels):
        if len(one.text) > _LONGEST_LABEL:
            raise Refused(f"labels.{number}: the label has {len(one.text)} characters; at most {_LONGEST_LABEL}")
        if numbers and not _is_number(one.label):
            raise Refused(f"labels.{number}: the label {one.text[:40]!r} is no number, and this loop predicts one")
    return labels


def _is_number(label: bool | int | float | str) -> bool:
    try:
        return not isinstance(label, bool) and math.isfinite(float(label))
    except (ValueError, OverflowError):
        return False


def _sentence(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"]) or "body"
    return f"{place}: {error['msg']}"
