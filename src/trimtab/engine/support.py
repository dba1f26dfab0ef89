"""What of a pipeline cannot be run here, each by its name, before the first task starts."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator, Mapping
from typing import Any

from trimtab.engine import conditions, fields, texts
from trimtab.engine.executors import NotPythonError, python_program, requirements
from trimtab.engine.selectors import SelectorError, check_selector

_MOST_SHOWN = 20
# Configuration of pods that changes where or how safely a task runs, but not what it computes.
_PLACEMENT = {
    "nodeSelector",
    "podMetadata",
    "imagePullSecret",
    "imagePullPolicy",
    "tolerations",
    "nodeAffinity",
    "podAffinity",
    "enabledSharedMemory",
    "securityContext",
}
_TIMEOUT = "activeDeadlineSeconds"
_SECRETS = "secretAsEnv"  # an optional one need not be there


def problems(document: Mapping[str, Any], platform: Mapping[str, Any]) -> list[str]:
    """Every reason why this pipeline cannot be run here; empty if it can."""
    found = list(fields.unknown(document, fields.PIPELINE)) + list(fields.unknown(platform, fields.PLATFORM))
    if not found:
        found = [*_shape(document), *_executors(document), *_components(document), *_platform(platform)]
        found += _workspace(document, platform)
    if len(found) > _MOST_SHOWN:
        found = [*found[:_MOST_SHOWN], f"and {len(found) - _MOST_SHOWN} more"]
    return found


def notes(document: Mapping[str, Any], platform: Mapping[str, Any]) -> list[str]:
    """What is accepted but has no effect here, in sentences."""
    found = []
    if document.get("defaultPipelineRoot"):
        found.append(f"pipeline_root {document['defaultPipelineRoot']}: artifacts stay on this machine")
    for label, executor in document.get("deploymentSpec", {}).get("executors", {}).items():
        if executor.get("container", {}).get("resources"):
            found.append(f"{label}: resource requests and limits have no effect on one machine")
    for label, config in _kubernetes(platform).items():
        ignored = sorted(set(config) & _PLACEMENT)
        if ignored:
            found.append(f"{label}: {', '.join(ignored)} have no effect on one machine")
    for body in (document.get("root", {}), *document.get("components", {}).values()):
        for task, spec in body.get("dag", {}).get("tasks", {}).items():
            condition = spec.get("triggerPolicy", {}).get("condition")
            if condition and not conditions.parse(condition).strict:
                found.append(
                    f"{task}: a cluster refuses its condition, as kfp's compiler does not escape texts: {condition}"
                )
    return found


def _shape(document: Mapping[str, Any]) -> Iterator[str]:
    if not document.get("pipelineInfo", {}).get("name"):
        yield "pipelineInfo.name is missing: this is no compiled KFP pipeline (make one with kfp's compiler)"
    if "dag" not in document.get("root", {}):
        yield "root.dag is missing: this is no compiled KFP pipeline (make one with kfp's compiler)"
    version = str(document.get("schemaVersion", "2.1.0"))
    if version.partition(".")[0] != "2":
        yield f"schemaVersion {version}: only 2.x is read"


def _executors(document: Mapping[str, Any]) -> Iterator[str]:
    for label, executor in document.get("deploymentSpec", {}).get("executors", {}).items():
        if "importer" in executor:
            yield from texts.importer(label, executor["importer"])
        elif "container" in executor:
            yield from _container(label, executor["container"])
        else:
            yield f"executor {label}: only container and importer executors are supported"


def _container(label: str, container: Mapping[str, Any]) -> Iterator[str]:
    try:
        program = python_program(container)
    except NotPythonError as error:
        yield f"executor {label} is {error}. Only lightweight Python components (@dsl.component) run here"
        return
    yield from texts.placeholders(f"executor {label}", [program.arguments, dict(program.environment)])
    for text in requirements(container):
        lacking = _unsatisfied(text)
        if lacking:
            yield f"executor {label}: packages_to_install has {text!r}, {lacking}. Install it in this environment first"


def _unsatisfied(text: str) -> str:
    from packaging.requirements import InvalidRequirement, Requirement  # costs 50 ms, and few pipelines need it

    try:
        wanted = Requirement(text)
    except InvalidRequirement:
        return "which is no plain requirement"
    if wanted.marker is not None and not wanted.marker.evaluate():
        return ""
    if wanted.name == "kfp":  # the engine's own kfp runs every component
        return ""
    try:
        installed = importlib.metadata.version(wanted.name)
    except importlib.metadata.PackageNotFoundError:
        return "which is not installed"
    fits = wanted.url is None and wanted.specifier.contains(installed, prereleases=True)
    return "" if fits else f"but {installed} is installed"


def _components(document: Mapping[str, Any]) -> Iterator[str]:
    components = document.get("components", {})
    executors = document.get("deploymentSpec", {}).get("executors", {})
    for name, body in (("root", document["root"]), *components.items()):
        if body.get("taskConfigPassthroughs"):
            yield f"component {name}: taskConfigPassthroughs needs a cluster"
        if "dag" not in body and body.get("executorLabel") not in executors:
            yield f"component {name}: executorLabel {body.get('executorLabel')!r} names no executor"
        for output, spec in body.get("outputDefinitions", {}).get("artifacts", {}).items():
            if spec.get("isArtifactList") and "dag" not in body:
                yield f"component {name}: output {output} is a list of artifacts, which a component cannot write"
        tasks = body.get("dag", {}).get("tasks", {})
        for task, spec in tasks.items():
            yield from _task(f"task {task} of {name}", spec, tasks, components)
            runs = components.get(spec.get("componentRef", {}).get("name"), {})
            if "importer" in executors.get(runs.get("executorLabel"), {}):
                yield from texts.imported(f"task {task} of {name}", spec)
        yield from _circle(name, tasks)
    yield from _recursion(components)


def _task(
    where: str, spec: Mapping[str, Any], tasks: Mapping[str, Any], components: Mapping[str, Any]
) -> Iterator[str]:
    if spec.get("componentRef", {}).get("name") not in components:
        yield f"{where}: componentRef {spec.get('componentRef', {}).get('name')!r} names no component"
    for name in (*spec.get("dependentTasks", ()), *_producers(spec)):
        if name not in tasks:
            yield f"{where}: it waits for {name!r}, which is no task beside it"
    trigger = spec.get("triggerPolicy", {})
    if trigger.get("strategy", "ALL_UPSTREAM_TASKS_SUCCEEDED") not in {
        "TRIGGER_STRATEGY_UNSPECIFIED",
        "ALL_UPSTREAM_TASKS_SUCCEEDED",
        "ALL_UPSTREAM_TASKS_COMPLETED",
    }:
        yield f"{where}: triggerPolicy.strategy {trigger['strategy']!r} is not supported"
    if trigger.get("condition"):
        try:
            conditions.parse(trigger["condition"])
        except conditions.ConditionError as error:
            yield f"{where}: {error}"
    raw = spec.get("parameterIterator", {}).get("items", {}).get("raw")
    if raw is not None and not _is_json_list(raw):
        yield f"{where}: the loop's items are no JSON list: {raw[:60]!r}"
    for name, source in spec.get("inputs", {}).get("parameters", {}).items():
        yield from texts.placeholders(f"{where}: input {name}", source.get("runtimeValue", {}).get("constant"))
        kinds = {"taskOutputParameter", "runtimeValue", "componentInputParameter", "taskFinalStatus"} & set(source)
        if len(kinds) != 1:
            yield f"{where}: input {name} has {len(kinds)} sources, not one"
        try:
            check_selector(source.get("parameterExpressionSelector", ""))
        except SelectorError as error:
            yield f"{where}: input {name}: {error}"


def _producers(spec: Mapping[str, Any]) -> Iterator[str]:
    inputs = spec.get("inputs", {})
    for source in (*inputs.get("parameters", {}).values(), *inputs.get("artifacts", {}).values()):
        for told in source.values():
            if isinstance(told, Mapping) and "producerTask" in told:
                yield told["producerTask"]


def _is_json_list(raw: str) -> bool:
    try:
        return isinstance(json.loads(raw), list)
    except json.JSONDecodeError:
        return False


def _circle(name: str, tasks: Mapping[str, Any]) -> Iterator[str]:
    waiting = {task: {*spec.get("dependentTasks", ()), *_producers(spec)} & set(tasks) for task, spec in tasks.items()}
    while ready := [task for task, before in waiting.items() if not before]:
        for task in ready:
            del waiting[task]
        for before in waiting.values():
            before.difference_update(ready)
    if waiting:
        yield f"component {name}: tasks wait for one another in a circle: {', '.join(sorted(waiting))}"


def _recursion(components: Mapping[str, Any]) -> Iterator[str]:
    calls = {
        name: {task.get("componentRef", {}).get("name") for task in body.get("dag", {}).get("tasks", {}).values()}
        for name, body in components.items()
    }
    while leaves := [name for name, called in calls.items() if not called & set(calls)]:
        for name in leaves:
            del calls[name]
    if calls:
        yield f"components contain themselves, which never ends: {', '.join(sorted(calls))}"


def _workspace(document: Mapping[str, Any], platform: Mapping[str, Any]) -> Iterator[str]:
    text = json.dumps(document, default=str)
    wanted = platform.get("platforms", {}).get("kubernetes", {}).get("pipelineConfig", {}).get("workspace")
    if "{{$.workspace_path}}" in text and not wanted:
        yield "dsl.WORKSPACE_PATH_PLACEHOLDER needs a pipeline_config with a workspace"
    if "/kfp-workspace" in text:
        yield "/kfp-workspace is a path of a cluster: use dsl.WORKSPACE_PATH_PLACEHOLDER, which is right here and there"


def _kubernetes(platform: Mapping[str, Any]) -> Mapping[str, Any]:
    told: Mapping[str, Any] = platform.get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {})
    executors: Mapping[str, Any] = told.get("executors", {})
    return executors


def _platform(platform: Mapping[str, Any]) -> Iterator[str]:
    for name in platform.get("platforms", {}):
        if name != "kubernetes":
            yield f"platform {name}: only kubernetes' configuration is read here"
    for label, config in _kubernetes(platform).items():
        for key in sorted(set(config) - _PLACEMENT - {_TIMEOUT}):
            if key == _SECRETS and all(secret.get("optional") for secret in config[key]):
                continue  # as in a namespace without such a secret
            yield f"executor {label}: {key} needs a Kubernetes cluster; here, give the task parameters or artifacts"
