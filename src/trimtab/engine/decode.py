"""Out of the YAML's dicts into the values of `ir`; `support.problems` has found nothing wrong with them before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from trimtab.engine.ir import (
    ArtifactSpec,
    Component,
    Interface,
    Iterator,
    ParameterSpec,
    Pipeline,
    Retry,
    Source,
    Task,
)


def pipeline(document: Mapping[str, Any], platform: Mapping[str, Any]) -> Pipeline:
    """The pipeline of a PipelineSpec and a PlatformSpec that `support.check` has let pass."""
    kubernetes = platform.get("platforms", {}).get("kubernetes", {})
    return Pipeline(
        name=document["pipelineInfo"]["name"],
        root=_component("root", document["root"]),
        components={name: _component(name, one) for name, one in document.get("components", {}).items()},
        executors=document.get("deploymentSpec", {}).get("executors", {}),
        platform=kubernetes.get("deploymentSpec", {}).get("executors", {}),
        workspace=bool(kubernetes.get("pipelineConfig", {}).get("workspace")),
        deadline_seconds=float(kubernetes.get("pipelineConfig", {}).get("activeDeadlineSeconds", 0)),
    )


def seconds(duration: str | None, default: float) -> float:
    """Seconds of a protobuf Duration in JSON, such as `1.5s`."""
    return float(duration.removesuffix("s")) if duration else default


def whole(value: Any) -> Any:
    """A value of the YAML as a cluster hands it on: protobuf knows no ints, and Go prints 2.0 as 2."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, list):
        return [whole(one) for one in value]
    if isinstance(value, dict):
        return {name: whole(one) for name, one in value.items()}
    return value


def _component(name: str, body: Mapping[str, Any]) -> Component:
    graph = body.get("dag")
    selected = graph.get("outputs", {}) if graph is not None else {}
    return Component(
        name=name,
        inputs=_interface(body.get("inputDefinitions", {})),
        outputs=_interface(body.get("outputDefinitions", {})),
        executor=body.get("executorLabel", ""),
        tasks=None if graph is None else {one: _task(one, spec) for one, spec in graph.get("tasks", {}).items()},
        selected_parameters={one: _selected(spec) for one, spec in selected.get("parameters", {}).items()},
        selected_artifacts={
            one: tuple(
                Source("output", name=pick["outputArtifactKey"], task=pick["producerSubtask"])
                for pick in spec.get("artifactSelectors", [])
            )
            for one, spec in selected.get("artifacts", {}).items()
        },
    )


def _selected(body: Mapping[str, Any]) -> tuple[Source, ...]:
    picks = body["valueFromOneof"].get("parameterSelectors", []) if "valueFromOneof" in body else None
    picks = [body["valueFromParameter"]] if picks is None else picks
    return tuple(Source("output", name=pick["outputParameterKey"], task=pick["producerSubtask"]) for pick in picks)


def _interface(body: Mapping[str, Any]) -> Interface:
    return Interface(
        {
            name: ParameterSpec(
                type=spec.get("parameterType", "STRING"),
                optional=bool(spec.get("isOptional", False)),
                has_default="defaultValue" in spec,
                default=whole(spec.get("defaultValue")),
                literals=tuple(spec.get("literals", ())),
            )
            for name, spec in body.get("parameters", {}).items()
        },
        {
            name: ArtifactSpec(
                title=spec.get("artifactType", {}).get("schemaTitle", "system.Artifact"),
                version=spec.get("artifactType", {}).get("schemaVersion", "0.0.1"),
                is_list=bool(spec.get("isArtifactList", False)),
                optional=bool(spec.get("isOptional", False)),
            )
            for name, spec in body.get("artifacts", {}).items()
        },
    )


def _task(name: str, body: Mapping[str, Any]) -> Task:
    inputs, trigger = body.get("inputs", {}), body.get("triggerPolicy", {})
    caching, retry = body.get("cachingOptions", {}), body.get("retryPolicy")
    return Task(
        name=name,
        display_name=body.get("taskInfo", {}).get("name", name),
        component=body["componentRef"]["name"],
        parameters={one: _parameter_source(spec) for one, spec in inputs.get("parameters", {}).items()},
        artifacts={one: _artifact_source(spec) for one, spec in inputs.get("artifacts", {}).items()},
        after=tuple(body.get("dependentTasks", ())),
        condition=trigger.get("condition", ""),
        always=trigger.get("strategy") == "ALL_UPSTREAM_TASKS_COMPLETED",
        iterator=_iterator(body),
        retry=None if retry is None else _retry(retry),
        cached=bool(caching.get("enableCache", False)),
        cache_key=caching.get("cacheKey", ""),
    )


def _retry(body: Mapping[str, Any]) -> Retry:
    return Retry(
        count=int(body.get("maxRetryCount", 0)),
        wait_seconds=seconds(body.get("backoffDuration"), 0.0),
        factor=float(body.get("backoffFactor", 2.0)) or 2.0,
        longest_seconds=seconds(body.get("backoffMaxDuration"), 3600.0) or 3600.0,
    )


def _parameter_source(body: Mapping[str, Any]) -> Source:
    selector = body.get("parameterExpressionSelector", "")
    if "runtimeValue" in body:
        return Source("constant", value=whole(body["runtimeValue"].get("constant")), selector=selector)
    if "taskOutputParameter" in body:
        told = body["taskOutputParameter"]
        return Source("output", name=told["outputParameterKey"], task=told["producerTask"], selector=selector)
    if "taskFinalStatus" in body:
        return Source("status", task=body["taskFinalStatus"]["producerTask"])
    return Source("input", name=body["componentInputParameter"], selector=selector)


def _artifact_source(body: Mapping[str, Any]) -> Source:
    if "taskOutputArtifact" in body:
        told = body["taskOutputArtifact"]
        return Source("output", name=told["outputArtifactKey"], task=told["producerTask"])
    return Source("input", name=body["componentInputArtifact"])


def _iterator(body: Mapping[str, Any]) -> Iterator | None:
    limit = int(body.get("iteratorPolicy", {}).get("parallelismLimit", 0))
    if "artifactIterator" in body:
        told = body["artifactIterator"]
        return Iterator(told["itemInput"], over=told["items"]["inputArtifact"], of_artifacts=True, limit=limit)
    if "parameterIterator" not in body:
        return None
    told = body["parameterIterator"]
    raw = told["items"].get("raw")
    items = None if raw is None else tuple(json.loads(raw))
    return Iterator(told["itemInput"], raw=items, over=told["items"].get("inputParameter", ""), limit=limit)
