"""`monitoring`: what is watched, over which windows, and what raises an alarm."""

from __future__ import annotations

from pydantic import Field

from trimtab.spec.section import Duration, Section


class Drift(Section):
    """When a feature counts as drifted."""

    false_alarm_rate: float = Field(
        0.01,
        gt=0,
        lt=0.5,
        description="Share of windows without any change that may raise a drift alarm, over all features.",
    )
    least_rows: int = Field(200, ge=10, description="A window with fewer rows is insufficient evidence.")
    least_psi: float = Field(
        0.1, ge=0, description="A population stability index below this never counts, however sure."
    )


class Alarm(Section):
    """A bound on one watched metric."""

    metric: str = Field(min_length=1, description="A metric that `scope.metrics` names.")
    min: float | None = Field(None, description="Alarm below this.")
    max: float | None = Field(None, description="Alarm above this.")


class Monitoring(Section):
    """Windows, drift and alarms."""

    every: Duration = Field("1d", validate_default=True, description="How often the monitoring pipeline runs.")
    window: Duration = Field("7d", validate_default=True, description="How much recent traffic it looks at.")
    drift: Drift = Field(Drift(), description="When a feature counts as drifted.")
    alarms: tuple[Alarm, ...] = Field((), description="Empty means: every bound of scope becomes an alarm.")
    least_labels: int = Field(100, ge=1, description="Fewer matured labels are insufficient evidence on quality.")
