"""`python -m trimtab.cli.pipeline_job`: what the pod of a run's Job does. Not for people: they have `trimtab pipeline`.

Exit codes: 0 the run succeeded, 1 it failed, 2 it was refused (both for good), 75 another pod still runs it, 143 this
pod was told to go. After all others the Job starts a new pod, which takes the run up where it was left.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from trimtab.adapters.pipelines.job import BUSY, FAILED, REFUSED, request_folder
from trimtab.adapters.runs.sql import SqlRuns
from trimtab.adapters.sql import ledger_engine
from trimtab.engine.execution import Execution, Options
from trimtab.engine.load import load
from trimtab.engine.run import Run, can_resume, default_jobs, prepare, resume
from trimtab.engine.warm import WarmHost
from trimtab.errors import AlreadyRunning, Refused, TrimtabError
from trimtab.loop.home import Home
from trimtab.ports.runs import RunStore

LEDGER_URL = "TRIMTAB_LEDGER_URL"
_TOLD_TO_GO = 143
_LOCK_SECONDS = 60.0
_LOCK_POLL_SECONDS = 0.5


def main(given: Sequence[str] | None = None) -> int:
    """Run it to its end; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m trimtab.cli.pipeline_job", description="The pod of a run's Job.")
    parser.add_argument("--home", required=True, type=Path, help="the loop's state folder")
    parser.add_argument("--run", required=True, help="the run's id")
    arguments = parser.parse_args(given)
    home = Home(arguments.home)
    try:
        store = SqlRuns(ledger_engine(os.environ.get(LEDGER_URL) or home.ledger))
        return _run(store, home, arguments.run)
    except AlreadyRunning as error:
        return _said(error, BUSY)
    except TrimtabError as error:
        return _said(error, REFUSED if isinstance(error, Refused) else _retried(error))


def _run(store: RunStore, home: Home, run_id: str) -> int:
    known = store.run(run_id)
    if known is not None and known.state in ("SUCCEEDED", "FAILED"):
        return 0 if known.state == "SUCCEEDED" else FAILED
    run = _held(store, home, run_id)
    stop = _Stop()
    host = WarmHost(home.runs / "host.log")
    try:
        ended = run.execute(host, Options(default_jobs()), stop.reach)
    except TrimtabError:
        raise
    except Exception as error:  # noqa: BLE001 - resuming would only repeat this
        reason = f"the engine failed: {type(error).__name__}: {error}"
        ended = replace(run.record, state="FAILED", ended=datetime.now(UTC), reason=reason)
        store.save_run(ended)
    finally:
        host.close()
    if ended.reason:
        print(ended.reason, file=sys.stderr)
    return {"SUCCEEDED": 0, "FAILED": FAILED}.get(ended.state, _TOLD_TO_GO)


def _held(store: RunStore, home: Home, run_id: str) -> Run:
    """The run, begun or taken up again, once the pod before this one has let go of it."""
    give_up = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            if store.run(run_id) is not None and can_resume(home.runs, run_id):
                return resume(store, home.runs, run_id)
            folder = request_folder(home.root, run_id)
            given = json.loads((folder / "parameters.json").read_text(encoding="utf-8"))
            return prepare(store, home.runs, run_id, load(folder / "pipeline.yaml"), given)
        except AlreadyRunning:
            if time.monotonic() > give_up:
                raise
            time.sleep(_LOCK_POLL_SECONDS)
        except OSError as error:
            raise Refused(f"what run {run_id} is asked for cannot be read: {error}") from error


class _Stop:
    """SIGTERM ends the tasks; the run can be taken up by the next pod."""

    def __init__(self) -> None:
        self._execution: Execution | None = None
        self._asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def reach(self, execution: Execution) -> None:
        """This is what to stop; at once, if it was asked for already."""
        self._execution = execution
        if self._asked:
            self._stop()

    def _stop(self, _: int = 0, __: FrameType | None = None) -> None:
        self._asked = True
        if self._execution is not None:
            self._execution.stop("its pod was told to go", exit_tasks=False)


def _said(error: TrimtabError, code: int) -> int:
    print(error, file=sys.stderr)
    return code


def _retried(error: TrimtabError) -> int:
    """An exit code that the Job answers with a new pod."""
    return BUSY if error.exit_code == FAILED else error.exit_code


if __name__ == "__main__":
    sys.exit(main())
