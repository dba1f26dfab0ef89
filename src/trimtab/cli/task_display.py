"""Tasks of a run as they end: on a terminal with a line that says what runs, elsewhere one line a task. On stderr."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from trimtab.engine.naming import is_branch
from trimtab.ports.runs import TaskRecord

_MARKS = {
    "SUCCEEDED": "[green]✓[/]",
    "CACHED": "[cyan]↺[/]",
    "FAILED": "[red]✗[/]",
    "SKIPPED": "[dim]·[/]",
    "CANCELLED": "[yellow]■[/]",
    "PENDING": "[yellow]…[/]",
}


class TaskDisplay:
    """A context manager; `take` every change of a task."""

    def __init__(self, heading: str, notes: Sequence[str] = (), *, branches: bool = True) -> None:
        """`branches`: also conditions that did not hold are shown, under the names that only the pipeline knows."""
        self._console = Console(stderr=True)
        self._heading, self._notes, self._branches = heading, notes, branches
        self._running: dict[str, None] = {}
        self._status: Status | None = None

    def __enter__(self) -> TaskDisplay:
        self._console.print(self._heading, markup=False, highlight=False, style="bold")
        for note in self._notes:
            self._console.print(f"note: {note}", style="yellow", markup=False, highlight=False, soft_wrap=True)
        if self._console.is_terminal:
            self._status = self._console.status("starting")
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def take(self, task: TaskRecord) -> None:
        """Show it."""
        if task.state == "RUNNING":
            self._running[task.path] = None
        else:
            self._running.pop(task.path, None)
            if task.state == "SKIPPED" and not self._branches and is_branch(task.path):
                return
            self._console.print(_line(task), highlight=False, soft_wrap=True)
        if self._status is not None:
            self._status.update(f"{len(self._running)} running: {escape(', '.join(self._running))[:100]}")


def _line(task: TaskRecord) -> str:
    seconds = ""
    if task.started is not None and task.ended is not None and task.state in {"SUCCEEDED", "FAILED"}:
        seconds = f" {(task.ended - task.started).total_seconds():.1f} s"
    reason = f"  [dim]{escape(task.exit_reason[:200])}[/]" if task.exit_reason else ""
    return f"{_MARKS.get(task.state, ' ')} {escape(task.path)} {task.state.lower()}{seconds}{reason}"
