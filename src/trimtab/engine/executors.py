"""What a task runs, out of an executor of the IR: the source of a lightweight Python component and its function."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_PROGRAM = "ephemeral_component.py"
_FUNCTION, _INPUT = "--function_to_execute", "--executor_input"
_SWITCHES_WITH_VALUE = {"--index-url", "--extra-index-url", "--trusted-host", "-i", "--find-links", "-f"}


class NotPythonError(ValueError):
    """An executor that is no lightweight Python component."""


@dataclass(frozen=True)
class PythonProgram:
    """A lightweight component: `arguments` are those of kfp's executor_main with placeholders still in them."""

    source: str
    function: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]


def python_program(container: Mapping[str, Any]) -> PythonProgram:
    """The program of a container executor; raises NotPythonError with what it is instead."""
    command = [*container.get("command", ()), *container.get("args", ())]
    at = next((index for index, text in enumerate(command) if _PROGRAM in text and '"$@"' in text), None)
    if at is None or at + 1 >= len(command):
        module = any("kfp.dsl.executor_main" in text for text in command)
        what = "a containerized Python component" if module else "a container component"
        raise NotPythonError(
            f"{what} (image {container.get('image', '?')}, command {' '.join(command)[:60]!r}): it needs a container"
        )
    arguments = command[at + 2 :]
    function = _value(arguments, _FUNCTION)
    if function is None or _value(arguments, _INPUT) is None:
        raise NotPythonError(f"a Python component without {_FUNCTION} or {_INPUT}")
    return PythonProgram(
        source=command[at + 1],
        function=function,
        arguments=tuple(arguments),
        environment={one["name"]: one.get("value", "") for one in container.get("env", ())},
    )


def requirements(container: Mapping[str, Any]) -> list[str]:
    """What a component's command would install with pip before it runs."""
    return [name for text in container.get("command", ()) if "pip install" in text for name in _requirements(text)]


def _value(arguments: Sequence[str], switch: str) -> str | None:
    for index, text in enumerate(arguments):
        if text == switch and index + 1 < len(arguments):
            return arguments[index + 1]
        if text.startswith(f"{switch}="):
            return text.partition("=")[2]
    return None


def _requirements(script: str) -> list[str]:
    """The requirements of the `pip install` commands that the KFP compiler writes before the component's own."""
    lexer = shlex.shlex(script, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:
        words = script.split()
    found: list[str] = []
    installing = skip = False
    for before, word in itertools.pairwise(["", *words]):
        if set(word) <= set(";&|()<>") and word:
            installing = False
        elif before == "pip" and word == "install":
            installing = True
        elif installing and not skip and not word.startswith("-"):
            found.append(word)
        skip = installing and word in _SWITCHES_WITH_VALUE
    return found
