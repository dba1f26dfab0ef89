"""dsl.importer: an artifact that is already on this machine becomes an output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from trimtab.engine import ir, placeholders, texts
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
    """Raise PipelineRefused for an importer whose URI is a parameter that names another machine or a relative path."""
    _refuse(pipeline, [problem for who, uri, _ in _uris(pipeline, parameters) for problem in texts.elsewhere(who, uri)])


def refuse_missing(pipeline: ir.Pipeline, parameters: Mapping[str, Any]) -> None:
    """Raise PipelineRefused if there is nothing at the path of an importer that waits for no task which might write it.

    To be asked on the machine that runs the pipeline.
    """
    asked = [(who, uri) for who, uri, task in _uris(pipeline, parameters) if not task.depends_on and not task.condition]
    _refuse(pipeline, [problem for who, uri in asked for problem in texts.missing(who, uri)])


def _uris(pipeline: ir.Pipeline, parameters: Mapping[str, Any]) -> Iterator[tuple[str, str, ir.Task]]:
    """Who names which URI for which importer of the pipeline itself, as far as that is known before it runs."""
    for task in (pipeline.root.tasks or {}).values():
        executor = pipeline.executors.get(pipeline.components[task.component].executor, {})
        if "importer" not in executor:
            continue
        source = task.parameters.get("uri")
        if source is None:
            yield f"task {task.name}", str(executor["importer"].get("artifactUri", {}).get("constant", "")), task
        elif source.kind == "input":
            yield f"parameter {source.name}", str(parameters.get(source.name, "")), task
        elif source.kind == "constant":
            yield f"task {task.name}", str(source.value), task


def _refuse(pipeline: ir.Pipeline, found: list[str]) -> None:
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
    for problem in texts.elsewhere("importer", uri):
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
