"""What a replay amounts to: the figures for scripts, and the whole story for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from trimtab.loop.replay import Record, text_of, values_of
from trimtab.loop.running import shown_metric, value
from trimtab.spec.document import ModelLoop

_LEAST_CLASS_ROWS = 10  # a class with fewer rows is left out of the confusion pictures


class Story:
    """Reads a replay's record against the truth that the replayed rows hold."""

    def __init__(self, document: ModelLoop, frame: pd.DataFrame, record: Record) -> None:
        spec = document.spec
        self._document = document
        self._record = record
        self._classes = spec.scope.problem == "classification"
        self._metric = shown_metric(spec.main_metric)
        rows = frame.iloc[: len(record.answers)]
        self._times = rows["_time"]
        labels = rows[spec.data.label.column]
        self._truth = np.array([text_of(value) for value in labels]) if self._classes else labels.to_numpy(dtype=float)
        self._loop = values_of(record.answers, self._classes)
        self._frozen = values_of(record.frozen, self._classes)

    def value(self, which: str, chosen: np.ndarray | None = None, metric: str = "") -> float | None:
        """A metric of the loop or of the frozen model over the chosen rows; None over none, or if a number lacks."""
        predicted = self._loop if which == "loop" else self._frozen
        truth = self._truth
        if chosen is not None:
            predicted, truth = predicted[chosen], truth[chosen]
        return value(metric or self._metric, truth, predicted)

    def summary(
        self, lost: int, duplicated: int, early: int, wall_seconds: float, peak_memory_mb: float
    ) -> dict[str, Any]:
        """The figures that scripts rely on (demo-summary.json)."""
        kinds = [decision["kind"] for turn in self._record.turns for decision in turn.decisions]
        figures: dict[str, Any] = {
            "predictions": len(self._record.answers),
            "lost": lost,
            "duplicated": duplicated,
            "metric": self._metric,
            "loop": self.value("loop"),
            "frozen": self.value("frozen"),
        }
        if self._classes:
            figures |= {
                "accuracy": self.value("loop", metric="accuracy"),
                "frozen_accuracy": self.value("frozen", metric="accuracy"),
                "macro_f1": self.value("loop", metric="macro_f1"),
                "frozen_macro_f1": self.value("frozen", metric="macro_f1"),
            }
        return figures | {
            "retrains": sum(kind == "retrain" for kind in kinds) - 1,  # the first training is none
            "promotions": sum(kind == "promote" for kind in kinds) - 1,
            "rollbacks": sum(kind == "roll-back" for kind in kinds),
            "rejections": sum(kind == "reject" for kind in kinds),
            "labels_before_time": early,
            "wall_seconds": round(wall_seconds, 1),
            "peak_memory_mb": round(peak_memory_mb, 1),
            "years": self._years(),
        }

    def _years(self) -> list[dict[str, Any]]:
        years = self._times.dt.year.to_numpy()
        out = []
        for year in np.unique(years):
            chosen = years == year
            loop, frozen = self.value("loop", chosen), self.value("frozen", chosen)
            row = {"year": int(year), "n": int(chosen.sum()), "loop": loop, "frozen": frozen}
            if self._classes:
                row["accuracy"] = self.value("loop", chosen, "accuracy")
                row["frozen_accuracy"] = self.value("frozen", chosen, "accuracy")
            out.append(row)
        return out

    def tell(
        self, summary: Mapping[str, Any], monitoring: Sequence[Mapping[str, Any]], mark: Mapping[str, str] | None
    ) -> dict[str, Any]:
        """Everything the report shows, JSON-ready (replay.json)."""
        scope = self._document.spec.scope
        promised = next((metric for metric in self._document.spec.metrics if metric.name == self._metric), None)
        periods = self._record.periods
        return {
            "name": self._document.metadata.name,
            "statement": scope.statement,
            "problem": scope.problem,
            "metric": self._metric,
            "promise": None if promised is None else (promised.min if promised.min is not None else promised.max),
            "since": periods[0]["start"],
            "until": periods[-1]["end"],
            "period_name": "period",
            "mark": dict(mark) if mark else None,
            "periods": self._periods(),
            "years": summary["years"],
            "monitoring": list(monitoring),
            "decisions": [_decision(one) for turn in self._record.turns for one in turn.decisions],
            "confusion": self._confusion(mark) if self._classes else None,
            "summary": dict(summary),
            "generated": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        }

    def _periods(self) -> list[dict[str, Any]]:
        out, position = [], 0
        for period in self._record.periods:
            chosen = np.zeros(len(self._truth), dtype=bool)
            chosen[position : position + period["n"]] = True
            position += period["n"]
            out.append({**period, "loop": self.value("loop", chosen), "frozen": self.value("frozen", chosen)})
        return out

    def _confusion(self, mark: Mapping[str, str] | None) -> dict[str, Any]:
        names, counts = np.unique(self._truth, return_counts=True)
        labels = [str(name) for name in names[counts >= _LEAST_CLASS_ROWS]]
        after = self._times >= pd.Timestamp(mark["time"], tz="UTC") if mark else self._times.notna()
        spans = [("before", ~after.to_numpy()), ("after", after.to_numpy())] if mark else [("all", after.to_numpy())]
        parts = []
        for span, chosen in spans:
            for who, predicted in (("frozen model", self._frozen), ("with the loop", self._loop)):
                counts_ = pd.crosstab(self._truth[chosen], predicted[chosen]).reindex(
                    index=labels, columns=labels, fill_value=0
                )
                caption = who if span == "all" else f"{who}, {span} {mark['time'] if mark else ''}"
                parts.append({"caption": caption, "counts": counts_.to_numpy().astype(int).tolist()})
        return {"labels": labels, "parts": parts}


def _decision(decision: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("time", "kind", "sentence", "version", "stable", "evidence", "cause")
    return {name: decision.get(name) for name in kept}
