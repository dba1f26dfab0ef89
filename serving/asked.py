"""A request, whatever its protocol and its server; everything from outside is checked here or in the contract."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from trimtab.serving.refusals import Malformed, Refused, TooMuch
from trimtab.stages.contract import Contract

LONGEST_ID = 256
REQUEST_ID, VIRTUAL_TIME, ATTEMPT, SHADOW = (
    "x-request-id",
    "x-trimtab-time",
    "x-envoy-attempt-count",
    "x-trimtab-shadow",
)
Protocol = Literal["v1", "v2", "grpc", "seldon"]
_YEARS = range(1678, 2262)  # what nanosecond time stamps, which readers of the log may use, can say


@dataclass(frozen=True)
class Asked:
    """A request: n rows with an id each, at one time. `attempt` is the router's count of tries, from 1."""

    request_id: str
    ids: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    time: datetime
    protocol: Protocol
    shadow: bool
    attempt: int


def check(
    rows: Sequence[dict[str, Any]],
    given_id: str | None,
    protocol: Protocol,
    headers: Mapping[str, str],
    contract: Contract,
    max_rows: int,
    virtual_time: bool,
) -> Asked:
    """A request whose rows were read, checked; raises Malformed, TooMuch, and Refused for what breaks the contract.

    `given_id` is the id in the request itself, which comes before the header's. Every row is checked before any of
    them is predicted.
    """
    if len(rows) > max_rows:
        raise TooMuch(f"{len(rows)} rows in one request; at most {max_rows} are taken (serving.limits.maxRows)")
    request_id = _id(given_id or headers.get(REQUEST_ID))
    time = read_time(headers.get(VIRTUAL_TIME) if virtual_time else None)
    for number, row in enumerate(rows):
        problem = contract.refuse_row(row)
        if problem is not None:
            raise Refused(problem if len(rows) == 1 else f"row {number}: {problem}")
    return Asked(
        request_id=request_id,
        ids=(request_id,) if len(rows) == 1 else tuple(f"{request_id}-{number}" for number in range(len(rows))),
        rows=tuple(rows),
        time=time,
        protocol=protocol,
        shadow=is_copy(headers),
        attempt=_attempt(headers.get(ATTEMPT, "1")),
    )


def is_copy(headers: Mapping[str, str]) -> bool:
    """Whether the router sent a copy whose answer nobody gets: it says so in a header and, for REST, in the host."""
    return headers.get(SHADOW) == "true" or headers.get("host", "").partition(":")[0].endswith("-shadow")


def read_time(text: str | None) -> datetime:
    """The time in a header, in UTC (also what a time without a zone is taken for), or now; raises Malformed."""
    if text is None:
        return datetime.now(UTC)
    try:
        given = datetime.fromisoformat(text)
        time = given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Malformed(f"{VIRTUAL_TIME}: {text[:64]!r} is no ISO 8601 time") from None
    if time.year not in _YEARS:
        raise Malformed(f"{VIRTUAL_TIME}: the year must be {_YEARS.start} to {_YEARS.stop - 1}, found {time.year}")
    return time


def _id(given: str | None) -> str:
    if not given:
        return str(uuid.uuid4())
    # ASCII, since it goes back in a header; labels must later name it exactly.
    if len(given) > LONGEST_ID or not given.isascii() or not given.isprintable() or given.strip() != given:
        raise Malformed(f"the request's id must be 1 to {LONGEST_ID} printable ASCII characters, no space at its ends")
    return given


def _attempt(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 1


def instances(payload: Any) -> list[dict[str, Any]]:
    """The rows of a V1 request; raises Malformed."""
    found = payload.get("instances") if isinstance(payload, dict) else None
    if not isinstance(found, list) or not found:
        raise Malformed('expected {"instances": [{"column": value, ...}, ...]} with at least one row')
    for number, row in enumerate(found):
        if not isinstance(row, dict):
            raise Malformed(f"instances[{number}]: expected an object of columns, found {type(row).__name__}")
    return found
