"""What every runtime does with a request: check its rows, predict, make the records safe, and only then answer.

Nothing of any runtime is imported here, so that it runs in the environment of each of them.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from trimtab.adapters.records.journal import Journal
from trimtab.errors import StorageFull
from trimtab.ports.records import RecordWriter
from trimtab.serving.asked import Asked, Protocol, check
from trimtab.serving.refusals import ModelFailed, Unavailable
from trimtab.serving.served import Served, load
from trimtab.serving.signature import Tensor, inputs, outputs, typed
from trimtab.stages.bundle import Predictor

log = logging.getLogger("trimtab.server")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """A row's prediction: the class as a string or a float, and the scores in the order of the classes."""

    label: Any
    scores: list[float] | None


@dataclass(frozen=True)
class Answered:
    """A whole request's answer. `labels` are in the type of the training data; `logged`: its records are safe."""

    asked: Asked
    version: str
    labels: list[Any]
    scores: list[list[float]] | None
    outputs: tuple[Tensor, ...]
    logged: bool

    @property
    def headers(self) -> dict[str, str]:
        """What a protocol with headers says besides the predictions."""
        told = {"x-request-id": self.asked.request_id, "x-trimtab-version": self.version}
        return told if self.logged else {**told, "x-trimtab-logged": "false"}

    def to_v1(self) -> dict[str, Any]:
        """The V1 protocol's answer."""
        return {"predictions": self.labels, "ids": list(self.asked.ids), "version": self.version}

    def to_v2(self, name: str, wanted: Sequence[str] = ()) -> dict[str, Any]:
        """The V2 protocol's answer, in JSON: the outputs that are wanted, or all."""
        values = {"prediction": self.labels, "scores": [one for row in self.scores or () for one in row]}
        known = {one.name: one for one in self.outputs}
        tensors = [
            {**known[name].to_json(), "shape": [len(self.labels), *known[name].shape[1:]], "data": values[name]}
            for name in wanted or known
        ]
        return {"id": self.asked.request_id, "model_name": name, "model_version": self.version, "outputs": tensors}


class PredictionLog:
    """Writes one record a row, and says once when it cannot and once when it can again."""

    def __init__(
        self,
        journal: RecordWriter,
        version: str,
        log_scores: bool = True,
        when_full: str = "refuse",
        unlogged: Callable[[int], None] | None = None,
    ) -> None:
        """`unlogged` is told how many rows have no record."""
        self._journal = journal
        self._version = version
        self._log_scores = log_scores
        self._when_full = when_full
        self._unlogged = unlogged
        self._trouble = ""

    def record(self, asked: Asked, answers: Sequence[Answer], seconds: float) -> bool:
        """Whether the records are safe; raises Unavailable if they are not and must be."""
        stamp = asked.time.isoformat()
        records = [
            {
                "id": id_,
                "time": stamp,
                "version": self._version,
                "shadow": asked.shadow,
                "attempt": asked.attempt,
                "protocol": asked.protocol,
                "features": orjson.dumps(row).decode(),
                "prediction": answer.label if isinstance(answer.label, str) else repr(answer.label),
                "scores": answer.scores if self._log_scores else None,
                "latency_ms": seconds * 1000,
            }
            for id_, row, answer in zip(asked.ids, asked.rows, answers, strict=True)
        ]
        try:
            self._journal.append(records)
        except StorageFull as error:
            self._say_trouble(str(error))
            if self._unlogged is not None:
                self._unlogged(len(records))
            if self._when_full == "refuse":
                raise Unavailable(str(error)) from error
            return False
        self._say_trouble("")
        return True

    def close(self) -> None:
        """Seal what was written."""
        self._journal.close()

    def _say_trouble(self, trouble: str) -> None:
        """One line when the log cannot be written, and one when it can be again; not one a request."""
        if trouble != self._trouble:
            log.error("%s", trouble or "the log can be written again")
            self._trouble = trouble


class Answering:
    """One verified version behind a runtime that asks it one request at a time."""

    def __init__(self, served: Served, predictor: Predictor, records: PredictionLog | None) -> None:
        """`records` None keeps no log: for measuring what it costs."""
        self.served = served
        self.inputs = tuple(inputs(predictor))
        self.outputs = tuple(outputs(predictor))
        self.classes = predictor.manifest.classes or ()
        self._predictor = predictor
        self._records = records
        self._one_at_a_time = threading.Lock()  # a runtime may have threads; the journal is for one

    @classmethod
    def open(cls, served: Served) -> Answering:
        """Check the bundle against its digest, load it and open the log; raises TrimtabError with a sentence."""
        predictor = load(served.bundle, served.digest)
        if served.log_dir is None:
            return cls(served, predictor, None)
        journal = Journal(served.log_dir, f"{served.name}-v{served.version}")
        return cls(served, predictor, PredictionLog(journal, served.version, served.log_scores, served.when_full))

    def answer(
        self, rows: Sequence[Row], request_id: str | None, protocol: Protocol, headers: Mapping[str, str]
    ) -> Answered:
        """Answer one request; raises a kind of Unanswered, and then none of its rows is in the log."""
        began = time.perf_counter()
        limits = self.served.max_rows, self.served.virtual_time
        asked = check(rows, request_id, protocol, headers, self._predictor.contract, *limits)
        answers = self._computed(asked)
        kind = self._predictor.manifest.label_type
        labels = [typed(one.label, kind) for one in answers]  # first: what cannot be said is not remembered as said
        scores = [one.scores for one in answers if one.scores is not None] or None
        with self._one_at_a_time:
            logged = self._records is not None and self._records.record(asked, answers, time.perf_counter() - began)
        return Answered(asked, self.served.version, labels, scores, self.outputs, logged)

    def close(self) -> None:
        """Seal the log; nothing is answered after it."""
        with self._one_at_a_time:
            if self._records is not None:
                self._records.close()

    def _computed(self, asked: Asked) -> list[Answer]:
        try:
            answers = compute(self._predictor, asked.rows, [asked.time] * len(asked.rows))
        except Exception as error:
            log.exception("version %s could not compute request %s", self.served.version, asked.request_id)
            raise failed(self.served.version, error) from error
        check_finite(answers, self.served.version)
        return answers


def compute(predictor: Predictor, rows: Sequence[Row], times: Sequence[datetime]) -> list[Answer]:
    """One answer a row."""
    found = predictor.predict_rows(rows, times)
    scores = found.scores.tolist() if found.scores is not None else [None] * len(rows)
    return [Answer(label, score) for label, score in zip(found.labels.tolist(), scores, strict=True)]


def failed(version: str, error: Exception) -> ModelFailed:
    """What a client is told of an exception in the model."""
    return ModelFailed(f"version {version} could not compute this ({type(error).__name__}); its log says more")


def check_finite(answers: Sequence[Answer], version: str) -> None:
    """Raises ModelFailed for a number that JSON cannot say."""
    if any(isinstance(answer.label, float) and not math.isfinite(answer.label) for answer in answers):
        raise ModelFailed(f"version {version} computed a number that is not finite")
