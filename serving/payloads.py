"""Joining the two halves of logged calls by their id, so that none which was accepted is lost.

A half is in a journal of its own before it is acknowledged, and waits there until its other half has come, in whatever
order; then the call's records are appended to the prediction log, and the journal is told. After a kill the journal is
read again: a pair is joined once, as what the prediction log has already is not appended again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from prometheus_client import CollectorRegistry, Counter, Gauge

from trimtab.adapters.records.journal import FOLDER, SEALED, Journal, read_segment, seal_orphans
from trimtab.adapters.records.parquet import RecordFolder
from trimtab.adapters.records.schema import PREDICTIONS
from trimtab.errors import StorageFull
from trimtab.serving import halves
from trimtab.serving.cloudevents import Event
from trimtab.serving.refusals import Malformed, Unavailable

_OTHER = {"request": "response", "response": "request"}
_PARTS = ("", "predictor")  # a transformer or explainer logs the same call again
_REWRITE_BYTES = 8 << 20


@dataclass(frozen=True)
class Limits:
    """How much may wait for its other half, and how long."""

    most_bytes: int = 64 << 20
    most_remembered: int = 200_000
    wait: timedelta = timedelta(minutes=10)


class Payloads:
    """The halves that wait. `loop`: only events of its InferenceServices (LOOP, LOOP-vVERSION) are taken; "" is all.

    Not for several threads at once.
    """

    def __init__(self, home: Path, loop: str, registry: CollectorRegistry, limits: Limits | None = None) -> None:
        """Reads what a killed collector left behind; raises StorageFull."""
        self._folder, self._loop, self._limits = home / "payloads", loop, limits or Limits()
        self._waiting: dict[str, dict[str, dict[str, Any]]] = {}
        self._joined: dict[str, datetime] = {}
        self._bytes = self._written = 0
        self._events = _counter(registry, "events", "Events taken, by what became of them", "outcome")
        self._calls = _counter(registry, "calls", "Calls joined, or given up as one half never came", "outcome")
        self._gauge = Gauge("trimtab_payloads_waiting", "Halves of calls that wait for the other", registry=registry)
        self._predictions = Journal(home / "predictions", "payloads", segment_seconds=2.0)
        self._journal = Journal(self._folder, "halves")
        self._recover(RecordFolder(home / "predictions", PREDICTIONS))

    def take(self, events: Sequence[Event], now: datetime) -> None:
        """Make the halves safe, and join those that can be. Raises StorageFull or Unavailable (and then none is taken),
        Malformed or TooMuch for a payload that cannot be read.
        """
        new: dict[tuple[str, str], dict[str, Any]] = {}
        for event in events:
            if not self._is_ours(event):
                self._events("ignored")
                continue
            half = halves.read(event, now)
            named = half["key"], half["kind"]
            if half["key"] in self._joined or half["kind"] in self._waiting.get(half["key"], ()) or named in new:
                self._events("duplicate")
            else:
                new[named] = half
        size = sum(map(_size, new.values()))
        if self._bytes + size > self._limits.most_bytes:
            self._events("shed", len(new))
            raise Unavailable(
                f"{self._bytes} bytes of calls wait for their other half, of at most {self._limits.most_bytes}: "
                "log both requests and answers (logger.mode: all), or fewer calls"
            )
        self._append(list(new.values()))
        for half in new.values():
            self._events(half["kind"])
            self._wait(half)
        self._join({key for key, _ in new})

    def sweep(self, now: datetime) -> None:
        """Try again what could not be stored, give up halves that waited too long, and keep the journal short."""
        self._join(set(self._waiting))
        for key, found in list(self._waiting.items()):
            (kind, half), *other = found.items()
            if not other and now - datetime.fromisoformat(half["at"]) > self._limits.wait:
                self._calls("unanswered" if kind == "request" else "unasked")
                self._forget(key)
        for key, at in list(self._joined.items()):
            if now - at <= self._limits.wait and len(self._joined) <= self._limits.most_remembered:
                break
            del self._joined[key]
        if self._written > _REWRITE_BYTES:
            self._rewrite()

    def seal(self) -> None:
        """Let the records so far be compacted though nothing more may come."""
        self._predictions.close()

    def close(self) -> None:
        """Seal both journals."""
        self._predictions.close()
        self._journal.close()

    def _is_ours(self, event: Event) -> bool:
        named = event.service == self._loop or event.service.startswith(f"{self._loop}-v")
        return event.kind != "" and event.status == 200 and event.component in _PARTS and (named or not self._loop)

    def _wait(self, half: dict[str, Any]) -> None:
        self._waiting.setdefault(half["key"], {})[half["kind"]] = half
        self._bytes += _size(half)
        self._gauge.set(len(self._waiting))

    def _forget(self, key: str) -> None:
        self._bytes -= sum(map(_size, self._waiting.pop(key).values()))
        self._gauge.set(len(self._waiting))

    def _append(self, lines: Sequence[Mapping[str, Any]]) -> None:
        self._journal.append(lines)
        self._written += sum(map(_size, lines))

    def _join(self, keys: set[str], known: frozenset[str] = frozenset()) -> None:
        """Append the records of whole calls; those that cannot be stored now wait on."""
        for key in [key for key in keys if len(self._waiting[key]) == len(_OTHER)]:
            found = self._waiting[key]
            try:
                records = halves.records(found["request"], found["response"])
                self._predictions.append([one for one in records if one["id"] not in known])
                self._calls("joined")
            except Malformed:
                self._calls("unfit")
            except StorageFull:
                continue
            at = datetime.fromisoformat(max(half["at"] for half in found.values()))
            self._joined[key] = at
            self._forget(key)
            try:
                self._append([{"joined": key, "at": at.isoformat()}])
            except StorageFull:
                continue  # after a kill it is found in the prediction log

    def _recover(self, log: RecordFolder) -> None:
        seal_orphans(self._folder)
        for path in sorted((self._folder / FOLDER).glob(f"*{SEALED}")):
            for line in read_segment(path.read_bytes())[0]:
                if "joined" in line:
                    self._joined[line["joined"]] = datetime.fromisoformat(line["at"])
                elif line.get("kind") in _OTHER:
                    self._waiting.setdefault(line["key"], {})[line["kind"]] = line
        for key in set(self._waiting) & set(self._joined):
            del self._waiting[key]
        self._bytes = sum(_size(half) for found in self._waiting.values() for half in found.values())
        whole = {key for key, found in self._waiting.items() if len(found) == len(_OTHER)}
        if whole:
            times = [datetime.fromisoformat(self._waiting[key]["request"]["time"]) for key in whole]
            stored = log.read(min(times), max(times) + timedelta(microseconds=1))
            self._join(whole, frozenset(stored["id"].to_pylist()))
        self._rewrite()

    def _rewrite(self) -> None:
        """A new journal of what still matters; the old segments go once it is written."""
        self._journal.close()
        old = list((self._folder / FOLDER).glob(f"*{SEALED}"))
        self._written = 0
        self._append([{"joined": key, "at": at.astimezone(UTC).isoformat()} for key, at in self._joined.items()])
        self._append([half for found in self._waiting.values() for half in found.values()])
        self._written = 0
        for path in old:
            path.unlink(missing_ok=True)


def _counter(registry: CollectorRegistry, name: str, said: str, label: str) -> Callable[..., None]:
    made = Counter(f"trimtab_payload_{name}_total", said, [label], registry=registry)
    return lambda value, amount=1: made.labels(value).inc(amount)


def _size(half: Mapping[str, Any]) -> int:
    return len(orjson.dumps(half))
