"""What the validation of training data warned of, for the person who trains: the count and the first sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trimtab.ports.runs import RunStore, TaskRecord

_TRAINING = "training-pipeline"
_RECENT_RUNS = 200
_MOST_SHOWN = 8


def warnings_of(tasks: Sequence[TaskRecord]) -> dict[str, Any]:
    """`count` and the first `sentences` of a training run's tasks."""
    for task in tasks:
        found = task.outputs.get("anomalies")
        told = found.get("metadata") if isinstance(found, Mapping) else None
        if isinstance(told, Mapping) and "warnings" in told:
            return {"count": int(told["warnings"]), "sentences": list(told.get("sentences", ()))}
    return {"count": 0, "sentences": []}


def last_warnings(runs: RunStore) -> dict[str, Any]:
    """Of the newest training run that got as far as its data."""
    for run in runs.runs(_RECENT_RUNS):
        tasks = runs.tasks(run.run_id) if run.pipeline == _TRAINING else ()
        if any("anomalies" in task.outputs for task in tasks):
            return {"run": run.run_id, **warnings_of(tasks)}
    return {"run": None, "count": 0, "sentences": []}


def lines(told: Mapping[str, Any], run: str) -> Iterator[str]:
    """For a terminal: a line a warning, and where the rest is."""
    for sentence in told["sentences"][:_MOST_SHOWN]:
        yield f"warning: {sentence}"
    more = told["count"] - min(_MOST_SHOWN, len(told["sentences"]))
    if more > 0:
        yield f"warning: and {more} more: trimtab pipeline logs {run} validate"
