"""The KServe model: one `predict` for V1, V2 and gRPC. An answer leaves only after its record is safe."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from kserve import InferOutput, InferRequest, InferResponse, Model

from trimtab.ports.records import RecordWriter
from trimtab.serving import tensors
from trimtab.serving.answering import Answer, PredictionLog, check_finite, compute, failed
from trimtab.serving.asked import Asked, Protocol, check, instances
from trimtab.serving.batching import Batcher
from trimtab.serving.kserve.metrics import ServerMetrics
from trimtab.serving.refusals import Unanswered
from trimtab.serving.signature import inputs, outputs, typed
from trimtab.stages.bundle import Predictor

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


class BundleModel(Model):  # type: ignore[misc]  # kserve has no types
    """Serves one verified bundle."""

    def __init__(
        self, name: str, predictor: Predictor, journal: RecordWriter | None, settings: Settings, metrics: ServerMetrics
    ) -> None:
        """`journal` None keeps no record: for measuring what the log costs."""
        super().__init__(name, return_response_headers=True)
        self.version = settings.version
        self._predictor = predictor
        self._records = None if journal is None else _log_of(journal, settings, metrics)
        self._settings = settings
        self._metrics = metrics
        self._batcher: Batcher[tuple[dict[str, Any], datetime], Answer] = Batcher(
            self._compute, settings.max_batch_rows, metrics.batch.observe
        )
        metrics.watch(lambda: self._batcher.waiting_rows)
        self._outputs = outputs(predictor)
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

    def _compute(self, asked: list[tuple[dict[str, Any], datetime]]) -> list[Answer]:
        return compute(self._predictor, [row for row, _ in asked], [at for _, at in asked])

    async def predict(
        self, payload: Any, headers: Mapping[str, str] | None = None, response_headers: dict[str, str] | None = None
    ) -> dict[str, Any] | InferResponse:
        """Answer one request; raises a kind of Unanswered (serving/refusals.py)."""
        began = time.perf_counter()
        asked = self._asked(payload, headers or {})
        answers = await self._answers(asked)
        seconds = time.perf_counter() - began
        reply = self._reply(payload, asked, answers)  # first, so that what cannot be said is not remembered as said
        logged = self._records is not None and self._records.record(asked, answers, seconds)
        self._metrics.answered(asked.protocol, asked.shadow, len(answers), seconds)
        if response_headers is not None:
            response_headers |= {"x-request-id": asked.request_id, "x-trimtab-version": self.version}
            if not logged:
                response_headers["x-trimtab-logged"] = "false"
        return reply

    def _asked(self, payload: Any, headers: Mapping[str, str]) -> Asked:
        """What is asked, checked; raises Malformed, TooMuch or Refused."""
        limits = self._predictor.contract, self._settings.max_rows, self._settings.virtual_time
        if not isinstance(payload, InferRequest):
            return check(instances(payload), None, "v1", headers, *limits)
        tensors.check_outputs(payload, tuple(one.name for one in self._outputs))
        protocol: Protocol = "grpc" if payload.from_grpc else "v2"
        return check(tensors.rows(payload), payload.id, protocol, headers, *limits)

    async def _answers(self, asked: Asked) -> list[Answer]:
        try:
            answers = await self._batcher.submit([(row, asked.time) for row in asked.rows])
        except Unanswered:
            raise
        except Exception as error:
            log.exception("version %s could not compute request %s", self.version, asked.request_id)
            raise failed(self.version, error) from error
        check_finite(answers, self.version)
        return answers

    def _reply(self, payload: Any, asked: Asked, answers: list[Answer]) -> dict[str, Any] | InferResponse:
        kind = self._predictor.manifest.label_type
        labels = [typed(answer.label, kind) for answer in answers]
        if not isinstance(payload, InferRequest):
            return {"predictions": labels, "ids": list(asked.ids), "version": self.version}
        datatype = self._outputs[0].datatype
        dtype = object if datatype == "BYTES" else None
        found = [_tensor("prediction", datatype, np.array(labels, dtype=dtype), payload)]
        if answers[0].scores is not None:
            scores = np.array([answer.scores for answer in answers], dtype=np.float64)
            found.append(_tensor("scores", "FP64", scores, payload))
        if payload.request_outputs:  # kserve forgets them in gRPC
            by_name = {output.name: output for output in found}
            found = [by_name[name] for name in dict.fromkeys(one.name for one in payload.request_outputs)]
        return InferResponse(
            response_id=asked.request_id,
            model_name=self.name,
            model_version=self.version,
            infer_outputs=found,
            from_grpc=payload.from_grpc,
            use_binary_outputs=bool(payload.use_binary_outputs),
            requested_outputs=payload.request_outputs,
        )

    def get_input_types(self) -> list[dict[str, Any]]:
        """The columns as V2 metadata tells them."""
        return [one.to_json() for one in inputs(self._predictor)]

    def get_output_types(self) -> list[dict[str, Any]]:
        """The outputs as V2 metadata tells them."""
        return [one.to_json() for one in self._outputs]


def _log_of(journal: RecordWriter, settings: Settings, metrics: ServerMetrics) -> PredictionLog:
    return PredictionLog(
        journal, settings.version, settings.log_scores, settings.when_full, unlogged=metrics.unlogged.inc
    )


def _tensor(name: str, kind: str, values: np.ndarray, payload: InferRequest) -> InferOutput:
    output = InferOutput(name=name, shape=list(values.shape), datatype=kind)
    output.set_data_from_numpy(values, binary_data=payload.use_binary_outputs)
    return output
