"""What several components read and show; they import it inside, so it runs in the image and not at compile time."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.errors import ArtifactCorrupt, DataRefused
from trimtab.spec.document import LoopSpec, Metadata, ModelLoop
from trimtab.spec.section import format_duration

if TYPE_CHECKING:
    import pandas as pd

    from trimtab.stages.analyse import Evaluation
    from trimtab.stages.anomaly import Anomaly
    from trimtab.stages.bundle import Predictor
    from trimtab.stages.cohort import Cohort
    from trimtab.stages.collect import Window

_MOST_SENTENCES = 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Document:
    """A parsed document; `folder` is what relative paths are relative to (a controller writes absolute ones)."""

    loop: ModelLoop
    folder: Path

    @property
    def spec(self) -> LoopSpec:
        """The sections."""
        return self.loop.spec

    @property
    def metadata(self) -> Metadata:
        """The object's name."""
        return self.loop.metadata


def document(text: str) -> Document:
    """The ModelLoop out of its JSON or YAML text; raises DocumentRefused."""
    from trimtab.spec.read import loads

    return Document(loads(text), Path.cwd())


def moment(text: str) -> datetime:
    """An ISO 8601 time (a day without offset is UTC); empty is now."""
    if not text:
        return datetime.now(UTC)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise DataRefused(f"{text!r} is no ISO 8601 time such as 1995-09-01 or 1995-09-01T12:00:00+00:00") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@contextmanager
def ended_after(limit: timedelta, setting: str) -> Iterator[None]:
    """End this process with exit code 1 and a sentence if the block lasts longer than `setting` allows.

    The work may be inside a library that no exception can reach, so the whole task ends, as a cluster would end it.
    """

    def end() -> None:
        print(f"stopped: {setting} allows {format_duration(limit)}. Allow more, or give it less to do", flush=True)
        os._exit(1)

    timer = threading.Timer(limit.total_seconds(), end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def feedback(found: Document, predictions: str, labels: str, at: datetime) -> pd.DataFrame | None:
    """Served rows with labels as known at `at`, or None where there is no log."""
    data = found.spec.data
    if not predictions or not labels or not data.use_feedback:
        return None
    cohort = _joined(found, at, predictions, labels, _EPOCH)
    columns = _logged_columns(cohort.answers)
    return cohort.feedback([name for name in columns if name != data.label.column], data.label.column)


def window_of(
    found: Document, at: datetime, predictions: str, labels: str, columns: Sequence[str], version: str
) -> Window:
    """The monitoring window that ends at `at`."""
    from trimtab.stages import collect

    since = at - found.spec.monitoring.window
    cohort = _joined(found, at, predictions, labels, since - found.spec.data.label.delay - found.spec.monitoring.window)
    return collect.window(cohort, columns, since=since, until=at, version=version or None)


def _joined(found: Document, at: datetime, predictions: str, labels: str, since: datetime) -> Cohort:
    from trimtab.adapters.records.places import record_log
    from trimtab.adapters.records.schema import LABELS, PREDICTIONS
    from trimtab.stages.cohort import join

    until = at + timedelta(microseconds=1)
    told = record_log(predictions, PREDICTIONS).read(since, until)
    known = record_log(labels, LABELS).read(since, until)
    return join(told, known, at, found.spec.data.label.delay, numbers=found.spec.scope.problem == "regression")


def _logged_columns(answers: pd.DataFrame) -> list[str]:
    import orjson

    columns: dict[str, None] = {}
    for text in answers["features"].tail(1000):
        columns |= dict.fromkeys(orjson.loads(text))
    return list(columns)


def bundle_of(place: str, digest: str, tracking_uri: str) -> Path:
    """The bundle's folder: of that path, or brought here from a store's URI and checked."""
    from trimtab.adapters.registry.bundles import Bundles

    return Bundles(Path(tempfile.gettempdir()) / "trimtab-bundles", tracking_uri).local(place, digest)


def champion_of(place: str, digest: str, tracking_uri: str) -> Predictor | None:
    """The champion to compare with, checked, or None."""
    from trimtab.stages.bundle import load

    return load(bundle_of(place, digest, tracking_uri), digest) if place else None


def comparable(place: str, digest: str, tracking_uri: str) -> tuple[Predictor | None, str]:
    """The champion to compare with, and why there is none although one is named: a new version must not wait for it."""
    try:
        return champion_of(place, digest, tracking_uri), ""
    except ArtifactCorrupt as error:
        return None, f"no comparison: the champion's bundle cannot be read ({error})"


def anomaly_list(found: Sequence[Anomaly]) -> str:
    """The anomalies as Markdown."""
    lines = [f"| {one.severity} | {one.column} | {one.sentence} |" for one in found]
    return (
        "\n".join(["# Anomalies", "", "| severity | column | what |", "|---|---|---|", *lines])
        if lines
        else "# No anomalies\n"
    )


def warned(found: Sequence[Anomaly]) -> dict[str, Any]:
    """How many warnings there are and what the first ones say, as an artifact's metadata."""
    sentences = [one.sentence for one in found if one.severity == "warning"]
    return {"warnings": len(sentences), "sentences": sentences[:_MOST_SENTENCES]}


def refuse_errors(found: Sequence[Anomaly]) -> None:
    """Raise DataRefused with every anomaly that is an error."""
    for one in found:
        print(f"{one.severity}: {one.sentence}")
    errors = [one.sentence for one in found if one.severity == "error"]
    if errors:
        raise DataRefused("the rows break the contract: " + "; ".join(errors))


def show_evaluation(evaluation: Evaluation, metrics: Any, confusion: Any, summary: Any) -> None:
    """Fill the artifacts that the KFP UI shows."""
    for name, one in evaluation.metrics.items():
        metrics.log_metric(name, one.value)
    if evaluation.confusion:
        confusion.log_confusion_matrix(evaluation.confusion["labels"], evaluation.confusion["counts"])
    checks = [f"| {one.verdict} | {one.sentence} |" for one in (*evaluation.gates, *evaluation.slices)]
    text = [
        f"# {evaluation.verdict}",
        "",
        *(f"- {reason}" for reason in evaluation.reasons),
        "",
        "| verdict | check |",
        "|---|---|",
    ]
    Path(summary.path).write_text("\n".join([*text, *checks]) + "\n")
    print(f"{evaluation.verdict}: {'; '.join(evaluation.reasons)}")
