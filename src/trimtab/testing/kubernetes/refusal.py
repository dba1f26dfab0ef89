"""What the API server answers when it refuses: a `Status` object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

REASONS = {
    400: "BadRequest",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}


class ApiRefused(Exception):
    """An answer that is not a success."""

    def __init__(self, code: int, message: str, reason: str = "", causes: Sequence[dict[str, str]] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason or REASONS.get(code, "Unknown")
        self.causes = list(causes)

    def status(self) -> dict[str, Any]:
        """The body of the answer."""
        found: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(self),
            "reason": self.reason,
            "code": self.code,
        }
        if self.causes:
            found["details"] = {"causes": self.causes}
        return found


def not_found(resource: str, name: str) -> ApiRefused:
    """The object is not there."""
    return ApiRefused(404, f'{resource} "{name}" not found')


def stale(resource: str, name: str) -> ApiRefused:
    """The object was changed since it was read."""
    return ApiRefused(
        409,
        f'Operation cannot be fulfilled on {resource} "{name}": the object has been modified; '
        "please apply your changes to the latest version and try again",
    )


def invalid(kind: str, name: str, problems: Sequence[tuple[str, str]]) -> ApiRefused:
    """The object breaks its schema; `problems` are (path, message)."""
    said = ", ".join(f"{path}: {message}" for path, message in problems)
    causes = [{"reason": "FieldValueInvalid", "message": message, "field": path} for path, message in problems]
    return ApiRefused(422, f'{kind} "{name}" is invalid: {said}', causes=causes)
