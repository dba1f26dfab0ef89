"""`serving`: how the model answers requests and what is remembered of each answer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trimtab.spec.section import Duration, Section


class Batching(Section):
    """Requests that wait at the same time are computed together."""

    max_rows: int = Field(64, ge=1, le=4096, description="Most rows computed at once; 1 turns batching off.")


class PredictionLogging(Section):
    """What is remembered of each answer."""

    scores: bool = Field(True, description="Keep the score of every class.")
    when_full: Literal["refuse", "serve"] = Field(
        "refuse",
        description="With no room left for the log: refuse answers with 503 (nothing acknowledged is lost) "
        "or serve without a record.",
    )


class Limits(Section):
    """Bounds on what a request may ask."""

    max_rows: int = Field(1000, ge=1, description="Most rows in one request.")
    max_body_bytes: int = Field(4 * 1024 * 1024, ge=1024, description="Largest request body, bytes.")
    timeout: Duration = Field(
        "5s", validate_default=True, description="A version that takes longer is given up for the stable one."
    )


class Serving(Section):
    """Runtime, address, limits and logging."""

    runtime: Literal["kserve"] = Field("kserve", description="The model server.")
    host: str = Field("127.0.0.1", description="Address the router listens on, on one machine.")
    port: int = Field(
        8080, ge=0, le=65535, description="Port the router listens on, on one machine; 0 picks a free one."
    )
    batching: Batching = Field(Batching(), description="Computing waiting requests together.")
    limits: Limits = Field(Limits(), description="Bounds on what a request may ask.")
    log: PredictionLogging = Field(PredictionLogging(), description="What is remembered of each answer.")
