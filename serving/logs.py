"""The two logs as the collector keeps them: journals here, Parquet here or in an object store, and how they fare."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge

from trimtab.adapters.records.bucket import Shipper
from trimtab.adapters.records.journal import Journal
from trimtab.adapters.records.parquet import RecordFolder
from trimtab.adapters.records.schema import LABELS, PREDICTIONS
from trimtab.errors import StorageFull, TrimtabError
from trimtab.serving import cloudevents
from trimtab.serving.labels import Label
from trimtab.serving.payloads import Payloads
from trimtab.serving.refusals import Unavailable, Unsupported

log = logging.getLogger("trimtab.collector")

MOST_SPOOLED_BYTES = 2 << 30


@dataclass(frozen=True)
class Store:
    """Where Parquet files go: below `uri`, a folder a log. At most `most_spooled_bytes` wait here while it is down."""

    uri: str
    most_spooled_bytes: int = MOST_SPOOLED_BYTES


class Collector:
    """The two logs, and how they fare."""

    def __init__(self, home: Path, store: Store | None = None, payloads_of: str | None = None) -> None:
        """`payloads_of`: take logged payloads of this loop's InferenceServices ("": of all; None: none at all).

        Raises StorageFull if a log cannot be made, Refused for a store whose URI is none.
        """
        self._labels = Journal(home / "labels", "feedback", segment_seconds=2.0)
        self._folders = (RecordFolder(home / "predictions", PREDICTIONS), RecordFolder(home / "labels", LABELS))
        self._store = store
        self._shippers = (
            [Shipper(home / name, f"{store.uri.rstrip('/')}/{name}") for name in ("predictions", "labels")]
            if store
            else []
        )
        self._working = threading.Lock()
        self._spooled = sum(shipper.spooled_bytes() for shipper in self._shippers)
        self.trouble = ""
        self.registry = CollectorRegistry()
        self._accepted = Counter("trimtab_labels_total", "Labels accepted", registry=self.registry)
        self._compacted = Counter(
            "trimtab_segments_compacted_total", "Journal segments turned to Parquet", registry=self.registry
        )
        self._full = Gauge("trimtab_log_trouble", "1 while a log cannot be written or shipped", registry=self.registry)
        self._shipped = Counter(
            "trimtab_files_shipped_total", "Parquet files brought to the object store", registry=self.registry
        )
        self._waiting = Gauge(
            "trimtab_spooled_bytes", "Bytes that wait here for the object store", registry=self.registry
        )
        self._shed = Counter(
            "trimtab_shed_total", "Calls refused as too much waits for the object store", registry=self.registry
        )

        self._payloads = None if payloads_of is None else Payloads(home, payloads_of, self.registry)

    def take_events(self, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Make logged payloads safe; raises StorageFull or an Unanswered, and then none of them is stored."""
        if self._payloads is None:
            raise Unsupported("this collector takes no payloads; start it with --payloads")
        events = cloudevents.read(headers, body)
        with self.room(len(body)):
            self._payloads.take(events, now)

    def take(self, labels: list[Label], time: datetime) -> int:
        """Store the labels safely; raises StorageFull or Unavailable, and then none of them is stored."""
        stamp = time.isoformat()
        with self.room(sum(len(one.id) + len(one.text) + 100 for one in labels)):
            self._labels.append([{"id": one.id, "label": one.text, "time": stamp, "source": "http"} for one in labels])
        self._accepted.inc(len(labels))
        return len(labels)

    @contextmanager
    def room(self, coming_bytes: int) -> Iterator[None]:
        """Count what is about to be stored; raises Unavailable when the spool would become too large."""
        most = self._store.most_spooled_bytes if self._store else 0
        if most and self._spooled + coming_bytes > most:
            self._shed.inc()
            raise Unavailable(
                f"{self._spooled} bytes wait for the object store, of at most {most} (--spool-bytes), so nothing more "
                "is taken. Send it again once the store answers"
            )
        yield
        self._spooled += coming_bytes

    def tend(self, now: datetime) -> None:
        """What must not happen while records are taken: before each `work`, by the one thread that takes them."""
        if self._payloads:
            with contextlib.suppress(StorageFull):  # those who send are told
                self._payloads.sweep(now)
        if self._store:  # let what came so far reach it though nothing more may come
            with contextlib.suppress(OSError):  # it is sealed as an orphan then
                self._labels.close()
                if self._payloads:
                    self._payloads.seal()

    def work(self) -> None:
        """One pass over both logs: compact, then ship. Trouble is told by /healthz and tried again at the next pass."""
        with self._working:  # the last pass, at a stop, may meet one under way
            trouble = ""
            for folder in self._folders:
                try:
                    self._compacted.inc(folder.compact())
                except StorageFull as error:
                    trouble = str(error)
                except Exception as error:  # the passes must go on, whatever a damaged segment does
                    trouble = f"a segment could not be turned into Parquet: {type(error).__name__}: {error}"
                    if trouble != self.trouble:
                        log.exception("compaction failed")
            trouble = self._ship() or trouble
            if trouble and trouble != self.trouble:
                log.error("%s", trouble)
            self.trouble = trouble
            self._full.set(bool(trouble))

    def _ship(self) -> str:
        """What is wrong, or "". The first failure ends it: a store that is down is not asked once a file."""
        trouble = ""
        try:
            for shipper in self._shippers:
                for _ in shipper.ship():
                    self._shipped.inc()
        except (TrimtabError, OSError) as error:
            trouble = f"logs are not shipped, they wait here: {error}"
        if self._shippers:
            self._spooled = sum(shipper.spooled_bytes() for shipper in self._shippers)
            self._waiting.set(self._spooled)
        return trouble

    def close(self) -> None:
        """Seal, compact and ship all that is there; what the store does not take stays here."""
        self._labels.close()
        if self._payloads:
            self._payloads.close()
        self.work()
