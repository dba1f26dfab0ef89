"""YAML text as plain values, with the line and column of every key and value.

Built on the parser's events, not on PyYAML's loader: nothing is ever constructed but text, numbers, booleans, null,
lists and mappings; size, depth and the growth of aliases are bounded; repeated keys, tags and several documents are
refused. Plain words are read by the core schema of YAML 1.2 (section 10.3.2), so that `on`, `yes`, dates and 12:30 stay
text; keys are always text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import yaml

from trimtab.spec.problems import Loc, dotted, shown
from trimtab.spec.syntax import Place, Unreadable, syntax_error

__all__ = ["Place", "Tree", "Unreadable", "read"]

LARGEST_BYTES = 1024 * 1024
MOST_VALUES = 20_000
DEEPEST = 32
_LARGEST_INTEGER = 2**63 - 1

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_ENDLESS = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NOTHING = ("", "~", "null", "Null", "NULL")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass
class Tree:
    """`value`: the document as plain values; `places`: of each value; `keys`: of each mapping's key."""

    value: Any = None
    places: dict[Loc, Place] = field(default_factory=dict)
    keys: dict[Loc, Place] = field(default_factory=dict)

    def place(self, loc: Loc, *, of_key: bool = False) -> Place:
        """Of this key or value, or of the nearest thing around it that is in the file."""
        for end in range(len(loc), -1, -1):
            first, second = (self.keys, self.places) if of_key or end < len(loc) else (self.places, self.keys)
            if loc[:end] in first or loc[:end] in second:
                return first.get(loc[:end]) or second[loc[:end]]
        return Place(1, 1)


@dataclass
class _Node:
    place: Place
    value: Any  # a scalar, list[_Node] or list[tuple[Place, str, _Node]]
    kind: str
    open: bool = False


def read(content: bytes) -> Tree:
    """The tree of one YAML document; raises Unreadable."""
    text = _text(content)
    try:
        root = _compose(text)
    except yaml.YAMLError as error:
        raise syntax_error(error, text) from error
    if root is None:
        raise Unreadable(Place(1, 1), "the file is empty", expected="a ModelLoop document; make one with: trimtab init")
    tree = Tree()
    tree.value = _expand(root, (), tree)
    return tree


def _text(content: bytes) -> str:
    if len(content) > LARGEST_BYTES:
        raise Unreadable(Place(1, 1), f"the file has {len(content)} bytes", expected=f"at most {LARGEST_BYTES}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        raise Unreadable(
            Place(line, error.start - (before.rfind(b"\n") + 1) + 1),
            f"byte {content[error.start]:#04x} is not UTF-8",
            expected="a file saved as UTF-8",
        ) from error
    control = _CONTROL.search(text)
    if control:
        raise Unreadable(_place_of(text, control.start()), f"control character {ord(control[0]):#04x}", expected="text")
    return text


def _place_of(text: str, position: int) -> Place:
    return Place(text.count("\n", 0, position) + 1, position - (text.rfind("\n", 0, position) + 1) + 1)


def _at(event: yaml.Event) -> Place:
    mark = event.start_mark
    return Place(1, 1) if mark is None else Place(mark.line + 1, mark.column + 1)


def _compose(text: str) -> _Node | None:
    """Nodes from events, without recursion; the root, or None for a file without a document."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    stack: list[tuple[_Node, list[_Node]]] = []
    anchors: dict[str, _Node] = {}
    root: _Node | None = None
    documents = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise Unreadable(_at(event), "a second document begins here", expected="one ModelLoop in a file")
        elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            node, parts = stack.pop()
            node.value = parts if node.kind == "list" else list(_pairs(parts))
            node.open = False
            root = _placed(node, stack, root)
        elif isinstance(event, yaml.NodeEvent):
            node = _node(event, anchors)
            if node.open and not isinstance(event, yaml.AliasEvent):
                if len(stack) >= DEEPEST:
                    raise Unreadable(_at(event), f"nested more than {DEEPEST} deep")
                stack.append((node, []))
            else:
                root = _placed(node, stack, root)
    return root


def _placed(node: _Node, stack: list[tuple[_Node, list[_Node]]], root: _Node | None) -> _Node:
    if not stack:
        return node
    stack[-1][1].append(node)
    return root or node


def _node(event: yaml.NodeEvent, anchors: dict[str, _Node]) -> _Node:
    place = _at(event)
    if isinstance(event, yaml.AliasEvent):
        known = anchors.get(str(event.anchor))
        if known is None or known.open:
            raise Unreadable(place, f"alias *{event.anchor} has no anchor before it")
        return _Node(place, known.value, known.kind)
    tag = getattr(event, "tag", None)
    if tag not in (None, "!"):
        raise Unreadable(place, f"tag {shown(tag)}", expected="plain YAML without tags")
    if isinstance(event, yaml.ScalarEvent):
        plain = event.implicit[0] and event.style in (None, "")
        node = _Node(place, (event.value, plain), "scalar")
    else:
        node = _Node(place, None, "map" if isinstance(event, yaml.MappingStartEvent) else "list", open=True)
    if event.anchor is not None:
        anchors[str(event.anchor)] = node
    return node


def _pairs(parts: list[_Node]) -> Iterator[tuple[Place, str, _Node]]:
    seen: dict[str, Place] = {}
    for key, value in zip(parts[::2], parts[1::2], strict=True):
        if key.kind != "scalar":
            raise Unreadable(key.place, "a key that is a list or a mapping", expected="text")
        name = key.value[0]
        if name == "<<" and key.value[1]:
            raise Unreadable(key.place, "merge keys (<<) are not read", expected="the keys written out")
        if name in seen:
            raise Unreadable(
                key.place, f"the key {shown(name)} stands twice", expected=f"it once (first in line {seen[name].line})"
            )
        seen[name] = key.place
        yield key.place, name, value


def _expand(node: _Node, loc: Loc, tree: Tree) -> Any:
    """Plain values, with aliases written out; at most DEEPEST deep and MOST_VALUES in all."""
    if len(loc) > DEEPEST:
        raise Unreadable(node.place, f"nested more than {DEEPEST} deep")
    if len(tree.places) >= MOST_VALUES:
        raise Unreadable(node.place, f"more than {MOST_VALUES} values, aliases written out")
    tree.places[loc] = node.place
    if node.kind == "map":
        out = {}
        for place, name, child in node.value:
            tree.keys[(*loc, name)] = place
            out[name] = _expand(child, (*loc, name), tree)
        return out
    if node.kind == "list":
        return [_expand(child, (*loc, index), tree) for index, child in enumerate(node.value)]
    text, plain = node.value
    return _scalar(text, node.place, loc) if plain else text


def _scalar(text: str, place: Place, loc: Loc) -> Any:
    if text in _NOTHING:
        return None
    if text in _WORDS:
        return _WORDS[text]
    number: int | float | None = None
    if len(text) > 400 and _FLOAT.fullmatch(text):
        raise Unreadable(place, f"a number of {len(text)} digits", expected="quotes around text", path=dotted(loc))
    if _INTEGER.fullmatch(text):
        number = int(text)
    elif _BASED.fullmatch(text):
        number = int(text, 0)
    elif _FLOAT.fullmatch(text) and not re.fullmatch(r"[-+]?0[0-9]+", text):
        number = float(text)
    elif _ENDLESS.fullmatch(text):
        raise Unreadable(place, f"{text} is not finite", expected="a number, or quotes around text", path=dotted(loc))
    if number is None:
        return text
    if not isfinite(number) or (isinstance(number, int) and abs(number) > _LARGEST_INTEGER):
        raise Unreadable(
            place, f"the number {shown(text)} is too large", expected="quotes around text", path=dotted(loc)
        )
    return number
