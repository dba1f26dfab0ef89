"""`scope`: what the model is for and what was promised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from trimtab.spec.metrics import KNOWN
from trimtab.spec.section import Section

Problem = Literal["classification", "regression"]


class Metric(Section):
    """One metric that somebody promised; gates and alarms may name only metrics of this list."""

    name: str = Field(
        min_length=1, description="The metric's name; model, software and data metrics must be known ones."
    )
    kind: Literal["model", "software", "data", "business"] = Field(
        "model",
        description="What it measures; default: what the known metric of that name measures. A business metric is "
        "recorded but cannot be a gate: trimtab cannot compute it.",
    )
    min: float | None = Field(None, description="The promise: never below this.")
    max: float | None = Field(None, description="The promise: never above this.")
    why: str = Field("", description="Why the promise matters, for the person who is paged.")

    @model_validator(mode="before")
    @classmethod
    def _kind_of_known(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("kind") is None:
            name = given.get("name")
            if isinstance(name, str) and name in KNOWN:  # a list or a mapping has no hash
                return {**given, "kind": KNOWN[name].kind}
        return given


class Risk(Section):
    """Something that could go wrong and who would be harmed."""

    what: str = Field(min_length=1, description="What could go wrong.")
    who: str = Field("", description="Who would be harmed.")
    answer: str = Field("", description="What is done about it.")


class Scope(Section):
    """The problem, its owner, what success is, what could go wrong."""

    problem: Problem = Field(description="The kind of problem.")
    statement: str = Field("", description="The problem in a sentence that a newcomer understands.")
    owner: str = Field("", description="Who answers for the model.")
    metrics: tuple[Metric, ...] = Field(
        (),
        description="What success is. Empty means accuracy, macro_f1 (classification) or mae, r2 (regression), "
        "error_rate and latency_p99_ms, without bounds.",
    )
    risks: tuple[Risk, ...] = Field((), description="What could go wrong, and who could be harmed.")
