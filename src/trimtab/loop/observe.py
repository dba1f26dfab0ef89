"""What a turn sees: the logs, the router's counters, the runs, the servers, people's wishes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from trimtab.decisions.exact import decode
from trimtab.decisions.monitoring import MonitoringVerdict
from trimtab.decisions.observed import (
    MonitoringSeen,
    Observed,
    RunSeen,
    ServerSeen,
    WishSeen,
)
from trimtab.decisions.state import Count, LoopState
from trimtab.errors import EvidenceMissing, StoreFailed
from trimtab.loop.evidence import Evidence, gather
from trimtab.ports.pipelines import PipelineRunner
from trimtab.ports.records import RecordReader
from trimtab.ports.registry import RegisteredVersion
from trimtab.ports.router import Router, Traffic
from trimtab.ports.servers import ServerView
from trimtab.ports.turns import Turn, Wish
from trimtab.spec.document import LoopSpec

_MOST_OFTEN = 50  # times the seconds that reading the logs takes: at most 2 % of the time goes into it


class Observer:
    """Fills in an `Observed`. `every` is how old evidence from the logs may be before they are read again, at most."""

    def __init__(
        self,
        spec: LoopSpec,
        predictions: RecordReader,
        labels: RecordReader,
        runner: PipelineRunner,
        router: Router,
        every: timedelta = timedelta(0),
    ) -> None:
        self._spec = spec
        self._predictions = predictions
        self._labels = labels
        self._runner = runner
        self._router = router
        self._every = self._age = every
        self._read: tuple[datetime, object, Evidence] | None = None

    def observe(
        self,
        state: LoopState,
        now: datetime,
        last: Turn | None,
        views: Mapping[str, ServerView],
        wishes: Sequence[Wish],
        champion: RegisteredVersion | None,
    ) -> tuple[Observed, Mapping[str, int]]:
        """What is there at `now`, and the counts of the joined logs for people."""
        evidence, away = self._known(state, now, champion)
        monitoring_run = self._run(state.monitoring.key if state.monitoring else None)
        traffic, blind = self._traffic()
        observed = Observed(
            now=now,
            training=self._run(state.training.run_key if state.training else None),
            monitoring_run=monitoring_run,
            monitoring=_monitoring(monitoring_run, last),
            quality=evidence.quality,
            comparison=evidence.comparison,
            traffic=traffic,
            latency=evidence.latency,
            servers={version: ServerSeen(view.state, view.restarts, view.reason) for version, view in views.items()},
            wishes=tuple(_wish(wish) for wish in wishes),
            clock_went_backwards=last is not None and now < last.time,
            blind=blind or away,
        )
        return observed, evidence.counts

    def _known(self, state: LoopState, now: datetime, champion: RegisteredVersion | None) -> tuple[Evidence, str]:
        """What the logs say, or why the store that they are in cannot be asked: the turn goes on without them."""
        try:
            return self._evidence(state, now, champion), ""
        except StoreFailed as error:
            return Evidence(), str(error)

    def _traffic(self) -> tuple[Mapping[str, Count], str]:
        """The router's counters, or why nobody knows them: wishes and lost servers are acted on all the same."""
        try:
            return {version: _count(traffic) for version, traffic in self._router.traffic().items()}, ""
        except EvidenceMissing as error:
            return {}, str(error)

    def _run(self, key: str | None) -> RunSeen | None:
        view = self._runner.look(key) if key is not None else None
        return None if view is None else RunSeen(view.key, view.state, dict(view.output), view.reason)

    def _evidence(self, state: LoopState, now: datetime, champion: RegisteredVersion | None) -> Evidence:
        about = (state.champion, state.release and (state.release.candidate, state.release.phase_started))
        if self._read is not None and self._read[1] == about and self._read[0] <= now < self._read[0] + self._age:
            return self._read[2]
        began = time.monotonic()
        evidence = gather(self._spec, state, now, self._predictions, self._labels, champion)
        took = timedelta(seconds=time.monotonic() - began)
        self._age = min(self._every, _MOST_OFTEN * took)  # small logs are read at every turn
        self._read = (now, about, evidence)
        return evidence


def _count(traffic: Traffic) -> Count:
    """Served and mirrored together: a copy that a candidate fails to answer speaks against it as much."""
    return Count(traffic.requests + traffic.mirrored, traffic.failures + traffic.mirror_failures, traffic.epoch)


def _wish(wish: Wish) -> WishSeen:
    return WishSeen(wish.number, wish.kind, str(wish.arguments.get("version", "")), str(wish.arguments.get("who", "")))


def _monitoring(run: RunSeen | None, last: Turn | None) -> MonitoringSeen | None:
    """The verdict of the run that just ended, else the one that the last turn saw."""
    if run is not None and run.state == "SUCCEEDED":
        return MonitoringVerdict.from_json(str(run.output["verdict"])).seen()
    before = last.observed.get("monitoring") if last is not None else None
    return None if before is None else decode(MonitoringSeen, before)
