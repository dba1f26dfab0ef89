"""The inputs of a task: out of its graph's inputs, the outputs of tasks before it, and constants."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trimtab.engine import ir
from trimtab.engine.outcome import Outcome
from trimtab.engine.parameters import WrongTypeError, loosened
from trimtab.engine.selectors import SelectorError, select
from trimtab.engine.values import Artifact, Values

MISSING = object()
_CHANNEL, _FIELD = "pipelinechannel--", "-subvar-"
_GROUP = re.compile(r"comp-(for-loop|condition|condition-branches|exit-handler)-\d+(-\d+)?")
Resolver = Callable[[Any, Mapping[str, Any], Values, ir.Task], Any]


class MissingInputError(ValueError):
    """An input has no value; `skipped` where that is because an upstream task was skipped."""

    def __init__(self, sentence: str, *, skipped: bool = False) -> None:
        super().__init__(sentence)
        self.skipped = skipped


@dataclass(frozen=True)
class Upstream:
    """What a graph's tasks can draw on."""

    inputs: Values
    interface: ir.Interface
    ended: Mapping[str, Outcome]
    run_name: str
    around: Upstream | None = None  # what the graph around a control-flow group can draw on

    def value(self, name: str) -> Any:
        """The graph's input of this name, or `MISSING`.

        The compiler (2.17.0) forgets to pass some values into nested loops, and names a field of a loop item as if it
        were an input of its own. Both are still unambiguous: the name is looked up in the graphs around, and the field
        in the item.
        """
        if name in self.inputs.parameters:
            return self.inputs.parameters[name]
        if name not in self.interface.parameters and self.around is not None:
            outer = self.around.value(name)
            if outer is MISSING:
                outer = self.around.value(name.removeprefix(_CHANNEL))
            if outer is not MISSING:
                return outer
        item, found, field = name.rpartition(_FIELD)
        whole = self.value(item) if found else MISSING
        return whole[field] if isinstance(whole, Mapping) and field in whole else MISSING


def gather(task: ir.Task, component: ir.Component, upstream: Upstream, constant: Resolver) -> Values:
    """The inputs of one task, typed as its component declares them; raises MissingInputError."""
    artifacts = Values({}, _artifacts(task, component, upstream))
    found: dict[str, Any] = {}
    constants: dict[str, ir.Source] = {}
    for name, source in task.parameters.items():
        if source.kind == "constant":
            constants[name] = source
            continue
        value = _parameter(name, source, upstream)
        if value is not MISSING:
            found[name] = value
    for name, source in constants.items():  # after the others: a constant may hold placeholders of them
        try:
            found[name] = constant(source.value, found, artifacts, task)
        except ValueError as error:
            raise MissingInputError(f"input {name}: {error}") from error
    iterated = task.iterator.item if task.iterator else ""
    return Values(_typed(task, component, found, iterated, upstream), artifacts.artifacts)


def _typed(
    task: ir.Task, component: ir.Component, found: Mapping[str, Any], iterated: str, upstream: Upstream
) -> dict[str, Any]:
    typed = dict(found)
    for name, spec in component.inputs.parameters.items():
        if name in found and found[name] is not None:
            try:
                typed[name] = loosened(found[name], spec.type)
            except WrongTypeError as error:
                # The compiler (2.17.0) gives a group all fields of an item with the type of one: its tasks check them.
                if _FIELD not in name or not is_group(component):
                    raise MissingInputError(f"input {name}: {error}") from error
        elif spec.has_default:
            typed[name] = spec.default
        elif spec.type == "TASK_FINAL_STATUS":  # a component with a status, run outside any exit handler
            typed[name] = {}
        elif name != iterated and not spec.optional and component.tasks is None and not _open(task, name, upstream):
            raise MissingInputError(*_why(name, task.parameters.get(name)), skipped=_skipped(task, name, upstream))
    return typed


def _open(task: ir.Task, name: str, upstream: Upstream) -> bool:
    """An optional input of the pipeline that was not given stays absent all the way down."""
    source = task.parameters.get(name)
    if source is None or source.kind != "input":
        return False
    here: Upstream | None = upstream
    wanted = source.name
    while here is not None:
        spec = here.interface.parameters.get(wanted) or here.interface.parameters.get(wanted.removeprefix(_CHANNEL))
        if spec is not None and spec.optional:
            return True
        here = here.around
    return False


def is_group(component: ir.Component) -> bool:
    """Whether a graph is a loop, a condition or an exit handler, and not a pipeline used as a component."""
    return _GROUP.fullmatch(component.name) is not None and all(
        name.startswith(_CHANNEL) for name in component.inputs.parameters
    )


def _why(name: str, source: ir.Source | None) -> tuple[str]:
    if source is None or source.kind != "output":
        return (f"input {name} has no value and no default",)
    return (f"input {name} takes output {source.name} of {source.task}, which put out no such value",)


def _skipped(task: ir.Task, name: str, upstream: Upstream) -> bool:
    source = task.parameters.get(name) or task.artifacts.get(name)
    return bool(source and source.task and upstream.ended[source.task].state == "SKIPPED")


def _parameter(name: str, source: ir.Source, upstream: Upstream) -> Any:
    if source.kind == "status":
        return _status(source.task, upstream)
    if source.kind == "output":
        value = upstream.ended[source.task].values.parameters.get(source.name, MISSING)
    else:
        value = upstream.value(source.name)
    if value is MISSING or not source.selector:
        return value
    try:
        return select(value, source.selector)
    except SelectorError as error:
        raise MissingInputError(f"input {name}: {error}") from error


def _status(name: str, upstream: Upstream) -> dict[str, Any]:
    """PipelineTaskFinalStatus as kfp's executor reads it; codes are those of google.rpc.Code."""
    outcome = upstream.ended[name]
    state = "CANCELLED" if outcome.state == "SKIPPED" else outcome.state
    error = (
        {} if outcome.state == "SUCCEEDED" else {"code": 1 if state == "CANCELLED" else 9, "message": outcome.reason}
    )
    return {
        "state": state,
        "error": error,
        "pipelineTaskName": name,
        "pipelineJobResourceName": upstream.run_name,
    }


def _artifacts(task: ir.Task, component: ir.Component, upstream: Upstream) -> dict[str, tuple[Artifact, ...]]:
    found: dict[str, tuple[Artifact, ...]] = {}
    for name, source in task.artifacts.items():
        if source.kind == "output":
            many = upstream.ended[source.task].values.artifacts.get(source.name)
        else:
            many = upstream.inputs.artifacts.get(source.name)
        if many is not None:
            found[name] = many
            continue
        spec = component.inputs.artifacts.get(name)
        if spec is not None and not spec.optional and source.kind == "output":
            raise MissingInputError(*_why(name, source), skipped=_skipped(task, name, upstream))
    for name, spec in component.inputs.artifacts.items():
        iterated = task.iterator is not None and task.iterator.item == name
        if name not in found and name not in task.artifacts and not spec.optional and not iterated:
            raise MissingInputError(f"input artifact {name} comes from nowhere")
    return found
