"""Bodies in Kubernetes' protobuf, of the few kinds that clients write so: Helm keeps its releases in such Secrets.

After the magic `k8s\\0` comes a message `runtime.Unknown`: what it is, and its bytes. Numbers of fields are those of
k8s.io/api/core/v1 and k8s.io/apimachinery/pkg/apis/meta/v1, generated.proto. Times and managedFields are left out, as
the server keeps its own; a field that is not in the tables is refused, and never dropped. Answers are JSON: clients
that send protobuf accept it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from trimtab.testing.kubernetes.refusal import ApiRefused

MAGIC = b"k8s\0"
Json = dict[str, Any]
Reader = Callable[[Any], Any]
Message = Mapping[int, tuple[str, Reader, str]]  # by number: the name, what reads it, and ONE, MANY, MAP or NONE

ONE, MANY, MAP, NONE = "one", "many", "map", "none"


def _text(value: bytes) -> str:
    return value.decode()


def _bytes(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _message(fields: Message) -> Reader:
    def read(content: bytes) -> Json:
        found: Json = {}
        for number, value in _fields(content):
            if number not in fields:
                raise ApiRefused(415, f"the server for tests does not know field {number} of this protobuf message")
            name, reader, kind = fields[number]
            if kind == MAP:
                pair = dict(_fields(value))
                found.setdefault(name, {})[_text(pair.get(1, b""))] = reader(pair.get(2, b""))
            elif kind == MANY:
                found.setdefault(name, []).append(reader(value))
            elif kind == ONE and value != b"":  # an empty text is one that was not given
                found[name] = reader(value)
        return found

    return read


_META = _message(
    {
        1: ("name", _text, ONE),
        2: ("generateName", _text, ONE),
        3: ("namespace", _text, ONE),
        4: ("selfLink", _text, ONE),
        5: ("uid", _text, ONE),
        6: ("resourceVersion", _text, ONE),
        7: ("generation", int, ONE),
        8: ("creationTimestamp", _text, NONE),
        11: ("labels", _text, MAP),
        12: ("annotations", _text, MAP),
        14: ("finalizers", _text, MANY),
        17: ("managedFields", _text, NONE),
    }
)
_KINDS: Mapping[str, Reader] = {
    "Secret": _message(
        {
            1: ("metadata", _META, ONE),
            2: ("data", _bytes, MAP),
            3: ("type", _text, ONE),
            4: ("stringData", _text, MAP),
            5: ("immutable", bool, ONE),
        }
    ),
    "ConfigMap": _message({1: ("metadata", _META, ONE), 2: ("data", _text, MAP), 3: ("binaryData", _bytes, MAP)}),
    "DeleteOptions": _message(
        {
            1: ("gracePeriodSeconds", int, ONE),
            2: ("preconditions", _message({1: ("uid", _text, ONE), 2: ("resourceVersion", _text, ONE)}), ONE),
            3: ("orphanDependents", bool, ONE),
            4: ("propagationPolicy", _text, ONE),
            5: ("dryRun", _text, MANY),
        }
    ),
}
_TYPE = _message({1: ("apiVersion", _text, ONE), 2: ("kind", _text, ONE)})


def read(body: bytes) -> Json:
    """The object as JSON has it; raises ApiRefused (415) for a kind that is not known here."""
    try:
        unknown = dict(_fields(body.removeprefix(MAGIC)))
        head = _TYPE(unknown[1])
        if head.get("kind") not in _KINDS:
            raise ApiRefused(415, f"the server for tests takes no {head.get('kind')} in protobuf")
        return {**head, **_KINDS[head["kind"]](unknown.get(2, b""))}
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        raise ApiRefused(400, f"the body is no protobuf of an object: {error!r}") from error


def _fields(content: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of each field: a number, or bytes."""
    at = 0
    while at < len(content):
        key, at = _number(content, at)
        if key & 7 == 0:
            value, at = _number(content, at)
            yield key >> 3, value
        elif key & 7 == 2:
            length, at = _number(content, at)
            if at + length > len(content):
                raise ValueError("it ends in the middle of a field")
            yield key >> 3, content[at : at + length]
            at += length
        else:
            raise ValueError(f"wire type {key & 7}")


def _number(content: bytes, at: int) -> tuple[int, int]:
    """A varint and where it ends."""
    found = shift = 0
    while True:
        byte = content[at]
        found |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return found, at
