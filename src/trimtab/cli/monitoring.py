"""`trimtab monitor`: one window of traffic judged by the compiled monitoring pipeline, where no loop does that.

What was seen and started is remembered in a small file, so that a standing cause starts one run and then waits for the
cooldown, the back-off and the budget of `retraining`, as in a loop. How the run that was started ends is not followed.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trimtab import wiring
from trimtab.adapters.process import write_whole
from trimtab.adapters.runs.memory import MemoryRuns
from trimtab.cli.opening import Opened, opened
from trimtab.cli.triggers import Trigger, Wanted, trigger
from trimtab.components.reading import moment
from trimtab.decisions.monitoring import MonitoringVerdict
from trimtab.decisions.observed import Observed
from trimtab.decisions.retraining import RetrainDecision, cleared, judge
from trimtab.decisions.state import LoopState
from trimtab.decisions.training import launch
from trimtab.errors import TrimtabError

STATE = "drift-monitor.json"


@dataclass(frozen=True)
class Window:
    """What is looked at: the champion and the logs."""

    bundle: Path
    digest: str
    predictions: Path
    labels: Path
    version: str = ""
    now: str = ""
    failures: int = 0


def monitor(
    file: Path | None, home: Path | None, window: Window, wanted: Wanted, keep: int, as_json: bool
) -> MonitoringVerdict:
    """Judge the window, keep the report, start a training if the document's `retraining` calls for one."""
    found = opened(file, home)
    start = trigger(wanted, found.path)
    now = moment(window.now)
    verdict, page = _run(found, replace(window, now=now.isoformat()), keep)
    path = found.home.root / STATE
    state = _state(path, window, now)
    observed = Observed(now=now, monitoring=verdict.seen(), quality=verdict.live_quality())
    spec = found.document.spec
    state = replace(state, handled=cleared(spec, state, observed))
    decision = judge(spec, state, observed)
    told: dict[str, Any] = {
        "loop": found.document.metadata.name,
        "verdict": verdict.verdict,
        "sentence": verdict.sentence,
        "decision": decision.sentence,
        "retrain": decision.retrain,
        "cause": decision.cause.key if decision.cause else "",
        "report": str(page),
    }
    told["started"] = _start(decision, start, told)
    if decision.retrain and decision.cause is not None and start is not None:
        # Written after it was started: a run too many is better than a cause that nobody ever acts on.
        state = replace(launch(spec, state, observed, decision.cause), training=None)
    write_whole(path, json.dumps(state.to_json()))
    if as_json:
        print(json.dumps({**told, "evidence": json.loads(verdict.to_json())}, indent=2))
    else:
        print("\n".join(filter(None, (verdict.sentence, decision.sentence, told["started"], f"report: {page}"))))
    return verdict


def _start(decision: RetrainDecision, start: Trigger | None, told: dict[str, Any]) -> str:
    if not decision.retrain or decision.cause is None:
        return ""
    return start(decision.cause, told) if start is not None else "nothing was told to start a training"


def _state(path: Path, window: Window, now: datetime) -> LoopState:
    """What earlier runs remembered; another champion is another matter, though the cooldown goes on."""
    champion = window.version or window.digest
    try:
        state = LoopState.from_json(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else LoopState()
    except (OSError, ValueError) as error:
        raise TrimtabError(
            f"{path} cannot be read: {error}. Remove it: what was started before is then forgotten"
        ) from error
    if state.champion == champion:
        return state
    return replace(state, champion=champion, champion_since=now, handled=())


def _run(found: Opened, window: Window, keep: int) -> tuple[MonitoringVerdict, Path]:
    """The compiled pipeline in a folder of its own; (verdict, the report that was kept)."""
    from trimtab.engine.execution import Options
    from trimtab.engine.load import load
    from trimtab.engine.run import prepare
    from trimtab.engine.warm import WarmHost

    reports = found.home.make().reports
    reports.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        store, folder = MemoryRuns(), Path(scratch)
        loaded = load(wiring.pipelines_folder() / "monitoring-pipeline.yaml")
        run = prepare(store, folder, "monitoring", loaded, _parameters(found, window))
        host = WarmHost(folder / "host.log")
        try:
            ended = run.execute(host, Options(1, cache=False))
        finally:
            host.close()
        if ended.state != "SUCCEEDED":
            raise TrimtabError(f"the window was not judged: {ended.reason}")
        (report,) = [task.outputs["report"]["uri"] for task in store.tasks(ended.run_id) if "report" in task.outputs]
        page = reports / f"{found.document.metadata.name}-{datetime.fromisoformat(window.now):%Y%m%dT%H%M%SZ}.html"
        shutil.copyfile(report, page)
        shutil.copyfile(Path(report).with_name("report.json"), page.with_suffix(".json"))
    for old in sorted(reports.glob(f"{found.document.metadata.name}-*.html"))[:-keep]:
        old.unlink()
        old.with_suffix(".json").unlink(missing_ok=True)
    return MonitoringVerdict.from_json(str((ended.output or {})["verdict"])), page


def _parameters(found: Opened, window: Window) -> dict[str, Any]:
    return {
        "loop": wiring.document_text(found.document, found.path.parent),
        "now": datetime.fromisoformat(window.now).astimezone(UTC).isoformat(),
        "predictions": str(window.predictions.resolve()),
        "labels": str(window.labels.resolve()),
        "bundle": str(window.bundle.resolve()),
        "digest": window.digest,
        "version": window.version,
        "failures": window.failures,
    }
