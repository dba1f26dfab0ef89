"""One run of a graph: starts each task once all before it have ended, and says what came of the whole.

Rules of a cluster (Argo under KFP): a task whose upstream failed or was skipped is skipped, unless its trigger policy
is ALL_UPSTREAM_TASKS_COMPLETED; branches that do not depend on a failure go on; a graph fails if any task in it failed.
"""

from __future__ import annotations

from trimtab.engine import conditions, ir
from trimtab.engine.inputs import MissingInputError, Upstream, gather, is_group
from trimtab.engine.loop import Loop
from trimtab.engine.naming import readable
from trimtab.engine.outcome import CANCELLED, Done, Outcome
from trimtab.engine.stage import Place, Stage
from trimtab.engine.values import Values


def run(
    stage: Stage,
    component: ir.Component,
    task: ir.Task,
    place: Place,
    inputs: Values,
    done: Done,
    around: Upstream | None = None,
) -> None:
    """Run a component of any kind; `around` is what a control-flow group may look up outside itself."""
    if component.tasks is None:
        stage.start(component, task, place, inputs, done)
    else:
        Graph(stage, component, place, inputs, done, around if is_group(component) else None).advance()


class Graph:
    """The tasks of one graph component with one set of inputs."""

    def __init__(
        self,
        stage: Stage,
        component: ir.Component,
        place: Place,
        inputs: Values,
        done: Done,
        around: Upstream | None,
    ) -> None:
        self._stage = stage
        self._component = component
        self._place = place
        self._done: Done | None = done
        self._waiting = dict(component.tasks or {})
        self._running: set[str] = set()
        self._ended: dict[str, Outcome] = {}
        self._upstream = Upstream(inputs, component.inputs, self._ended, stage.run_name, around)
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
        except MissingInputError as error:
            self._not_run(task, place, Outcome("SKIPPED" if error.skipped else "FAILED", reason=str(error)))
            return
        self._launch(task, place, inputs)

    def _launch(self, task: ir.Task, place: Place, inputs: Values) -> None:
        try:
            wanted = not task.condition or conditions.parse(task.condition).holds(inputs.parameters)
        except ValueError as error:
            self._not_run(task, place, Outcome("FAILED", reason=str(error)))
            return
        if not wanted:
            self._not_run(task, place, Outcome("SKIPPED", reason=f"its condition is false: {readable(task.condition)}"))
            return
        component = self._stage.components[task.component]

        def done(outcome: Outcome) -> None:
            self._end(task, outcome)

        if task.iterator is None and component.tasks is not None and task.retry is not None:
            self._launch_again(1, task, place, inputs, done)
        elif task.iterator is None:
            run(self._stage, component, task, place, inputs, done, self._upstream)
        else:

            def iteration(at: Place, item: Values, over: Done) -> None:
                run(self._stage, component, task, at, item, over, self._upstream)

            Loop(self._stage, component, task, place, inputs, iteration, done).begin()

    def _launch_again(self, attempt: int, task: ir.Task, place: Place, inputs: Values, done: Done) -> None:
        """Run a pipeline used as a component, and the whole of it anew if it fails and has retries."""
        retry, stage = task.retry, self._stage

        def over(outcome: Outcome) -> None:
            stage.repeated(place, outcome.state, attempt, outcome.reason)
            done(outcome)

        def ended(outcome: Outcome) -> None:
            if retry is None or outcome.state != "FAILED" or attempt > retry.count or stage.stopped(place):
                over(outcome)
                return
            wait = retry.wait_before(attempt + 1)
            stage.repeated(place, "PENDING", attempt, f"{outcome.reason}; tried again after {wait:g} s")
            stage.pause(
                place,
                wait,
                lambda: self._launch_again(attempt + 1, task, place, inputs, done),
                lambda: over(CANCELLED),
            )

        stage.repeated(place, "RUNNING", attempt, "")
        run(stage, stage.components[task.component], task, place, inputs, ended, self._upstream)

    def _gather(self, task: ir.Task) -> Values:
        component = self._stage.components[task.component]
        return gather(task, component, self._upstream, self._stage.constant)

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
