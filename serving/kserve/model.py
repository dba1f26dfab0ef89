"""The KServe model: one `predict` for V1, V2 and gRPC. An answer leaves only after its record is safe."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import orjson
from kserve import InferOutput, InferRequest, InferResponse, Model
from kserve.errors import InvalidInput

from trimtab.errors import StorageFull
from trimtab.ports.records import RecordWriter
from trimtab.serving.asked import Asked, read
from trimtab.serving.batching import Batcher
from trimtab.serving.kserve.metrics import ServerMetrics
from trimtab.stages.bundle import Predictor

_OUTPUTS = {"string": "BYTES", "integer": "INT64", "boolean": "BOOL", "number": "FP64"}


class LogUnavailable(Exception):
    """The prediction log cannot be written and `when_full` is refuse: the answer must not leave."""


@dataclass(frozen=True)
class Settings:
    """What the server was started with."""

    version: str
    max_rows: int
    max_batch_rows: int
    log_scores: bool
    when_full: str
    virtual_time: bool


@dataclass(frozen=True)
class _Answer:
    label: Any
    scores: list[float] | None


class BundleModel(Model):  # type: ignore[misc] - kserve has no types
    """Serves one verified bundle."""

    def __init__(
        self, name: str, predictor: Predictor, journal: RecordWriter, settings: Settings, metrics: ServerMetrics
    ) -> None:
        super().__init__(name, return_response_headers=True)
        self._predictor = predictor
        self._journal = journal
        self._settings = settings
        self._metrics = metrics
        self._batcher: Batcher[tuple[dict[str, Any], datetime], _Answer] = Batcher(
            self._compute, settings.max_batch_rows, metrics.batch.observe
        )
        self.ready = True

    def _compute(self, asked: list[tuple[dict[str, Any], datetime]]) -> list[_Answer]:
        found = self._predictor.predict_rows([row for row, _ in asked], [at for _, at in asked])
        scores = found.scores.tolist() if found.scores is not None else [None] * len(asked)
        return [_Answer(label, score) for label, score in zip(found.labels.tolist(), scores, strict=True)]

    async def predict(
        self, payload: Any, headers: Mapping[str, str] | None = None, response_headers: dict[str, str] | None = None
    ) -> dict[str, Any] | InferResponse:
        """Answer one request; raises InvalidInput (400), Refused (422) or LogUnavailable (503)."""
        began = time.perf_counter()
        settings = self._settings
        try:
            asked = read(payload, headers or {}, self._predictor.contract, settings.max_rows, settings.virtual_time)
        except InvalidInput:
            self._metrics.refused.inc()
            raise
        try:
            answers = await self._batcher.submit([(row, asked.time) for row in asked.rows])
        except Exception:
            self._metrics.failed.inc()
            raise
        seconds = time.perf_counter() - began
        logged = self._log(asked, answers, seconds)
        self._metrics.answered(asked.protocol, asked.shadow, len(answers), seconds)
        if response_headers is not None:
            response_headers |= {"x-request-id": asked.request_id, "x-trimtab-version": settings.version}
            if not logged:
                response_headers["x-trimtab-logged"] = "false"
        return self._reply(payload, asked, answers)

    def _log(self, asked: Asked, answers: list[_Answer], seconds: float) -> bool:
        settings = self._settings
        stamp = asked.time.isoformat()
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
            self._metrics.unlogged.inc(len(records))
            if settings.when_full == "refuse":
                raise LogUnavailable(str(error)) from error
            return False
        return True

    def _reply(self, payload: Any, asked: Asked, answers: list[_Answer]) -> dict[str, Any] | InferResponse:
        labels = [_typed(answer.label, self._predictor.manifest.label_type) for answer in answers]
        if not isinstance(payload, InferRequest):
            return {"predictions": labels, "ids": list(asked.ids), "version": self._settings.version}
        kind = _OUTPUTS[self._predictor.manifest.label_type]
        outputs = [_tensor("prediction", kind, np.array(labels, dtype=object if kind == "BYTES" else None), payload)]
        if answers[0].scores is not None:
            scores = np.array([answer.scores for answer in answers], dtype=np.float64)
            outputs.append(_tensor("scores", "FP64", scores, payload))
        return InferResponse(
            response_id=asked.request_id,
            model_name=self.name,
            model_version=self._settings.version,
            infer_outputs=outputs,
            from_grpc=payload.from_grpc,
            use_binary_outputs=payload.use_binary_outputs,
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
        outputs: list[dict[str, Any]] = [
            {"name": "prediction", "datatype": _OUTPUTS[self._predictor.manifest.label_type], "shape": [-1]}
        ]
        classes = self._predictor.manifest.classes
        return outputs + ([{"name": "scores", "datatype": "FP64", "shape": [-1, len(classes)]}] if classes else [])


def _tensor(name: str, kind: str, values: np.ndarray, payload: InferRequest) -> InferOutput:
    output = InferOutput(name=name, shape=list(values.shape), datatype=kind)
    output.set_data_from_numpy(values, binary_data=payload.use_binary_outputs)
    return output


def _typed(label: Any, kind: str) -> Any:
    """A class in the type that the training data had."""
    if kind == "integer" and isinstance(label, str):
        return int(label)
    if kind == "boolean" and isinstance(label, str):
        return label.lower() == "true"
    if kind == "number" and isinstance(label, str):
        return float(label)
    return label
