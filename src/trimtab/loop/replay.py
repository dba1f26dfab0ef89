"""Living through historic data: rows become requests at their own time, labels come after their delay, time is virtual.

Beside the loop runs its first champion, frozen: the baseline that every later version is measured against.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from trimtab.decisions.state import LoopState, routes_of
from trimtab.errors import TrimtabError
from trimtab.loop import calendar, running
from trimtab.loop.progress import Progress
from trimtab.loop.traffic import Answer, Row, give_labels, predict, predict_together
from trimtab.loop.turn import Loop
from trimtab.ports.servers import ModelServers, ServerRequest
from trimtab.ports.turns import Turn

_READY_SECONDS = 180.0
_POLL_SECONDS = 0.05
_WATCH_SECONDS = 0.5

T = TypeVar("T")


@dataclass
class Record:
    """What a replay saw: one entry a row, in the rows' order, and every turn that decided something."""

    answers: list[Answer] = field(default_factory=list)
    frozen: list[Answer] = field(default_factory=list)
    periods: list[dict[str, Any]] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)


class Replay:
    """One replay of `frame` (raw columns, `_id`, `_time`, sorted) from `since` to `until`."""

    def __init__(
        self,
        loop: Loop,
        frame: pd.DataFrame,
        columns: Callable[[str], Sequence[str]],
        baseline: ModelServers,
        address: Callable[[], str],
        since: datetime,
        until: datetime,
        days: int,
        tell: Callable[[Progress], None],
    ) -> None:
        self._loop = loop
        self._frame = frame
        self._columns = columns
        self._baseline = baseline
        self._address = address
        self._since, self._until = since, until
        self._periods = list(calendar.periods(since, until, days))
        self._tell = tell
        self._metric = running.shown_metric(loop.document.spec.main_metric)
        self._progress = Progress(periods=len(self._periods), metric=self._metric)
        self._first: ServerRequest | None = None
        self._known_frozen = self._frozen_reason = ""
        self.record = Record()

    def run(self) -> Record:
        """Train on what is known at `since`, then live through every period; returns what was seen."""
        label = self._loop.document.spec.data.label
        times = self._frame["_time"]
        self._say(at=f"{self._since:%Y-%m}", activity="training the first version on what is known")
        self._settle(self._since)
        columns = self._freeze()
        known = times + label.delay
        for number, (start, end) in enumerate(self._periods):
            rows = self._frame[(times >= start) & (times < end)]
            self._say(at=f"{start:%Y-%m}", activity=f"{len(rows)} requests", done=number, period_finished=False)
            self._serve(_rows(rows, columns))
            due = self._frame[
                (known >= start) & (known < end) & (times >= self._since) & self._frame[label.column].notna()
            ]
            self._label(due, label.column, label.delay)
            self._note(start, end, rows)
            self._say(activity="looking at the evidence")
            self._settle(end)
            self._say(done=number + 1, period_finished=True)
        return self.record

    def _freeze(self) -> Sequence[str]:
        """Start the first champion a second time, as the baseline; returns the columns that it takes."""
        state = self._loop.state()
        if state.champion is None:
            decided = [one for turn in self.record.turns for one in turn.decisions]
            ended = [one["sentence"] for one in decided if one["kind"] in ("reject", "training-failed")]
            why = ended[-1] if ended else "nothing was decided"
            raise TrimtabError(f"there is no first version to replay with. {why}")
        found = self._loop.registered(state.champion)
        self._first = ServerRequest(found.version, found.bundle, found.digest)
        give_up = time.monotonic() + _READY_SECONDS
        while not self._frozen():
            if time.monotonic() > give_up:
                raise TrimtabError(f"the frozen baseline does not get ready. {self._frozen_reason}")
            time.sleep(_POLL_SECONDS)
        return self._columns(found.version)

    def _frozen(self) -> str:
        """The baseline's address, "" while it is not ready; started again if it died."""
        if self._first is None:
            return ""
        view = self._baseline.ensure([self._first])[self._first.version]
        self._frozen_reason = view.reason
        return view.address if view.state == "ready" else ""

    def _serve(self, rows: list[Row]) -> None:
        if not rows:
            return
        name = self._loop.document.metadata.name
        self.record.answers += self._watched(lambda: predict(rows, self._address(), name))
        self.record.frozen += self._watched(lambda: predict_together(rows, lambda: self._known_frozen, name))

    def _watched(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do it in a thread, and meanwhile start again whatever dies."""
        with ThreadPoolExecutor(1, "trimtab-traffic") as pool:
            self._known_frozen = self._frozen()
            future = pool.submit(lambda: asyncio.run(work()))
            while not wait([future], _WATCH_SECONDS).done:
                with contextlib.suppress(TrimtabError):  # tried again in a moment; the requests wait
                    self._loop.views()
                    self._known_frozen = self._frozen()
            return future.result()

    def _label(self, due: pd.DataFrame, column: str, delay: timedelta) -> None:
        labels = [
            (str(id_), text_of(value), when.to_pydatetime() + delay)
            for id_, value, when in zip(due["_id"], due[column], due["_time"], strict=True)
        ]
        if labels:
            self._watched(lambda: give_labels(labels, self._address()))

    def _note(self, start: datetime, end: datetime, rows: pd.DataFrame) -> None:
        wanted = routes_of(self._loop.state())
        self.record.periods.append(
            {
                "start": f"{start:%Y-%m-%d}",
                "end": f"{end:%Y-%m-%d}",
                "n": len(rows),
                "champion": wanted.stable or "",
                "candidate": wanted.candidate,
                "candidate_percent": wanted.candidate_percent,
                "mirror_percent": wanted.mirror_percent,
            }
        )
        self._figures()

    def _settle(self, now: datetime) -> None:
        self._loop.settle(now, self._seen)

    def _seen(self, turn: Turn) -> None:
        if turn.decisions:
            self.record.turns.append(turn)
        state = LoopState.from_json(turn.state)
        wanted = routes_of(state)
        told = tuple((turn.time.isoformat(), str(one["kind"]), str(one["sentence"])) for one in turn.decisions)
        monitoring = turn.observed.get("monitoring")
        drifted = [one["feature"] for one in monitoring["drift"] if one["drifted"]] if monitoring else []
        activity = "training" if state.training else "monitoring" if state.monitoring else self._progress.activity
        self._say(
            champion=wanted.stable or "",
            candidate=wanted.candidate or "",
            candidate_percent=wanted.candidate_percent,
            mirror_percent=wanted.mirror_percent,
            decisions=self._progress.decisions + told,
            drift=(", ".join(drifted) or "none") if monitoring else "",
            activity=activity,
        )

    def _figures(self) -> None:
        """Running figures for the display, against the labels that the replay itself knows."""
        spec = self._loop.document.spec
        answered = len(self.record.answers)
        rows = self._frame[self._frame["_time"] >= self._since].head(answered)
        if rows.empty:
            return
        labels = rows[spec.data.label.column]
        classes = spec.scope.problem == "classification"
        truth = np.array([text_of(one) for one in labels]) if classes else labels.to_numpy(dtype=float)
        loop, frozen = (values_of(one, classes) for one in (self.record.answers, self.record.frozen))
        years = rows["_time"].dt.year.to_numpy()
        every = range(self._since.year, self._until.year + 1)
        self._say(
            predictions=answered,
            recent_rows=min(answered, running.RECENT),
            recent=running.recent(self._metric, truth, loop),
            frozen_recent=running.recent(self._metric, truth, frozen),
            loop_by_year=running.by_year(self._metric, truth, loop, years, every),
            frozen_by_year=running.by_year(self._metric, truth, frozen, years, every),
        )

    def _say(self, **changes: Any) -> None:
        self._progress = replace(self._progress, **changes)
        self._tell(self._progress)


def _rows(frame: pd.DataFrame, columns: Sequence[str]) -> list[Row]:
    records = frame[[*columns]].astype(object).where(frame[[*columns]].notna(), None).to_dict("records")
    return [
        Row(str(id_), when.to_pydatetime(), {str(name): _plain(value) for name, value in record.items()})
        for id_, when, record in zip(frame["_id"], frame["_time"], records, strict=True)
    ]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def text_of(value: Any) -> str:
    return str(_plain(value))


def values_of(answers: Sequence[Answer], classes: bool) -> np.ndarray:
    """The predictions (n,): classes as strings, else numbers, nan where there was no answer."""
    if classes:
        return np.array([text_of(one.prediction) for one in answers])
    return np.array([np.nan if one.prediction is None else float(one.prediction) for one in answers])


def lost_and_doubled(record: Record, logged: Mapping[str, int], wanted: Sequence[str]) -> tuple[int, int]:
    """Rows that got no answer or whose answer is not in the log, and rows whose answer is there more than once."""
    answered = {answer.id for answer in record.answers if not answer.error}
    lost = sum(1 for id_ in wanted if id_ not in answered or logged.get(id_, 0) == 0)
    return lost, sum(1 for id_ in wanted if logged.get(id_, 0) > 1)
