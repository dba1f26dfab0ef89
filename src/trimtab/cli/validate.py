"""`trimtab validate`: is a loop.yaml right, and if not, what is wrong where."""

from __future__ import annotations

import json
import re
from pathlib import Path

from rich.console import Console
from rich.text import Text

from trimtab.errors import DocumentRefused, Refused
from trimtab.loop.home import find_document
from trimtab.spec.document import ModelLoop
from trimtab.spec.explain import Finding
from trimtab.spec.problems import Problem
from trimtab.spec.read import load, placed, problems, source_lines

_PASSWORD = re.compile(r"(://[^@:\s]{0,200}:|[?&;](?:password|passwd|pwd|token|secret)=)([^@&;\s'\"]{1,200})")


def validate_found(given: Path | None, as_json: bool) -> None:
    """Validate the file, or the nearest loop.yaml; that there is none is said in a list too where one is wanted."""
    try:
        validate(find_document(given, Path.cwd()), as_json)
    except Refused as error:
        if as_json:
            print(json.dumps([Problem(0, 0, "", str(error)).to_json()], indent=2))
        raise


def validate(path: Path, as_json: bool) -> None:
    """Print every problem with the line it is in; exit code 2 if there is one."""
    found = problems(path) or _training(path, load(path))
    if as_json:
        print(json.dumps([problem.to_json() for problem in found], indent=2))
    elif found:
        _show(path, found)
    else:
        _praise(path, load(path))
    if found:
        raise SystemExit(DocumentRefused.exit_code)


def _training(path: Path, loop: ModelLoop) -> tuple[Problem, ...]:
    """What scikit-learn would refuse of `training`; it is asked only where the document says something of its own."""
    training = loop.spec.training
    if training.estimator is None and not training.parameters and training.imbalance == "none":
        return ()
    from trimtab.stages.training_settings import faults

    found = [
        Finding(
            ("spec", "training", *fault.key),
            fault.message,
            fault.found,
            fault.expected,
            fault.suggestion,
            of_key=not fault.found,
        )
        for fault in faults(training, loop.spec.scope.problem)
    ]
    return placed(path, found)


def _show(path: Path, found: tuple[Problem, ...]) -> None:
    console = Console(stderr=True)
    lines = [_harmless(line) for line in source_lines(path)]
    for problem in found:
        console.print(Text(problem.text(str(path)), style="bold"), soft_wrap=True)
        if problem.line <= len(lines):
            number = f"{problem.line:>5} "
            console.print(Text.assemble((number, "dim"), ("| ", "dim"), lines[problem.line - 1]), soft_wrap=True)
            console.print(Text(" " * (len(number) + 1 + problem.column) + "^", style="red"), soft_wrap=True)
    console.print(f"{len(found)} problem{'s' if len(found) > 1 else ''}", style="red")


def _harmless(line: str) -> str:
    """The line with nothing in it that a terminal obeys, its columns where they were, and no password."""
    plain = "".join(
        letter if letter.isprintable() else " " if letter == "\t" else "\N{REPLACEMENT CHARACTER}" for letter in line
    )
    return _PASSWORD.sub(lambda found: found[1] + "*" * len(found[2]), plain)


def _praise(path: Path, loop: ModelLoop) -> None:
    spec = loop.spec
    source = spec.data.source.path or "a query"
    metrics = ", ".join(metric.name for metric in spec.metrics)
    Console().print(
        f"{path} is a valid ModelLoop: {loop.metadata.name}, {spec.scope.problem} of {spec.data.label.column} "
        f"from {source}, promised by {metrics}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
