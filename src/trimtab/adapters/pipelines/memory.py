"""Pipelines as Python callables: for tests of what runs pipelines, without running any."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trimtab.engine.naming import run_id
from trimtab.errors import PipelineRefused, TrimtabError
from trimtab.ports.pipelines import PipelineRunner, RunRequest, RunView

Work = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class Interrupted(Exception):
    """The work was cut off; starting the same key again takes it up."""


class MemoryRunner(PipelineRunner):
    """Runs `pipelines[name](parameters)` for a request for `name.yaml`; it has ended when `start` returns."""

    def __init__(self, pipelines: Mapping[str, Work]) -> None:
        self._pipelines = pipelines
        self._views: dict[str, RunView] = {}
        self._lock = threading.Lock()
        self._closed = False

    def start(self, request: RunRequest) -> RunView:
        """Run it, unless it has succeeded or failed. Raises PipelineRefused for a pipeline it does not have."""
        with self._lock:
            if self._closed:
                raise TrimtabError("the runner was closed: make another one")
            known = self._views.get(request.key)
            if known is not None and known.state != "INTERRUPTED":
                return known
            self._views[request.key] = self._run(request)
            return self._views[request.key]

    def look(self, key: str) -> RunView | None:
        """How the run of this key stands; None if there never was one."""
        return self._views.get(key)

    def close(self) -> None:
        """Nothing runs between calls."""
        self._closed = True

    def _run(self, request: RunRequest) -> RunView:
        work = self._pipelines.get(Path(request.pipeline).stem)
        if work is None:
            raise PipelineRefused(f"{request.pipeline}: there is {', '.join(self._pipelines) or 'no pipeline'}")
        identity = run_id(request.key)
        try:
            return RunView(request.key, identity, "SUCCEEDED", output=dict(work(request.parameters)))
        except Interrupted as error:
            return RunView(request.key, identity, "INTERRUPTED", reason=str(error))
        except PipelineRefused:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the work raises is how it failed
            return RunView(request.key, identity, "FAILED", reason=f"{type(error).__name__}: {error}")
