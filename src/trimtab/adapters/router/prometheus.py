"""Counters by version out of Prometheus, read as raw samples and added up exactly.

`increase()` would guess: it extrapolates to the window's edges, and it misses the first value of a series that is born
between two scrapes, which is just what the first failures of a candidate are. A version that Prometheus has not heard
of lately is no version without failures: nothing is known then, and EvidenceMissing says so.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from trimtab.adapters.router.metric_sources import Counter, Source
from trimtab.adapters.router.tally import Series, Tally
from trimtab.errors import EvidenceMissing
from trimtab.ports.router import Traffic

LONGEST = timedelta(hours=6)  # an operator that starts again does not read further back than this
_BEFORE = timedelta(minutes=5)  # looked at too, for the last values before the count began
_MOST_BYTES = 64 * 1024 * 1024


def _now() -> datetime:
    return datetime.now(UTC)


class Prometheus:
    """The HTTP API at `url`; `token_file` holds a bearer token, read at each call because kubelet renews it."""

    def __init__(self, url: str, token_file: Path | None = None, timeout_seconds: float = 10.0) -> None:
        self._url, self._token_file, self._timeout_seconds = url.rstrip("/"), token_file, timeout_seconds

    def samples(self, selector: str, until: datetime, seconds: float) -> list[Series]:
        """Raw samples of the last `seconds` before `until`; raises EvidenceMissing for anything but all of them."""
        form = {"query": f"{selector}[{max(1, round(seconds * 1000))}ms]", "time": f"{until.timestamp():.3f}"}
        answer = self._ask(form)
        told = answer.get("warnings") or ()
        if answer.get("status") != "success" or told:
            said = answer.get("error") or "; ".join(map(str, told)) or "no reason was given"
            raise EvidenceMissing(f"Prometheus at {self._url} could not answer {selector} in full: {said}")
        try:
            return [
                Series(dict(one["metric"]), tuple((float(at), float(value)) for at, value in one["values"]))
                for one in answer["data"]["result"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise EvidenceMissing(f"{self._url} does not answer as Prometheus does: {error!r}") from error

    def _ask(self, form: Mapping[str, str]) -> Mapping[str, Any]:
        url = f"{self._url}/api/v1/query"
        request = urllib.request.Request(url, urllib.parse.urlencode(form).encode())  # noqa: S310 - the operator's own
        try:
            if self._token_file is not None:
                request.add_header("authorization", f"Bearer {self._token_file.read_text(encoding='utf-8').strip()}")
            with urllib.request.urlopen(request, timeout=self._timeout_seconds) as answer:  # noqa: S310
                found = json.loads(answer.read(_MOST_BYTES))
        except urllib.error.HTTPError as error:
            said = error.read(500).decode("utf-8", "replace")
            raise EvidenceMissing(f"Prometheus at {self._url} answers {error.code} {error.reason}: {said}") from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise EvidenceMissing(f"Prometheus at {self._url} does not answer: {reason}") from error
        except ValueError as error:
            raise EvidenceMissing(f"{self._url} does not answer in JSON: is that Prometheus?") from error
        if not isinstance(found, dict):
            raise EvidenceMissing(f"{self._url} does not answer as Prometheus does: is that Prometheus?")
        return found


class Evidence:
    """What one loop's versions were asked and failed to answer, by one source of metrics.

    `stale_seconds`: older news of a version is none. `hole_seconds`: over a longer gap without any sample a part of
    the count is lost, so counting starts again behind it.
    """

    def __init__(
        self,
        prometheus: Prometheus,
        source: Source,
        namespace: str,
        stale_seconds: float = 120.0,
        hole_seconds: float = 300.0,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._prometheus, self._source, self._namespace = prometheus, source, namespace
        self._stale_seconds, self._hole_seconds, self._now = stale_seconds, hole_seconds, now
        self._tally: Tally | None = None
        self._read_until: datetime | None = None

    def begin(self, noted: str) -> datetime:
        """When counting began: as it was noted, or now if it was not or is too long ago."""
        now = self._now()
        try:
            since = datetime.fromisoformat(noted)
        except ValueError:
            return now
        return since if since.tzinfo is not None and now - LONGEST <= since <= now else now

    def read(self, model: str, targets: Mapping[str, str], since: datetime) -> Mapping[str, Traffic]:
        """Counters of the versions (by the address that serves each); raises EvidenceMissing."""
        now = self._now()
        self._heard_of(model, targets, now)
        if self._tally is None or self._tally.since != since.timestamp():
            self._tally, self._read_until = Tally(since.timestamp(), self._hole_seconds), None
        start = (self._read_until or since) - _BEFORE
        seconds = (now - start).total_seconds()
        found = [
            self._prometheus.samples(counter.selector(model, self._namespace, targets), now, seconds)
            for counter in self._source.counters
        ]
        for index, series in enumerate(found):  # all were read, so that none is ahead of the others
            self._tally.add(index, series)
        self._read_until = now
        return {version: self._traffic(self._tally, version, targets[version]) for version in targets}

    def _traffic(self, tally: Tally, version: str, address: str) -> Traffic:
        counts = dict.fromkeys(("requests", "failures", "mirrored", "mirror_failures"), 0)
        for index, counter in enumerate(self._source.counters):
            for labels, count in tally.counts(index):
                if counter.is_of(labels, version, address):
                    _add(counts, counter, labels, count)
        epoch = datetime.fromtimestamp(tally.epoch, UTC).isoformat()
        return Traffic(epoch=epoch, **counts)

    def _heard_of(self, model: str, targets: Mapping[str, str], now: datetime) -> None:
        """Raise EvidenceMissing unless there is fresh news of every version, and of the gateway if it is asked."""
        for alive in self._source.alive:
            series = self._prometheus.samples(alive.selector(model, self._namespace), now, self._stale_seconds)
            if not alive.by_version:
                self._fresh(alive.selector(model, self._namespace), series)
                continue
            for version in targets:
                self._fresh(f"version {version}", (one for one in series if one.labels.get("version") == version))

    def _fresh(self, whom: str, series: Iterable[Series]) -> None:
        if not any(one.points for one in series):
            raise EvidenceMissing(
                f"Prometheus has heard nothing of {whom} for {self._stale_seconds:.0f} s, so nobody knows how it does. "
                f"Let Prometheus read the metrics of namespace {self._namespace} (helm value prometheus.podMonitor)"
            )


def _add(counts: dict[str, int], counter: Counter, labels: Mapping[str, str], count: int) -> None:
    copied = counter.is_copy(labels)
    counts["mirrored" if copied else "requests"] += count
    if counter.failed(labels):
        counts["mirror_failures" if copied else "failures"] += count
