"""Adding up counters from raw samples: exact under restarts, births and two scrapers of one thing. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

# Labels that say who scraped, not what: two scrapers of one pod must not count twice.
_SCRAPER = ("job", "instance", "endpoint", "container", "service", "prometheus", "prometheus_replica", "replica")

_Key = tuple[int, frozenset[tuple[str, str]]]


@dataclass(frozen=True)
class Series:
    """One series: its labels, and its samples as (Unix time, value), oldest first."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


@dataclass
class _Seen:
    labels: Mapping[str, str]
    at: float
    value: float
    count: float = 0.0


@dataclass
class Tally:
    """Counts since a moment (Unix time). `epoch` is that moment, or the end of a hole in which some were lost."""

    since: float
    hole_seconds: float = 300.0
    epoch: float = 0.0
    _seen: dict[_Key, _Seen] = field(default_factory=dict)
    _newest: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Count from the start."""
        self.epoch = self.since

    def add(self, group: int, series: Iterable[Series]) -> None:
        """Take in samples; what was taken in before may be among them. `group` keeps queries apart."""
        found = list(series)
        self._look_for_holes(group, found)
        for one in found:
            key = (group, frozenset(one.labels.items()))
            for at, value in one.points:
                self._one(key, one.labels, at, value)

    def counts(self, group: int) -> Iterator[tuple[Mapping[str, str], int]]:
        """What was counted, each thing once: (labels, count)."""
        things: dict[frozenset[tuple[str, str]], list[_Seen]] = defaultdict(list)
        for (of, key), seen in self._seen.items():
            if of == group:
                things[_thing(key)].append(seen)
        for those in things.values():
            best = max(those, key=lambda seen: seen.count)
            yield best.labels, round(best.count)

    def _one(self, key: _Key, labels: Mapping[str, str], at: float, value: float) -> None:
        seen = self._seen.get(key)
        if seen is None:
            # Born since counting began: all of its value is new. Older: what it was then is not.
            self._seen[key] = _Seen(labels, at, value, value if at > self.epoch else 0.0)
        elif at > seen.at:
            if at > self.epoch:  # a counter that fell was born again
                seen.count += value if value < seen.value else value - seen.value
            seen.at, seen.value = at, value

    def _look_for_holes(self, group: int, series: Iterable[Series]) -> None:
        """Nobody was watched for a while: a server may have come, failed and gone, so counting starts behind that."""
        before = self._newest.get(group)
        times = {at for one in series for at, _ in one.points if before is None or at > before}
        for at in sorted(times):
            if before is not None and at - before > self.hole_seconds and at > self.epoch:
                self.epoch = at
                for seen in self._seen.values():
                    seen.count = 0.0
            before = at
        if before is not None:
            self._newest[group] = before


def _thing(key: frozenset[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    named = any(name == "pod" for name, _ in key)
    return frozenset((name, value) for name, value in key if not named or name not in _SCRAPER)
