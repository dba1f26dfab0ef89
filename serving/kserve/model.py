"""The KServe model: one `predict` for V1, V2 and gRPC. An answer leaves only after its record is safe."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import orjson
from kserve import InferOutput, InferRequest, InferResponse, Model

from trimtab.errors import StorageFull
from trimtab.ports.records import RecordWriter
from trimtab.serving.asked import Asked, read
from trimtab.serving.batching import Batcher
from trimtab.serving.kserve.metrics import ServerMetrics
from trimtab.serving.refusals import ModelFailed, Unanswered, Unavailable
from trimtab.serving.tensors import OUTPUTS
from trimtab.stages.bundle import Predictor

_DATATYPES = {"string": "BYTES", "integer": "INT64", "boolean": "BOOL", "number": "FP64"}

log = logging.getLogger("trimtab.server")


@dataclass(frozen=True)
class Settings:
    """What the server was started with. `stuck_seconds`: a batch that is computed longer makes the server unhealthy."""

    version: str
    max_rows: int = 1000
    max_batch_rows: int = 64
    log_scores: bool = True
    when_full: str = "refuse"
    virtual_time: bool = False
    stuck_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class _Answer:
    label: Any
    scores: list[float] | None


class BundleModel(Model):  # type: ignore[misc]  # kserve has no types
    """Serves one verified bundle."""

    def __init__(
        self, name: str, predictor: Predictor, journal: RecordWriter | None, settings: Settings, metrics: ServerMetrics
    ) -> None:
        """`journal` None keeps no record: for measuring what the log costs."""
        super().__init__(name, return_response_headers=True)
        self.version = settings.version
        self._predictor = predictor
        self._journal = journal
        self._settings = settings
        self._metrics = metrics
        self._batcher: Batcher[tuple[dict[str, Any], datetime], _Answer] = Batcher(
            self._compute, settings.max_batch_rows, metrics.batch.observe
        )
        metrics.watch(lambda: self._batcher.waiting_rows)
        self._outputs = OUTPUTS if predictor.manifest.classes and _has_scores(predictor) else OUTPUTS[:1]
        self._trouble = ""
        self.ready = True

    @property
    def stuck(self) -> bool:
        """Whether the batch under way takes so long that nothing will come of it."""
        return self._batcher.busy_seconds > self._settings.stuck_seconds

    @property
    def busy(self) -> bool:
        """Whether a batch is computed now."""
        return self._batcher.busy_seconds > 0

    def count_unanswered(self, status: int) -> None:
        """Count a request that a face of the server gave no prediction."""
        self._metrics.unanswered(status)

    def stop(self) -> None:
        """Compute no more."""
        self._batcher.close()

    def _compute(self, asked: list[tuple[dict[str, Any], datetime]]) -> list[_Answer]:
        found = self._predictor.predict_rows([row for row, _ in asked], [at for _, at in asked])
        scores = found.scores.tolist() if found.scores is not None else [None] * len(asked)
        return [_Answer(label, score) for label, score in zip(found.labels.tolist(), scores, strict=True)]

    async def predict(
        self, payload: Any, headers: Mapping[str, str] | None = None, response_headers: dict[str, str] | None = None
    ) -> dict[str, Any] | InferResponse:
        """Answer one request; raises a kind of Unanswered (serving/refusals.py)."""
        began = time.perf_counter()
        limits = self._settings.max_rows, self._settings.virtual_time
        asked = read(payload, headers or {}, self._predictor.contract, *limits, self._outputs)
        answers = await self._answers(asked)
        seconds = time.perf_counter() - began
        reply = self._reply(payload, asked, answers)  # first, so that what cannot be said is not remembered as said
        logged = self._log(asked, answers, seconds)
        self._metrics.answered(asked.protocol, asked.shadow, len(answers), seconds)
        if response_headers is not None:
            response_headers |= {"x-request-id": asked.request_id, "x-trimtab-version": self.version}
            if not logged:
                response_headers["x-trimtab-logged"] = "false"
        return reply

    async def _answers(self, asked: Asked) -> list[_Answer]:
        try:
            answers = await self._batcher.submit([(row, asked.time) for row in asked.rows])
        except Unanswered:
            raise
        except Exception as error:
            log.exception("version %s could not compute request %s", self.version, asked.request_id)
            raise ModelFailed(
                f"version {self.version} could not compute this ({type(error).__name__}); its log says more"
            ) from error
        if any(isinstance(answer.label, float) and not math.isfinite(answer.label) for answer in answers):
            raise ModelFailed(f"version {self.version} computed a number that is not finite")
        return answers

    def _log(self, asked: Asked, answers: list[_Answer], seconds: float) -> bool:
        """Whether the records are safe; raises Unavailable if they are not and must be."""
        if self._journal is None:
            return False
        settings, stamp = self._settings, asked.time.isoformat()
        records = [
            {
                "id": id_,
                "time": stamp,
                "version": settings.version,
                "shadow": asked.shadow,
                "attempt": asked.attempt,
                "protocol": asked.protocol,
                "features": orjson.dumps(row).decode(),
                "prediction": answer.label if isinstance(answer.label, str) else repr(answer.label),
                "scores": answer.scores if settings.log_scores else None,
                "latency_ms": seconds * 1000,
            }
            for id_, row, answer in zip(asked.ids, asked.rows, answers, strict=True)
        ]
        try:
            self._journal.append(records)
        except StorageFull as error:
            self._say_trouble(str(error))
            self._metrics.unlogged.inc(len(records))
            if settings.when_full == "refuse":
                raise Unavailable(str(error)) from error
            return False
        self._say_trouble("")
        return True

    def _say_trouble(self, trouble: str) -> None:
        """One line when the log cannot be written, and one when it can be again; not one a request."""
        if trouble != self._trouble:
            log.error("%s", trouble or "the log can be written again")
            self._trouble = trouble

    def _reply(self, payload: Any, asked: Asked, answers: list[_Answer]) -> dict[str, Any] | InferResponse:
        kind = self._predictor.manifest.label_type
        labels = [_typed(answer.label, kind) for answer in answers]
        if not isinstance(payload, InferRequest):
            return {"predictions": labels, "ids": list(asked.ids), "version": self.version}
        datatype = _DATATYPES[kind]
        dtype = object if datatype == "BYTES" else None
        outputs = [_tensor("prediction", datatype, np.array(labels, dtype=dtype), payload)]
        if answers[0].scores is not None:
            scores = np.array([answer.scores for answer in answers], dtype=np.float64)
            outputs.append(_tensor("scores", "FP64", scores, payload))
        if payload.request_outputs:  # kserve forgets them in gRPC
            by_name = {output.name: output for output in outputs}
            outputs = [by_name[name] for name in dict.fromkeys(one.name for one in payload.request_outputs)]
        return InferResponse(
            response_id=asked.request_id,
            model_name=self.name,
            model_version=self.version,
            infer_outputs=outputs,
            from_grpc=payload.from_grpc,
            use_binary_outputs=bool(payload.use_binary_outputs),
            requested_outputs=payload.request_outputs,
        )

    def get_input_types(self) -> list[dict[str, Any]]:
        """The columns as V2 metadata tells them."""
        kinds = {"string": "BYTES", "integer": "INT64", "number": "FP64", "boolean": "BOOL", "empty": "BYTES"}
        contract = self._predictor.contract.by_name
        return [
            {"name": name, "datatype": kinds[contract[name].type], "shape": [-1]}
            for name in self._predictor.manifest.columns
        ]

    def get_output_types(self) -> list[dict[str, Any]]:
        """The outputs as V2 metadata tells them."""
        datatype = _DATATYPES[self._predictor.manifest.label_type]
        outputs: list[dict[str, Any]] = [{"name": OUTPUTS[0], "datatype": datatype, "shape": [-1]}]
        if len(self._outputs) > 1:
            classes = self._predictor.manifest.classes or ()
            outputs.append({"name": OUTPUTS[1], "datatype": "FP64", "shape": [-1, len(classes)]})
        return outputs


def _has_scores(predictor: Predictor) -> bool:
    return hasattr(predictor.estimator, "predict_proba")


def _tensor(name: str, kind: str, values: np.ndarray, payload: InferRequest) -> InferOutput:
    output = InferOutput(name=name, shape=list(values.shape), datatype=kind)
    output.set_data_from_numpy(values, binary_data=payload.use_binary_outputs)
    return output


def _typed(label: Any, kind: str) -> Any:
    """A class in the type that the training data had."""
    if not isinstance(label, str):
        return label
    if kind == "integer":
        return int(label)
    if kind == "boolean":
        return label.lower() == "true"
    return float(label) if kind == "number" else label
