"""Starting a runtime that is a program of its own: check, lay out what it reads, then become it.

The process is replaced, so that what is sent to it (SIGTERM above all) reaches the runtime and nothing stands between.
"""

from __future__ import annotations

import os
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from trimtab.errors import TrimtabError
from trimtab.serving import arguments
from trimtab.serving.served import Served, load
from trimtab.stages.bundle import Predictor

REFUSED, FAILED = 2, 1


@dataclass(frozen=True)
class Program:
    """What is run: the command, and what its environment has besides what was there."""

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)


def become(
    parser: ArgumentParser,
    given: list[str],
    lay_out: Callable[[Namespace, Served, Predictor, Path], Program],
) -> int:
    """Replace this process by what `lay_out` says; returns only the exit code of what cannot be served.

    `lay_out` gets an empty folder of its own, below the temporary files; it stays there, some kilobytes large.
    """
    parsed = arguments.parse(parser, given)
    served = arguments.served(parsed)
    try:
        predictor = load(served.bundle, served.digest)
        program = lay_out(parsed, served, predictor, Path(tempfile.mkdtemp(prefix="trimtab-serving-")))
    except TrimtabError as error:
        print(f"version {served.version} is not served: {error}", file=sys.stderr)
        return REFUSED
    sys.stderr.flush()
    environment = {**os.environ, **served.to_environment(), **program.environment}
    try:
        os.execvpe(program.command[0], program.command, environment)  # noqa: S606 - no shell is wanted
    except OSError as error:
        print(f"{program.command[0]} cannot be run: {error.strerror}. Install it, or mend PATH", file=sys.stderr)
        return FAILED
