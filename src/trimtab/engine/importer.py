"""dsl.importer: an artifact that is already on this machine becomes an output."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from trimtab.engine import ir, placeholders, support
from trimtab.engine.decode import whole
from trimtab.engine.executor_io import TaskFolder, executor_input
from trimtab.engine.outcome import Done, Outcome
from trimtab.engine.values import Artifact, Values, digest_of, local_path
from trimtab.errors import PipelineRefused
from trimtab.ports.runs import TaskRecord

if TYPE_CHECKING:
    from trimtab.engine.execution import Execution
    from trimtab.engine.stage import Place


def refuse_remote(pipeline: ir.Pipeline, parameters: Mapping[str, Any]) -> None:
    """Raise PipelineRefused for an importer that takes its URI from a parameter which names another machine."""
    found: list[str] = []
    for task in (pipeline.root.tasks or {}).values():
        executor = pipeline.executors.get(pipeline.components[task.component].executor, {})
        source = task.parameters.get("uri")
        if "importer" in executor and source is not None and source.kind == "input":
            found += support.remote(f"parameter {source.name}", str(parameters.get(source.name, "")))
    if found:
        raise PipelineRefused(f"{pipeline.name}: " + "; ".join(found))


def import_artifact(
    run: Execution,
    component: ir.Component,
    task: ir.Task,
    place: Place,
    inputs: Values,
    importer: Mapping[str, Any],
    done: Done,
) -> None:
    """Record the artifact and report it; a URI that is not on this machine fails the task."""
    now = datetime.now(UTC)
    told = inputs.to_json(component.inputs)
    record = TaskRecord(run.record.run_id, place.path, "FAILED", started=now, attempt=1, inputs=told)
    try:
        values = _imported(run, component, task, place, inputs, importer)
    except (ValueError, OSError) as error:
        run.save(_ended(record, "FAILED", reason=str(error)))
        done(Outcome("FAILED", reason=f"task {place.path}: {error}"))
        return
    run.save(_ended(record, "SUCCEEDED", outputs=values.to_json(component.outputs)))
    done(Outcome("SUCCEEDED", values))


def _imported(
    run: Execution,
    component: ir.Component,
    task: ir.Task,
    place: Place,
    inputs: Values,
    importer: Mapping[str, Any],
) -> Values:
    address = importer.get("artifactUri", {})
    told = executor_input(component, inputs, TaskFolder(place.folder))
    names = run.names(task, place)
    uri = inputs.parameters.get("uri", address.get("constant"))
    uri = placeholders.resolve(address["constant"], told, names) if "constant" in address else uri
    if not isinstance(uri, str) or not uri:
        raise ValueError("the importer got no URI")
    for problem in support.remote("importer", uri):
        raise ValueError(problem)
    path = local_path(uri)
    if path is None or not path.exists():
        raise ValueError(f"{uri} is not there: the importer needs an absolute path of an existing file or folder")
    metadata = placeholders.resolve(whole(dict(importer.get("metadata", {}))), told, names)
    name, spec = next(iter(component.outputs.artifacts.items()))
    made = Artifact(name, str(path), spec.title, spec.version, metadata, digest_of(uri))
    return Values({}, {name: (made,)})


def _ended(record: TaskRecord, state: Any, *, reason: str = "", outputs: Mapping[str, Any] | None = None) -> TaskRecord:
    from dataclasses import replace

    return replace(record, state=state, ended=datetime.now(UTC), exit_reason=reason, outputs=outputs or {})
