"""Triton: its own server and Python backend, out of NVIDIA's wheel."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from runtime_process import V2, Reply, Row, read_v2
from runtime_suite import GOOD, RuntimeSuite

from trimtab.testing import bundles
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

    @pytest.mark.parametrize("estimator", ["GradientBoostingClassifier", "MLPClassifier", "RandomForestClassifier"])
    def test_what_numpy_2_pickled_is_read(self, tmp_path: Path, estimator: str) -> None:
        made = bundles.make(tmp_path / "b", bundles.document(training={"estimator": estimator}))
        code = (
            "import sys, pathlib; from trimtab.serving.triton import numpy2_pickles; numpy2_pickles.accept()\n"
            "from trimtab.stages import bundle; from datetime import datetime, UTC\n"
            "read = bundle.load(pathlib.Path(sys.argv[1]), sys.argv[2])\n"
            f"print(*read.predict_rows([{GOOD}], [datetime.now(UTC)]).labels)"
        )
        command = [self.runtime.python, "-c", code, made.folder, made.digest]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        assert said.stdout.split() == list(made.load().predict_rows([GOOD], [datetime.now(UTC)]).labels), said.stderr
