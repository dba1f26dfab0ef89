"""Conditions of the IR: the part of CEL that the KFP compiler emits, parsed and evaluated here; nothing is `eval`ed.

Grammar: or := and ('||' and)*; and := unary ('&&' unary)*; unary := '!' unary | comparison;
comparison := operand (('=='|'!='|'<='|'>='|'<'|'>') operand)?; operand := literal | '(' or ')' | int(or) | double(or) |
string(or) | inputs.parameter_values['name']. Values compare as in CEL (cel-spec, langdef.md): numbers across types,
unlike types are unequal and have no order.

The compiler pastes string literals without escaping them, so `x == "it's"` compiles to text that is no CEL. Where the
strict reading fails, a quote that does not end an operand is read as part of the literal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from trimtab.engine.condition_values import (
    CASTS,
    ConditionError,
    Expression,
    Inputs,
    boolean,
    cast,
    compare,
    input_of,
    logic,
)

__all__ = ["Condition", "ConditionError", "parse"]

MOST_CHARACTERS = 20_000
MOST_DEPTH = 50

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_ESCAPES |= {"\\": "\\", "'": "'", '"': '"', "`": "`", "?": "?"}
_NUMBER = re.compile(r"-?(?:\d+\.\d*(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?|\d+)")
_REFERENCE = re.compile(r"inputs\.parameter_values\[(?:'([^'\\]+)'|\"([^\"\\]+)\")\]")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r"==|!=|<=|>=|<|>")
_CODES = {"x": 2, "X": 2, "u": 4, "U": 8}
# What may follow a literal in text of the compiler; anything else means the quote belongs to the literal.
_AFTER = re.compile(r"\s*(?:$|\)|&&|\|\||==|!=|<=|>=|<|>)")


@dataclass(frozen=True)
class Condition:
    """A parsed condition; `strict` says whether it is proper CEL, which a cluster asks for."""

    text: str
    strict: bool
    _expression: Expression

    def holds(self, inputs: Inputs) -> bool:
        """Whether it is true for these inputs; raises ConditionError where it has no boolean value."""
        value = self._expression(inputs)
        if not isinstance(value, bool):
            raise ConditionError(f"condition {self.text!r} is {value!r}, neither true nor false")
        return value


def parse(text: str) -> Condition:
    """Read a condition; raises ConditionError with the position of what is not understood."""
    if len(text) > MOST_CHARACTERS:
        raise ConditionError(f"a condition of {len(text)} characters; at most {MOST_CHARACTERS} are read")
    try:
        return _read(text, strict=True)
    except ConditionError as error:
        try:
            return _read(text, strict=False)
        except ConditionError:
            raise error from None


def _read(text: str, strict: bool) -> Condition:
    reader = _Reader(text, strict)
    expression = reader.either(0)
    reader.skip()
    if reader.at < len(text):
        raise reader.error("the end")
    return Condition(text, strict, expression)


class _Reader:
    """Recursive descent over one text."""

    def __init__(self, text: str, strict: bool) -> None:
        self.text, self.strict = text, strict
        self.at = 0

    def error(self, wanted: str) -> ConditionError:
        found = self.text[self.at : self.at + 20] or "the end"
        return ConditionError(f"condition {self.text!r}: expected {wanted} at {self.at}, found {found!r}")

    def skip(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def take(self, token: str) -> bool:
        self.skip()
        if self.text.startswith(token, self.at):
            self.at += len(token)
            return True
        return False

    def either(self, depth: int) -> Expression:
        if depth > MOST_DEPTH:
            raise self.error(f"at most {MOST_DEPTH} levels")
        parts = [self.both(depth)]
        while self.take("||"):
            parts.append(self.both(depth))
        return parts[0] if len(parts) == 1 else logic(parts, decisive=True)

    def both(self, depth: int) -> Expression:
        parts = [self.unary(depth)]
        while self.take("&&"):
            parts.append(self.unary(depth))
        return parts[0] if len(parts) == 1 else logic(parts, decisive=False)

    def unary(self, depth: int) -> Expression:
        if depth > MOST_DEPTH:
            raise self.error(f"at most {MOST_DEPTH} levels")
        self.skip()
        if self.text.startswith("!", self.at) and not self.text.startswith("!=", self.at):
            self.at += 1
            inner = self.unary(depth + 1)
            return lambda inputs: not boolean(inner(inputs))
        return self.comparison(depth)

    def comparison(self, depth: int) -> Expression:
        left = self.operand(depth)
        self.skip()
        found = _OPERATOR.match(self.text, self.at)
        if not found:
            return left
        self.at = found.end()
        operator, right = found.group(), self.operand(depth)
        return lambda inputs: compare(operator, left(inputs), right(inputs))

    def operand(self, depth: int) -> Expression:
        self.skip()
        if self.take("("):
            inner = self.either(depth + 1)
            if not self.take(")"):
                raise self.error("')'")
            return inner
        if self.at < len(self.text) and self.text[self.at] in "'\"":
            value: Any = self.literal() if self.strict else self.loose_literal()
            return lambda _: value
        if found := _NUMBER.match(self.text, self.at):
            self.at = found.end()
            number = float(found.group()) if re.search(r"[.eE]", found.group()) else int(found.group())
            return lambda _: number
        return self.word(depth)

    def word(self, depth: int) -> Expression:
        if found := _REFERENCE.match(self.text, self.at):
            self.at = found.end()
            name = found.group(1) or found.group(2)
            return lambda inputs: input_of(inputs, name)
        found = _WORD.match(self.text, self.at)
        word = found.group() if found else ""
        if word in {"true", "false", "null"}:
            self.at += len(word)
            constant = {"true": True, "false": False, "null": None}[word]
            return lambda _: constant
        if word in CASTS:
            self.at += len(word)
            if not self.take("("):
                raise self.error("'('")
            inner = self.either(depth + 1)
            if not self.take(")"):
                raise self.error("')'")
            return lambda inputs: cast(word, inner(inputs))
        raise self.error("a value")

    def literal(self) -> str:
        quote = self.text[self.at]
        out: list[str] = []
        self.at += 1
        while self.at < len(self.text):
            character = self.text[self.at]
            if character == quote:
                self.at += 1
                return "".join(out)
            if character in "\r\n":
                raise self.error("no line break inside a string")
            out.append(self.escape() if character == "\\" else character)
            self.at += 1
        raise self.error("the closing quote")

    def escape(self) -> str:
        self.at += 1
        letter = self.text[self.at : self.at + 1]
        if letter in _ESCAPES and letter:
            return _ESCAPES[letter]
        length = _CODES.get(letter, 3 if letter in {"0", "1", "2", "3"} and letter else 0)
        start = self.at + (letter in _CODES)
        digits = self.text[start : start + length]
        try:
            code = chr(int(digits, 16 if letter in _CODES else 8)) if length and len(digits) == length else ""
        except (ValueError, OverflowError):
            code = ""
        if not code:
            raise self.error("an escape such as \\n or \\'")
        self.at = start + length - 1
        return code

    def loose_literal(self) -> str:
        quote, start = self.text[self.at], self.at + 1
        end = start
        while (end := self.text.find(quote, end)) >= 0:
            if _AFTER.match(self.text, end + 1):
                value = self.text[start:end]
                if (
                    "inputs.parameter_values[" in value
                ):  # a number compared with a string: the compiler quotes the input
                    raise self.error("numbers compared with numbers and strings with strings")
                self.at = end + 1
                return value
            end += 1
        raise self.error("the closing quote")
