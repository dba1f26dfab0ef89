"""The class that Seldon's Python wrapper serves: REST predictions, put to the shared answering.

A request is {"data": {"names": [...], "ndarray": [[...], ...]}} or {"jsonData": {"instances": [{...}, ...]}}; `puid` in
its `meta` names it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from flask import after_this_request, request
from seldon_core.flask_utils import SeldonMicroserviceException

from trimtab.serving.answering import Answered, Answering, Row
from trimtab.serving.asked import instances
from trimtab.serving.refusals import Malformed, Unanswered
from trimtab.serving.served import Served

Json = dict[str, Any]
_REASON = "TRIMTAB_REFUSED"


class BundleModel:
    """Serves the version that the environment names (trimtab.serving.served)."""

    def __init__(self) -> None:
        self._answering: Answering | None = None

    def load(self) -> None:
        """Check the bundle, load it and open its log, in the worker itself; raises TrimtabError, which ends Seldon."""
        self._answering = Answering.open(Served.from_environment(os.environ))

    def close(self) -> None:
        """Seal the log."""
        if self._answering is not None:
            self._answering.close()

    def health_status_raw(self) -> Json:
        """What the readiness probe gets."""
        return {"jsonData": {"ready": self._answering is not None}}

    def predict_raw(self, message: Any) -> Json:
        """Answer one request; a refusal is Seldon's own error with our status."""
        if self._answering is None:
            raise SeldonMicroserviceException("the model is not loaded yet", 503, reason=_REASON)
        try:
            if not isinstance(message, Mapping):
                raise Malformed('expected a JSON object with "data" or "jsonData"')
            headers = {name.lower(): value for name, value in request.headers.items()}
            answered = self._answering.answer(_rows(message), _puid(message), "seldon", headers)
        except Unanswered as error:
            raise SeldonMicroserviceException(str(error), error.status, reason=_REASON) from error

        @after_this_request
        def tell(response: Any) -> Any:
            response.headers.update(answered.headers)
            return response

        return self._reply(message, answered)

    def _reply(self, message: Mapping[str, Any], answered: Answered) -> Json:
        """In the form of the request; of `data`, each row is the prediction and the scores of the classes."""
        tags = {"version": answered.version, "ids": list(answered.asked.ids)}
        meta = {"puid": answered.asked.request_id, "tags": tags}
        if "jsonData" in message:
            return {"jsonData": answered.to_v1(), "meta": meta}
        names = ["prediction", *(self._answering.classes if self._answering and answered.scores else ())]
        scores = answered.scores or [[]] * len(answered.labels)
        rows = [[label, *row] for label, row in zip(answered.labels, scores, strict=True)]
        return {"data": {"names": names, "ndarray": rows}, "meta": meta}


def _rows(message: Mapping[str, Any]) -> list[Row]:
    if "jsonData" in message:
        return instances(message["jsonData"])
    data = message.get("data")
    names, rows = (data.get("names"), data.get("ndarray")) if isinstance(data, Mapping) else (None, None)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or not isinstance(rows, list):
        raise Malformed('expected {"data": {"names": [column, ...], "ndarray": [[value, ...], ...]}}, or jsonData')
    if len(set(names)) != len(names):
        raise Malformed("data.names: a column is there twice")
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            raise Malformed(f"data.ndarray[{number}]: expected a list of {len(names)} values, one for each of names")
    return instances({"instances": [dict(zip(names, row, strict=True)) for row in rows]})


def _puid(message: Mapping[str, Any]) -> str | None:
    meta = message.get("meta")
    puid = meta.get("puid") if isinstance(meta, Mapping) else None
    if not isinstance(puid, str | None):
        raise Malformed("meta.puid: expected text")
    return puid
