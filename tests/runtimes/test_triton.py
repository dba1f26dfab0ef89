"""Triton: its own server and Python backend, out of NVIDIA's wheel."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from runtime_process import V2, Reply, Row, read_v2
from runtime_suite import RuntimeSuite

from trimtab.testing.envoy_world import ask


class Triton(V2):
    name = "triton"

    def predict(self, address: str, rows: Sequence[Row], request_id: str) -> Reply:
        """A missing number is NaN; other missing values are named, as no tensor can leave them out."""
        absent = {
            name: [at for at, row in enumerate(rows) if row[name] is None]
            for name, kind in (("sex", "BYTES"), ("plot", "INT64"))
            if name in rows[0]
        }
        filled = [{name: _filled(name, value) for name, value in row.items()} for row in rows]
        tensors = [{**self.tensor(name, filled), "shape": [len(rows), 1]} for name in rows[0]]
        body: dict[str, Any] = {"id": request_id, "inputs": tensors, "parameters": {"missing": json.dumps(absent)}}
        status, answer, _ = ask(address, "POST", "/v2/models/rodents/infer", json.dumps(body).encode())
        if status != 200:
            return Reply(status, error=answer["error"])
        return replace(read_v2(answer), ids=tuple(answer["outputs"][0]["data"]))


def _filled(name: str, value: Any) -> Any:
    if value is not None:
        return value
    return {"sex": "", "plot": 0}.get(name, math.nan)


class TestTriton(RuntimeSuite):
    runtime = Triton()
    score_tolerance = 1e-12  # its numpy is another one (serving/triton/README.md)
