"""A whole loop without a process, a socket or a database: real stages, real decisions, everything else in memory.

For tests of the turn, and to try a loop.yaml on years of data in seconds.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pandas as pd

from trimtab.adapters.records.memory import MemoryRecords
from trimtab.adapters.records.schema import LABELS, PREDICTIONS
from trimtab.adapters.registry.memory import MemoryRegistry
from trimtab.adapters.router.memory import MemoryRouter
from trimtab.errors import TrimtabError
from trimtab.ports.pipelines import RunRequest, RunView
from trimtab.ports.registry import RegisteredVersion
from trimtab.spec.document import ModelLoop
from trimtab.stages import bundle, collect, fitting, ingest, monitor, split, validate
from trimtab.stages.bundle import Predictor
from trimtab.stages.cohort import Cohort, join

_ALWAYS = (datetime.fromisoformat("1900-01-01T00:00:00+00:00"), datetime.fromisoformat("2900-01-01T00:00:00+00:00"))


class CallingRunner:
    """PipelineRunner whose pipelines are functions: a run has ended when `start` returns. One run a key."""

    def __init__(self, pipelines: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]]) -> None:
        """`pipelines`: file stem to a function from parameters to outputs; a TrimtabError of it fails the run."""
        self._pipelines = pipelines
        self.started: list[str] = []
        self.views: dict[str, RunView] = {}

    def start(self, request: RunRequest) -> RunView:
        """Run it, unless a run of this key has ended already."""
        known = self.views.get(request.key)
        if known is not None and known.state != "INTERRUPTED":
            return known
        self.started.append(request.key)
        try:
            output = self._pipelines[Path(request.pipeline).stem](request.parameters)
            view = RunView(request.key, request.key, "SUCCEEDED", output)
        except TrimtabError as error:
            view = RunView(request.key, request.key, "FAILED", reason=str(error))
        self.views[request.key] = view
        return view

    def look(self, key: str) -> RunView | None:
        """How the run stands."""
        return self.views.get(key)

    def close(self) -> None:
        """Nothing runs."""


class Memory:
    """The parts of one loop's world that hold something, and the work that a cluster of processes would do."""

    def __init__(self, document: ModelLoop, source: Path, folder: Path) -> None:
        """`source`: the folder that the document's paths are relative to; bundles are written below `folder`."""
        self.document, self._source, self._folder = document, source, folder
        self.predictions, self.labels = MemoryRecords(PREDICTIONS), MemoryRecords(LABELS)
        self.registry, self.router = MemoryRegistry(), MemoryRouter()
        self.runner = CallingRunner({"training-pipeline": self._train, "monitoring-pipeline": self._monitor})
        self._loaded: dict[str, Predictor] = {}

    def predictor(self, version: str) -> Predictor:
        """The version's model, checked."""
        if version not in self._loaded:
            found = self.registry.version(self.document.metadata.name, version)
            self._loaded[version] = bundle.load(found.bundle, found.digest)
        return self._loaded[version]

    def serve(self, rows: pd.DataFrame) -> dict[str, str]:
        """Send each row (raw columns, `_id`, `_time`) through the router; returns the answer by id."""
        told: defaultdict[tuple[str, bool], list[int]] = defaultdict(list)
        for position, id_ in enumerate(rows["_id"]):
            version = self.router.send(str(id_))
            if version is None:
                raise TrimtabError(f"nobody answered {id_}")
            told[version, False].append(position)
            candidate = self.router.routes.candidate
            if candidate is not None and self.router.routes.mirror_percent:
                told[candidate.version, True].append(position)
        answers: dict[str, str] = {}
        for (version, shadow), positions in told.items():
            part = rows.iloc[positions]
            records = self._records(part, version, shadow)
            self.predictions.append(records)
            if not shadow:
                answers |= {record["id"]: record["prediction"] for record in records}
        return answers

    def label(self, ids: Sequence[str], labels: Sequence[Any], times: Sequence[datetime]) -> None:
        """Labels that became known."""
        self.labels.append(
            [
                {"id": str(id_), "label": str(label), "time": time.isoformat(), "source": "replay"}
                for id_, label, time in zip(ids, labels, times, strict=True)
            ]
        )

    def _records(self, rows: pd.DataFrame, version: str, shadow: bool) -> list[dict[str, Any]]:
        model = self.predictor(version)
        answer = model.predict(rows)
        columns = [*model.manifest.columns]
        plain = rows[columns].astype(object).where(rows[columns].notna(), None).to_dict("records")
        return [
            {
                "id": str(id_),
                "time": time.isoformat(),
                "version": version,
                "shadow": shadow,
                "attempt": 1,
                "protocol": "memory",
                "features": orjson.dumps(features, option=orjson.OPT_SERIALIZE_NUMPY).decode(),
                "prediction": str(label),
                "scores": None,
                "latency_ms": 1.0,
            }
            for id_, time, features, label in zip(rows["_id"], rows["_time"], plain, answer.labels, strict=True)
        ]

    def _joined(self, at: datetime) -> Cohort:
        told, known = self.predictions.read(*_ALWAYS), self.labels.read(*_ALWAYS)
        numbers = self.document.spec.scope.problem == "regression"
        return join(told, known, at, self.document.spec.data.label.delay, numbers=numbers)

    def _train(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        spec, at = self.document.spec, datetime.fromisoformat(str(parameters["as_of"]))
        frame = ingest.read(spec.data, self._source, as_of=at, window=spec.training.window)
        contract = validate.infer(frame, spec.data, spec.scope.problem, include=spec.features.include)
        known, held = split.split(frame, spec.data.split, spec.data, spec.training.seed)
        fitted = fitting.fit(self.document, contract, known, at.isoformat())
        champion = str(parameters["champion"])
        before = bundle.load(Path(champion), str(parameters["champion_digest"])) if champion else None
        evaluation = fitting.judge(self.document, fitted, held, before)
        version = str(len(self.registry.versions) + 1)
        folder = self._folder / version
        digest = fitting.pack(folder, fitted, held, evaluation)
        evidence = evaluation.to_json()
        self.registry.add(RegisteredVersion(self.document.metadata.name, version, digest, folder, evidence))
        said = {"verdict": evaluation.verdict, "evidence": json.dumps(evidence)}
        return {"version": version, "digest": digest, "bundle": str(folder), **said}

    def _monitor(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        spec, at = self.document.spec, datetime.fromisoformat(str(parameters["now"]))
        folder, digest = Path(str(parameters["bundle"])), str(parameters["digest"])
        reference, holdout, evaluation = bundle.frames(folder, digest)
        model = bundle.load(folder, digest)
        since = at - max(spec.monitoring.window, timedelta(seconds=1))
        columns = model.manifest.columns
        version, fields = str(parameters["version"]), [rule.name for rule in model.contract.features]
        window = collect.window(self._joined(at), fields, since=since, until=at, version=version)
        verdict = monitor.monitor(
            spec,
            reference,
            holdout,
            window,
            now=at,
            columns=columns,
            classes=model.manifest.classes,
            importance=evaluation["importance"],
            contract=model.contract,
            failed=int(parameters["failures"]),
        )
        return {"verdict": verdict.to_json()}
