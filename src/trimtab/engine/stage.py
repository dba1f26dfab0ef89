"""What graphs and loops know of the run they belong to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from trimtab.engine import ir, naming
from trimtab.engine.outcome import Done
from trimtab.engine.values import Values


@dataclass(frozen=True)
class Place:
    """Where in a run something is: its path for people, its folder, and whether it runs though the run is cancelled."""

    path: str
    folder: Path
    sheltered: bool = False

    def inside(self, name: str, *, sheltered: bool = False) -> Place:
        """The place of a task in the graph here."""
        path = f"{self.path}/{name}" if self.path else name
        return Place(path, self.folder / naming.segment(name), self.sheltered or sheltered)

    def iteration(self, index: int) -> Place:
        """The place of one iteration of the loop here."""
        return Place(f"{self.path}[{index}]", self.folder / naming.iteration(index), self.sheltered)


class Stage(Protocol):
    """A run, as a graph sees it; `trimtab.engine.execution.Execution` is one."""

    components: Mapping[str, ir.Component]
    run_name: str

    def start(self, component: ir.Component, task: ir.Task, place: Place, inputs: Values, done: Done) -> None:
        """Run a component that is no graph."""
        ...

    def skip(self, place: Place, state: str, reason: str) -> None:
        """Record that a task was not run, or failed before it could be."""
        ...

    def pause(self, place: Place, wait_seconds: float, go: Callable[[], None], stop: Callable[[], None]) -> None:
        """Do `go` later, or `stop` at once when nothing more may start at this place."""
        ...

    def repeated(self, place: Place, state: str, attempt: int, reason: str) -> None:
        """Record an attempt of a pipeline that is used as a component and has retries."""
        ...

    def stopped(self, place: Place) -> bool:
        """Whether nothing more may start at this place."""
        ...

    def constant(self, value: Any, parameters: Mapping[str, Any], artifacts: Values, task: ir.Task) -> Any:
        """A constant of the IR with its placeholders replaced."""
        ...
