"""One run of a graph: starts each task once all before it have ended, and says what came of the whole.

Rules of a cluster (Argo under KFP): a task whose upstream failed or was skipped is skipped, unless its trigger policy is
ALL_UPSTREAM_TASKS_COMPLETED; branches that do not depend on a failure go on; a graph fails if any task in it failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trimtab.engine import ir, naming
from trimtab.engine.inputs import MissingInput, Upstream, gather
from trimtab.engine.outcome import CANCELLED, Done, Outcome
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


class Stage:
    """What a graph needs of the run it belongs to; `trimtab.engine.execution.Execution` is one."""

    components: Mapping[str, ir.Component]

    def start(self, component: ir.Component, task: ir.Task, place: Place, inputs: Values, done: Done) -> None:
        """Run a component that is no graph."""
        raise NotImplementedError

    def skip(self, place: Place, state: str, reason: str) -> None:
        """Record that a task was not run, or failed before it could be."""
        raise NotImplementedError

    def stopped(self, place: Place) -> bool:
        """Whether nothing more may start at this place."""
        raise NotImplementedError

    def constant(self, value: Any, parameters: Mapping[str, Any], artifacts: Values, task: ir.Task) -> Any:
        """A constant of the IR with its placeholders replaced."""
        raise NotImplementedError


def run(stage: Stage, component: ir.Component, task: ir.Task, place: Place, inputs: Values, done: Done) -> None:
    """Run a component of any kind."""
    if component.tasks is None:
        stage.start(component, task, place, inputs, done)
    else:
        Graph(stage, component, place, inputs, done).advance()


class Graph:
    """The tasks of one graph component with one set of inputs."""

    def __init__(self, stage: Stage, component: ir.Component, place: Place, inputs: Values, done: Done) -> None:
        self._stage = stage
        self._component = component
        self._place = place
        self._inputs = inputs
        self._done: Done | None = done
        self._waiting = dict(component.tasks or {})
        self._running: set[str] = set()
        self._ended: dict[str, Outcome] = {}
        self._advancing = False

    def advance(self) -> None:
        """Start what can be started; report when all is over. Tasks may end while this runs: it is not re-entered."""
        if self._advancing:
            return
        self._advancing = True
        while ready := [task for task in self._waiting.values() if task.depends_on <= set(self._ended)]:
            for task in ready:
                del self._waiting[task.name]
                self._running.add(task.name)
                self._start(task)
        self._advancing = False
        if not self._running and self._done is not None:
            done, self._done = self._done, None
            done(self._outcome())

    def _start(self, task: ir.Task) -> None:
        place = self._place.inside(task.name, sheltered=task.always)
        if self._stage.stopped(place):
            self._stage.skip(place, "CANCELLED", CANCELLED.reason)
            self._end(task, CANCELLED)
            return
        blocker = None if task.always else self._blocker(task)
        if blocker:
            self._not_run(task, place, Outcome("SKIPPED", reason=blocker))
            return
        try:
            inputs = self._gather(task)
        except MissingInput as error:
            self._not_run(task, place, Outcome("SKIPPED" if error.skipped else "FAILED", reason=str(error)))
            return
        self._launch(task, place, inputs)

    def _launch(self, task: ir.Task, place: Place, inputs: Values) -> None:
        from trimtab.engine.loop import Loop, condition_of

        try:
            wanted = condition_of(task, inputs)
        except ValueError as error:
            self._not_run(task, place, Outcome("FAILED", reason=str(error)))
            return
        if not wanted:
            self._not_run(task, place, Outcome("SKIPPED", reason=f"its condition is false: {task.condition}"))
            return
        component = self._stage.components[task.component]

        def done(outcome: Outcome) -> None:
            self._end(task, outcome)

        if task.iterator is None:
            run(self._stage, component, task, place, inputs, done)
        else:
            Loop(self._stage, component, task, place, inputs, done).begin()

    def _gather(self, task: ir.Task) -> Values:
        component = self._stage.components[task.component]
        return gather(
            task, component, Upstream(self._inputs, self._component.inputs, self._ended), self._stage.constant
        )

    def _blocker(self, task: ir.Task) -> str:
        for name in sorted(task.depends_on):
            state = self._ended[name].state
            if state != "SUCCEEDED":
                return f"{name}, which it waits for, {_PAST[state]}"
        return ""

    def _not_run(self, task: ir.Task, place: Place, outcome: Outcome) -> None:
        self._stage.skip(place, outcome.state, outcome.reason)
        self._end(task, outcome)

    def _end(self, task: ir.Task, outcome: Outcome) -> None:
        self._running.discard(task.name)
        self._ended[task.name] = outcome
        self.advance()

    def _outcome(self) -> Outcome:
        failed = {name: one for name, one in self._ended.items() if one.state == "FAILED"}
        values = self._selected()
        if failed:
            return Outcome("FAILED", values, "; ".join(f"{name} failed: {one.reason}" for name, one in failed.items()))
        if any(one.state == "CANCELLED" for one in self._ended.values()):
            return Outcome("CANCELLED", values, CANCELLED.reason)
        return Outcome("SUCCEEDED", values)

    def _selected(self) -> Values:
        parameters, artifacts = {}, {}
        for name, sources in self._component.selected_parameters.items():
            for source in sources:
                found = self._ended[source.task].values.parameters
                if source.name in found:
                    parameters[name] = found[source.name]
                    break
        for name, sources in self._component.selected_artifacts.items():
            for source in sources:
                many = self._ended[source.task].values.artifacts
                if source.name in many:
                    artifacts[name] = many[source.name]
                    break
        return Values(parameters, artifacts)


_PAST = {"FAILED": "failed", "SKIPPED": "was skipped", "CANCELLED": "was cancelled"}
Resolver = Callable[[Any, Mapping[str, Any], Values, ir.Task], Any]
