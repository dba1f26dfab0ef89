"""Running a compiled pipeline somewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

RunState = Literal["RUNNING", "SUCCEEDED", "FAILED", "INTERRUPTED"]


@dataclass(frozen=True)
class RunRequest:
    """One run of a compiled pipeline. Requests with the same key are the same run."""

    key: str
    pipeline: str  # path of the compiled YAML
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunView:
    """How a run stands. `output` holds the pipeline's outputs once it succeeded; `reason` says why it did not."""

    key: str
    run_id: str
    state: RunState
    output: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""


class PipelineRunner(Protocol):
    """Runs compiled pipelines."""

    def start(self, request: RunRequest) -> RunView:
        """Start the run, or resume it after an interruption, or return it as it stands: one run a key."""
        ...

    def look(self, key: str) -> RunView | None:
        """How the run of this key stands; None if there never was one."""
        ...

    def close(self) -> None:
        """End every process this runner started; interrupted runs can be resumed."""
        ...
