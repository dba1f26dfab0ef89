"""Conditions: what the compiler emits, CEL's rules, and that no text is ever run."""

import json
import operator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.engine.conditions import ConditionError, parse

_X, _Y = "inputs.parameter_values['x']", "inputs.parameter_values['y']"
_OPERATORS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def holds(text: str, **inputs: Any) -> bool:
    return parse(text).holds(inputs)


@pytest.mark.parametrize(
    ("text", "inputs", "result"),
    [
        (f"{_X} == 'a'", {"x": "a"}, True),
        (f"{_X} != 'a'", {"x": "a"}, False),
        (f'{_X} == "a"', {"x": "a"}, True),
        (f"int({_X}) > 5", {"x": 6}, True),
        (f"int({_X}) > 5", {"x": 6.0}, True),
        (f"int({_X}) == 5", {"x": "5"}, True),
        (f"double(int({_X})) < 5.5", {"x": 5}, True),
        (f"{_X} == 5.0", {"x": 5}, True),
        (f"{_X} == true", {"x": True}, True),
        (f"{_X} == true", {"x": 1}, False),
        (f"{_X} == 1", {"x": True}, False),
        (f"{_X} == '1'", {"x": 1}, False),
        (f"{_X} == null", {"x": None}, True),
        (f"!({_X} == 'a')", {"x": "b"}, True),
        (f"!({_X} == 'a') && {_Y} == 'b'", {"x": "b", "y": "b"}, True),
        (f"{_X} == 'a' && {_Y} == 'b'", {"x": "a", "y": "c"}, False),
        (f"{_X} == 'a' || {_Y} == 'b'", {"x": "c", "y": "b"}, True),
        (f"{_X} == 'a' || {_X} == 'b' && {_Y} == 'c'", {"x": "a", "y": ""}, True),
        (f"{_X} == 'it\\'s\\n\\u00fc\\x41\\101'", {"x": "it's\nüAA"}, True),
        (f"{_X} == -1.5e2", {"x": -150}, True),
        (f"{_X} == {_Y}", {"x": "' || true || '", "y": "a"}, False),
        (f"'b' > {_X}", {"x": "a"}, True),
        ("true", {}, True),
        # texts that the compiler pastes without escaping
        (f"{_X} == 'it's'", {"x": "it's"}, True),
        (f"{_X} == 'a'b' && {_Y} == 'c'd'", {"x": "a'b", "y": "c'd"}, True),
        (f"!({_X} == 'it's') && {_Y} == 'b'", {"x": "its", "y": "b"}, True),
        (f"{_X} == 'a\nb'", {"x": "a\nb"}, True),
        (f"{_X} == '\\d+'", {"x": "\\d+"}, True),
    ],
)
def test_values(text: str, inputs: dict[str, Any], result: bool) -> None:
    assert holds(text, **inputs) is result


@pytest.mark.parametrize(
    "text",
    [
        "",
        "inputs",
        f"{_X} ==",
        f"{_X} = 'a'",
        f"{_X} == 'a' and true",
        f"({_X} == 'a'",
        f"{_X} == 'a",
        "__import__('os').system('true')",
        "x == 1",
        "inputs.parameter_values[x] == 1",
        f"size({_X}) == 1",
        "(" * 1000 + "true" + ")" * 1000,
        "!" * 1000 + "true",
        f"'int({_X})' == '5'",  # what the compiler makes of a number compared with a string
        "'" * 30_000,
    ],
)
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(ConditionError):
        parse(text)


@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        (f"{_X} > 1", {"x": "a"}),
        (f"{_X} > 'a'", {"x": 1}),
        (f"{_X} > 1", {"x": [1]}),
        (f"{_X} > 1", {}),
        (f"int({_X}) == 1", {"x": "one"}),
        (f"int({_X}) == 1", {"x": None}),
        (_X, {"x": "true"}),
        (f"!{_X}", {"x": 1}),
    ],
)
def test_what_has_no_value_is_an_error_and_not_false(text: str, inputs: dict[str, Any]) -> None:
    with pytest.raises(ConditionError):
        holds(text, **inputs)


def test_a_decisive_side_wins_over_one_without_a_value() -> None:
    assert holds(f"{_X} == 'a' || {_Y} == 'b'", x="a") is True
    assert holds(f"{_Y} == 'b' && {_X} == 'a'", x="b") is False


_scalars = st.one_of(st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False), st.text())


@given(
    st.sampled_from(sorted(_OPERATORS)),
    st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, width=32),
    st.integers(-9, 9),
)
def test_numbers_compare_as_in_python(name: str, left: float, right: int) -> None:
    assert holds(f"{_X} {name} {right}", x=left) is _OPERATORS[name](left, right)


@given(st.sampled_from(sorted(_OPERATORS)), st.text(), st.text())
def test_texts_compare_as_in_python_whatever_they_hold(name: str, left: str, right: str) -> None:
    assert holds(f"{_X} {name} {_Y}", x=left, y=right) is _OPERATORS[name](left, right)


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])))
def test_an_escaped_literal_is_its_text(text: str) -> None:
    escaped = json.dumps(text, ensure_ascii=False)  # JSON's escapes are among CEL's
    assert holds(f"{_X} == {escaped}", x=text)


@given(_scalars, _scalars)
def test_equality_is_never_an_error_and_never_both(left: Any, right: Any) -> None:
    assert holds(f"{_X} == {_Y}", x=left, y=right) is not holds(f"{_X} != {_Y}", x=left, y=right)


@given(st.text(alphabet="inputs.parameter_values['x'] ==!<>&|()0123456789.-eE\"\\tru\n", max_size=60))
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    try:
        found = parse(text)
        found.holds({"x": "a"})
    except ConditionError:
        pass
