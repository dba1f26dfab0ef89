"""Every field of the IR that the engine understands. A field that is not here is refused by its name.

A schema is a dict of fields, `{"*": schema}` a map of names, `[schema]` a list; `ANY`, `TEXT` and so on are scalars.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

ANY, TEXT, NUMBER, FLAG = "anything", "text", "a number", "true or false"

_ARTIFACT_TYPE = {"schemaTitle": TEXT, "schemaVersion": TEXT, "instanceSchema": TEXT}
_PARAMETER = {
    "parameterType": TEXT,
    "defaultValue": ANY,
    "isOptional": FLAG,
    "description": TEXT,
    "literals": [ANY],
}
_ARTIFACT = {
    "artifactType": _ARTIFACT_TYPE,
    "isArtifactList": FLAG,
    "isOptional": FLAG,
    "description": TEXT,
    "metadata": ANY,
}
_DEFINITIONS = {"parameters": {"*": _PARAMETER}, "artifacts": {"*": _ARTIFACT}}
_FROM_PARAMETER = {"producerTask": TEXT, "outputParameterKey": TEXT}
_INPUTS = {
    "parameters": {
        "*": {
            "taskOutputParameter": _FROM_PARAMETER,
            "runtimeValue": {"constant": ANY},
            "componentInputParameter": TEXT,
            "taskFinalStatus": {"producerTask": TEXT},
            "parameterExpressionSelector": TEXT,
        }
    },
    "artifacts": {
        "*": {
            "taskOutputArtifact": {"producerTask": TEXT, "outputArtifactKey": TEXT},
            "componentInputArtifact": TEXT,
        }
    },
}
_TASK = {
    "taskInfo": {"name": TEXT},
    "inputs": _INPUTS,
    "dependentTasks": [TEXT],
    "cachingOptions": {"enableCache": FLAG, "cacheKey": TEXT},
    "componentRef": {"name": TEXT},
    "triggerPolicy": {"condition": TEXT, "strategy": TEXT},
    "artifactIterator": {"items": {"inputArtifact": TEXT}, "itemInput": TEXT},
    "parameterIterator": {"items": {"raw": TEXT, "inputParameter": TEXT}, "itemInput": TEXT},
    "retryPolicy": {
        "maxRetryCount": NUMBER,
        "backoffDuration": TEXT,
        "backoffFactor": NUMBER,
        "backoffMaxDuration": TEXT,
    },
    "iteratorPolicy": {"parallelismLimit": NUMBER},
}
_SELECTOR = {"producerSubtask": TEXT, "outputParameterKey": TEXT}
_GRAPH = {
    "tasks": {"*": _TASK},
    "outputs": {
        "parameters": {"*": {"valueFromParameter": _SELECTOR, "valueFromOneof": {"parameterSelectors": [_SELECTOR]}}},
        "artifacts": {"*": {"artifactSelectors": [{"producerSubtask": TEXT, "outputArtifactKey": TEXT}]}},
    },
}
_COMPONENT = {
    "inputDefinitions": _DEFINITIONS,
    "outputDefinitions": _DEFINITIONS,
    "dag": _GRAPH,
    "executorLabel": TEXT,
    "taskConfigPassthroughs": [ANY],
}
_RESOURCES = {
    "cpuLimit": NUMBER,
    "memoryLimit": NUMBER,
    "cpuRequest": NUMBER,
    "memoryRequest": NUMBER,
    "resourceCpuLimit": TEXT,
    "resourceMemoryLimit": TEXT,
    "resourceCpuRequest": TEXT,
    "resourceMemoryRequest": TEXT,
    "accelerator": {"type": TEXT, "count": ANY, "resourceType": TEXT, "resourceCount": TEXT},
}
_EXECUTOR = {
    "container": {
        "image": TEXT,
        "command": [TEXT],
        "args": [TEXT],
        "env": [{"name": TEXT, "value": TEXT}],
        "resources": _RESOURCES,
    },
    "importer": {
        "artifactUri": {"constant": ANY, "runtimeParameter": TEXT},
        "typeSchema": _ARTIFACT_TYPE,
        "reimport": FLAG,
        "metadata": ANY,
        "downloadToWorkspace": FLAG,
    },
}
PIPELINE = {
    "pipelineInfo": {"name": TEXT, "displayName": TEXT, "description": TEXT},
    "deploymentSpec": {"executors": {"*": _EXECUTOR}},
    "sdkVersion": TEXT,
    "schemaVersion": TEXT,
    "components": {"*": _COMPONENT},
    "root": _COMPONENT,
    "defaultPipelineRoot": TEXT,
}
PLATFORM = {
    "platforms": {
        "*": {
            "deploymentSpec": {"executors": {"*": ANY}},
            "pipelineConfig": {
                "resourceTtlOnCompletion": NUMBER,
                "resourceTtlOnSuccess": NUMBER,
                "resourceTtlOnFailure": NUMBER,
                "activeDeadlineSeconds": NUMBER,
                "workspace": ANY,
            },
        }
    }
}

_SCALARS = {TEXT: str, NUMBER: (int, float), FLAG: bool}


def unknown(value: Any, schema: Any, path: str = "") -> Iterator[str]:
    """A sentence for each field that is not in the schema or is of another type."""
    if schema == ANY:
        return
    if isinstance(schema, str):
        if not isinstance(value, _SCALARS[schema]) or (schema == NUMBER and isinstance(value, bool)):  # type: ignore[arg-type]
            yield f"{path}: expected {schema}, found {type(value).__name__}"
    elif isinstance(schema, list):
        if not isinstance(value, list):
            yield f"{path}: expected a list, found {type(value).__name__}"
            return
        for index, one in enumerate(value):
            yield from unknown(one, schema[0], f"{path}[{index}]")
    elif not isinstance(value, Mapping):
        yield f"{path or 'the document'}: expected fields, found {type(value).__name__}"
    else:
        for name, one in value.items():
            inner = schema.get("*", schema.get(name))
            where = f"{path}.{name}" if path else str(name)
            if inner is None:
                yield f"{where}: this field is not supported here"
            else:
                yield from unknown(one, inner, where)
