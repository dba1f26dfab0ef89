"""What monitoring runs found, for people."""

from __future__ import annotations

from typing import Any

from trimtab.decisions.monitoring import MonitoringVerdict
from trimtab.ports.runs import RunRecord


def monitoring_entry(run: RunRecord, report: str) -> dict[str, Any]:
    """One finished monitoring run; `report` is the path of its page."""
    verdict = MonitoringVerdict.from_json(str(run.output["verdict"]))
    return {
        "time": verdict.now.isoformat(),
        "since": f"{verdict.since:%Y-%m-%d}",
        "verdict": verdict.verdict,
        "sentence": verdict.sentence,
        "report": report,
        "alarms": [alarm.sentence for alarm in verdict.alarms],
        "drift": [
            {
                "feature": column.feature,
                "statistic": column.psi,
                "threshold": column.threshold,
                "drifted": column.drifted,
            }
            for column in verdict.drift.columns
        ],
    }
