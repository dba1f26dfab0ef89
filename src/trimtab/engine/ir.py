"""A compiled KFP pipeline as values: the parts of PipelineSpec (schema 2.1.0) that the engine acts on.

Source of the format: kubeflow/pipelines, api/v2alpha1/pipeline_spec.proto. Nothing of kfp is imported here, so that a
controller can read a pipeline without paying for kfp.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Strategy = str  # "SUCCEEDED" or "COMPLETED": what the upstream tasks must have done


@dataclass(frozen=True)
class ParameterSpec:
    """One input or output parameter. `default` counts only where `has_default`."""

    type: str
    optional: bool = False
    has_default: bool = False
    default: Any = None
    literals: tuple[Any, ...] = ()


@dataclass(frozen=True)
class ArtifactSpec:
    """One input or output artifact."""

    title: str
    version: str
    is_list: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Interface:
    """Parameters and artifacts of one side of a component."""

    parameters: Mapping[str, ParameterSpec] = field(default_factory=dict)
    artifacts: Mapping[str, ArtifactSpec] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """Where an input comes from: `constant` (value), `input` (of the parent), `output` (of a task) or `status`."""

    kind: str
    value: Any = None
    name: str = ""
    task: str = ""
    selector: str = ""


@dataclass(frozen=True)
class Iterator:
    """A loop: `item` is the input that each iteration gets; the items are `raw`, or the value of the input `over`."""

    item: str
    raw: tuple[Any, ...] | None = None
    over: str = ""
    of_artifacts: bool = False
    limit: int = 0


@dataclass(frozen=True)
class Retry:
    """How often a failed task is tried again, and after how long."""

    count: int
    wait_seconds: float = 0.0
    factor: float = 2.0
    longest_seconds: float = 3600.0

    def wait_before(self, attempt: int) -> float:
        """Seconds to wait before this attempt (2 is the first retry)."""
        return float(min(self.longest_seconds, self.wait_seconds * self.factor ** min(attempt - 2, 64)))


@dataclass(frozen=True)
class Task:
    """One task of a graph."""

    name: str
    display_name: str
    component: str
    parameters: Mapping[str, Source]
    artifacts: Mapping[str, Source]
    after: tuple[str, ...]
    condition: str = ""
    always: bool = False  # runs whatever became of the tasks before it
    iterator: Iterator | None = None
    retry: Retry | None = None
    cached: bool = False
    cache_key: str = ""

    @property
    def depends_on(self) -> frozenset[str]:
        """Every task that must have ended before this one is looked at."""
        sources = (*self.parameters.values(), *self.artifacts.values())
        return frozenset(self.after) | {source.task for source in sources if source.task}


@dataclass(frozen=True)
class Component:
    """What a task runs: a graph of tasks, or an executor."""

    name: str
    inputs: Interface
    outputs: Interface
    executor: str = ""
    tasks: Mapping[str, Task] | None = None
    # output name -> sources, of which the first that exists is taken
    selected_parameters: Mapping[str, tuple[Source, ...]] = field(default_factory=dict)
    selected_artifacts: Mapping[str, tuple[Source, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Pipeline:
    """A pipeline. `executors` and `platform` (per executor label) stay as the YAML has them."""

    name: str
    root: Component
    components: Mapping[str, Component]
    executors: Mapping[str, Mapping[str, Any]]
    platform: Mapping[str, Mapping[str, Any]]
    deadline_seconds: float = 0.0
    workspace: bool = False
