"""A compiled pipeline in Kubeflow Pipelines: uploaded once per content, as a version named by its digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trimtab.adapters.json_api import Json
from trimtab.adapters.pipelines.kfp_api import KfpClient, KfpError
from trimtab.errors import PipelineRefused


@dataclass(frozen=True)
class Compiled:
    """A compiled pipeline: its name, its bytes, the parameters it takes and the outputs it promises."""

    name: str
    content: bytes
    parameters: frozenset[str]
    outputs: frozenset[str]

    @property
    def digest(self) -> str:
        """What names its version in KFP."""
        return "sha256-" + hashlib.sha256(self.content).hexdigest()[:32]


def read(path: Path) -> Compiled:
    """The compiled file; raises PipelineRefused."""
    try:
        content = path.read_bytes()
        spec: Any = next(iter(yaml.safe_load_all(content)))
        name, root = spec["pipelineInfo"]["name"], spec["root"]
    except OSError as error:
        raise PipelineRefused(f"{path}: {error.strerror}. Write it with: trimtab compile") from error
    except (yaml.YAMLError, StopIteration, KeyError, TypeError) as error:
        raise PipelineRefused(
            f"{path} is no compiled KFP pipeline ({error!r}). Write it with: trimtab compile"
        ) from error
    inputs = (root.get("inputDefinitions") or {}).get("parameters") or {}
    outputs = (root.get("outputDefinitions") or {}).get("parameters") or {}
    return Compiled(str(name), content, frozenset(inputs), frozenset(outputs))


@dataclass(frozen=True)
class Uploads:
    """What is in KFP, asked for each time: a person may delete a version there.

    Names are unique there, so two that upload at once end up with the same version.
    """

    client: KfpClient

    def reference(self, compiled: Compiled) -> Json:
        """The pipeline's version as a run names it, uploaded if it is not there; raises KfpError, PipelineRefused."""
        pipeline = self._pipeline(compiled.name)
        return {"pipeline_id": pipeline, "pipeline_version_id": self._version(pipeline, compiled)}

    def _pipeline(self, name: str) -> str:
        space = self.client.space
        found = self.client.get(f"pipelines/names/{name}", space)
        if found is None:
            try:
                found = self.client.post("pipelines", {"name": name, "display_name": name, **space})
            except KfpError as error:
                found = self.client.get(f"pipelines/names/{name}", space) if error.code == 409 else None
                if found is None:
                    raise
        return str(found["pipeline_id"])

    def _version(self, pipeline: str, compiled: Compiled) -> str:
        path = f"pipelines/{pipeline}/versions"
        found = self.client.named(path, "pipeline_versions", compiled.digest)
        if not found:
            query = {"name": compiled.digest, "display_name": compiled.digest, "pipelineid": pipeline}
            try:
                found = [self.client.upload("pipelines/upload_version", query, "pipeline.yaml", compiled.content)]
            except KfpError as error:
                found = self.client.named(path, "pipeline_versions", compiled.digest) if error.code != 400 else []
                if not found and error.code == 400:
                    raise PipelineRefused(f"KFP takes no such pipeline: {error}") from error
                if not found:
                    raise
        return str(found[0]["pipeline_version_id"])
