"""Watching one window of served rows against what the champion was trained on.

The component wires it so (frames in, value and report out; no file is read here)::

    cohort = cohort.join(predictions, labels, now, spec.data.label.delay)
    window = collect.window(cohort, manifest.columns, since=now - spec.monitoring.window, until=now, version=champion)
    verdict = monitor.monitor(spec, reference, holdout, window, now=now, columns=manifest.columns, ...)
    report = monitoring_report.write(spec, reference, window, verdict, manifest.columns)      # .html, .json: text
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import pandas as pd

from trimtab.decisions.monitoring import MonitoringVerdict
from trimtab.spec.document import LoopSpec
from trimtab.stages.collect import Window

if TYPE_CHECKING:
    from trimtab.stages.contract import Contract


def monitor(
    spec: LoopSpec,
    reference: pd.DataFrame,
    holdout: pd.DataFrame,
    window: Window,
    *,
    now: datetime,
    columns: Sequence[str],
    classes: Sequence[str] | None = None,
    importance: Mapping[str, float] | None = None,
    contract: Contract | None = None,
    failed: int = 0,
    seed: int = 0,
) -> MonitoringVerdict:
    """Judge a window of traffic and the labels that matured in it.

    `reference`, `holdout`: the bundle's frames (raw `columns`, `label`, `prediction`; `reference` with `_time` too, so
    that seasons are part of what counts as no change). `columns`, `classes`: of the manifest (classes None: regression).
    `importance`: raw column -> fall of quality without it; None means unknown, so that every column counts.
    `contract`: for schema skew. `failed`: requests of the window that got no answer, beside the rows served.
    """
    raise NotImplementedError
