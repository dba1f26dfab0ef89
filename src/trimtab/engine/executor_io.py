"""kfp's executor input for one task, and what the executor left behind.

Format: ExecutorInput and ExecutorOutput of pipeline_spec.proto as JSON; files as kfp's local runners lay them out.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trimtab.engine import ir
from trimtab.engine.parameters import convert, from_text
from trimtab.engine.values import Artifact, Values, digest_of, local_path

MOST_BYTES = 64 * 1024 * 1024
_OUTPUT = "executor_output.json"


class BadOutputError(ValueError):
    """A task ended well but what it left is not what its interface promises."""


@dataclass(frozen=True)
class TaskFolder:
    """Where one task reads and writes: `<run>/<task path>/`."""

    root: Path

    @property
    def log(self) -> Path:
        """Standard output and error of all attempts."""
        return self.root / "log.txt"

    @property
    def artifacts(self) -> Path:
        """Output artifacts, each under its name; emptied before each attempt."""
        return self.root / "artifacts"

    @property
    def written(self) -> Path:
        """kfp's executor output and the files of dsl.OutputPath parameters; emptied before each attempt."""
        return self.root / "outputs"

    @property
    def program(self) -> Path:
        """The component's source, alone in its folder: kfp's executor puts that folder on the path of imports."""
        return self.root / "program"


def executor_input(component: ir.Component, inputs: Values, folder: TaskFolder) -> dict[str, Any]:
    """The ExecutorInput of a task."""
    return {
        "inputs": {
            "parameterValues": dict(inputs.parameters),
            "artifacts": {
                name: {"artifacts": [one.runtime() for one in many]} for name, many in inputs.artifacts.items()
            },
        },
        "outputs": {
            "parameters": {
                name: {"outputFile": str(folder.written / "parameters" / name)} for name in component.outputs.parameters
            },
            "artifacts": {
                name: {"artifacts": [_promised(name, spec, folder).runtime()]}
                for name, spec in component.outputs.artifacts.items()
            },
            "outputFile": str(folder.artifacts / _OUTPUT),
        },
    }


def _promised(name: str, spec: ir.ArtifactSpec, folder: TaskFolder) -> Artifact:
    return Artifact(name, str(folder.artifacts / name), spec.title, spec.version)


def read_outputs(component: ir.Component, folder: TaskFolder) -> Values:
    """The outputs that a task wrote; raises BadOutputError, naming the output, if one is not what its type says."""
    written = _read(folder.artifacts / _OUTPUT)
    parameters = _parameters(component, folder, _mapping(written, "parameterValues"))
    told = _mapping(written, "artifacts")
    artifacts = {
        name: (_artifact(name, spec, folder, told.get(name)),) for name, spec in component.outputs.artifacts.items()
    }
    return Values(parameters, artifacts)


def _read(file: Path) -> Mapping[str, Any]:
    if not file.is_file():
        return {}
    if file.stat().st_size > MOST_BYTES:
        raise BadOutputError(
            f"its outputs have {file.stat().st_size >> 20} MB; at most {MOST_BYTES >> 20}: use artifacts"
        )
    try:
        written = json.loads(file.read_text())
    except (ValueError, RecursionError) as error:
        raise BadOutputError(f"its executor output is no JSON: {str(error)[:120]}") from error
    if not isinstance(written, dict):
        raise BadOutputError(f"its executor output is no JSON object but {type(written).__name__}")
    return written


def _mapping(written: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    told = written.get(name) or {}
    if not isinstance(told, Mapping):
        raise BadOutputError(f"its executor output has {name} as {type(told).__name__}, not as an object")
    return told


def _parameters(component: ir.Component, folder: TaskFolder, told: Mapping[str, Any]) -> dict[str, Any]:
    """Every output parameter that is declared, as `collectOutputParameters` of KFP's launcher: none is optional."""
    found: dict[str, Any] = {}
    for name, spec in component.outputs.parameters.items():
        file = folder.written / "parameters" / name
        try:
            if file.is_file():
                if file.stat().st_size > MOST_BYTES:
                    raise ValueError(f"{file.stat().st_size >> 20} MB are too many: pass it as an artifact")
                found[name] = from_text(file.read_text(), spec.type)
            elif name in told:
                found[name] = convert(told[name], spec.type)
                json.dumps(found[name], allow_nan=False)
            else:
                raise BadOutputError(
                    f"it ended without writing its output {name}: return a value other than None, or write the file "
                    "of its dsl.OutputPath"
                )
        except BadOutputError:
            raise
        except ValueError as error:  # of another type, not UTF-8, not finite
            raise BadOutputError(f"output {name}: {error}") from error
    return found


def _artifact(name: str, spec: ir.ArtifactSpec, folder: TaskFolder, told: Any) -> Artifact:
    promised = _promised(name, spec, folder)
    if told is None:
        return Artifact(promised.name, promised.uri, spec.title, spec.version, {}, digest_of(promised.uri))
    try:
        one = told["artifacts"][0]
        uri, metadata, label = one["uri"], one.get("metadata") or {}, one.get("name") or name
        custom = one.get("custom_path") or ""
    except (KeyError, IndexError, TypeError) as error:
        raise BadOutputError(f"output artifact {name} is not written as kfp's executor writes it") from error
    metadata = _finite(metadata)
    if not isinstance(uri, str) or not isinstance(metadata, dict) or not isinstance(label, str):
        raise BadOutputError(f"output artifact {name} has a uri, name or metadata of the wrong type")
    uri = uri or promised.uri
    if local_path(uri) is None:
        raise BadOutputError(
            f"output artifact {name} was given the uri {uri[:80]}, which is not on this machine: nothing is taken "
            "there from here. Write to the artifact's path"
        )
    if custom:
        _bring(name, custom, uri)
    return Artifact(label, uri, spec.title, spec.version, metadata, digest_of(uri))


def _finite(value: Any) -> Any:
    """Metadata as JSON can hold it: NaN and infinities as texts, as protobuf's JSON writes them."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    if isinstance(value, list):
        return [_finite(one) for one in value]
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    return value


def _bring(name: str, custom: Any, uri: str) -> None:
    """Copy what a task wrote to a `custom_path` to the artifact's URI, as the launcher on a cluster uploads it."""
    target = local_path(uri)
    if not isinstance(custom, str) or target is None:
        raise BadOutputError(f"output artifact {name} has a custom_path that is no text")
    source = Path(custom)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    elif source.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
