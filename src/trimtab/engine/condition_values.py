"""How the values of a condition compare and combine: the rules of CEL (cel-spec, doc/langdef.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Inputs = Mapping[str, Any]
Expression = Callable[[Inputs], Any]


class ConditionError(ValueError):
    """A condition that cannot be read, or has no value for these inputs."""


def logic(parts: list[Expression], *, decisive: bool) -> Expression:
    """CEL's && and ||: a decisive side wins even where the other one has no value."""

    def value(inputs: Inputs) -> bool:
        failed: ConditionError | None = None
        for part in parts:
            try:
                if boolean(part(inputs)) is decisive:
                    return decisive
            except ConditionError as error:
                failed = failed or error
        if failed is not None:
            raise failed
        return not decisive

    return value


def boolean(value: Any) -> bool:
    """The value, if it is one; raises ConditionError."""
    if not isinstance(value, bool):
        raise ConditionError(f"{value!r} is neither true nor false")
    return value


def input_of(inputs: Inputs, name: str) -> Any:
    """The value of an input; raises ConditionError."""
    if name not in inputs:
        raise ConditionError(f"the condition reads {name}, which has no value")
    return inputs[name]


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, int | float) else type(value).__name__


def compare(operator: str, left: Any, right: Any) -> bool:
    """Compare; unlike types are unequal, and have no order: that raises ConditionError."""
    alike = _kind(left) == _kind(right)
    if operator in {"==", "!="}:
        return (alike and left == right) is (operator == "==")
    if not alike or _kind(left) not in {"bool", "number", "str"}:
        raise ConditionError(f"{left!r} {operator} {right!r}: values of unlike types have no order")
    if operator in {"<", ">="}:
        return bool(left < right) is (operator == "<")
    return bool(left > right) is (operator == ">")


CASTS = {"int", "double", "string"}


def cast(word: str, value: Any) -> Any:
    """`int`, `double` or `string` of a value; raises ConditionError."""
    try:
        if word == "int":
            return int(value) if not isinstance(value, str) else int(value, 10)
        if word == "double":
            return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ConditionError(f"{word}({value!r}) has no value") from None
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
