"""What every serving runtime must do with a bundle, asked of its real process. The tests of a class share one."""

from __future__ import annotations

import pickle
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runtime_process import READY_SECONDS, Row, Running, Runtime, started

from trimtab.testing.bundles import MadeBundle

COLUMNS = ("weight", "hindfoot", "sex", "plot")
GOOD: Row = {"weight": 44.0, "hindfoot": 27.5, "sex": "M", "plot": 3}


class Trap:
    """Unpickled, it leaves a file behind."""

    def __init__(self, left: Path) -> None:
        self._left = left

    def __reduce__(self) -> Any:
        return Path.touch, (self._left,)


@pytest.mark.local
@pytest.mark.slow
class RuntimeSuite:
    """Give `runtime`. The order matters: the last test ends the process and reads what it left."""

    runtime: Runtime
    refused = range(400, 500)
    score_tolerance = 0.0

    def test_a_wrong_digest_is_not_served_and_nothing_is_unpickled(self, made: MadeBundle, tmp_path: Path) -> None:
        left = tmp_path / "unpickled"
        for path in made.folder.iterdir():
            (tmp_path / "b").mkdir(exist_ok=True)
            (tmp_path / "b" / path.name).write_bytes(path.read_bytes())
        (tmp_path / "b" / "model.joblib").write_bytes(pickle.dumps(Trap(left)))
        with started(self.runtime, tmp_path / "b", made.digest, tmp_path / "home") as running:
            assert running.process.wait(READY_SECONDS) != 0
            assert "model.joblib was changed or cut short" in running.said()
        assert not left.exists()

    def test_one_row_is_answered_as_the_bundle_answers(self, server: Running, made: MadeBundle) -> None:
        reply = server.predict([GOOD], "one")
        wanted = made.load().predict_rows([GOOD], [datetime.now(UTC)])
        assert wanted.scores is not None
        assert (reply.status, reply.predictions) == (200, (wanted.labels[0],)), reply.error
        assert reply.scores == self._about(wanted.scores)
        assert (reply.ids, reply.version) == (("one",), "7")

    def test_many_rows_are_answered_in_their_order(self, server: Running, made: MadeBundle) -> None:
        rows: list[Row] = made.holdout[list(COLUMNS)].head(50).to_dict("records")  # type: ignore[assignment]
        reply = server.predict(rows, "many")
        wanted = made.load().predict_rows(rows, [datetime.now(UTC)] * len(rows))
        assert wanted.scores is not None
        assert reply.predictions == tuple(wanted.labels), reply.error
        assert len(set(reply.predictions)) == 3
        assert reply.scores == self._about(wanted.scores)
        assert reply.ids == tuple(f"many-{number}" for number in range(50))

    def test_missing_values_are_missing_for_the_bundle_too(self, server: Running, made: MadeBundle) -> None:
        rows = [GOOD, {**GOOD, "weight": None}, {**GOOD, "sex": None, "plot": None}]
        reply = server.predict(rows, "missing")
        wanted = made.load().predict_rows(rows, [datetime.now(UTC)] * 3)
        assert reply.predictions == tuple(wanted.labels), reply.error

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"weight": 900.0}, r"field 'weight' is 900\.0; the contract says 1 to 200 g"),
            ({"sex": "m"}, r"field 'sex' is 'm'; the contract allows only F, M"),
        ],
        ids=["range", "domain"],
    )
    def test_a_row_that_breaks_the_contract_is_refused_by_name(
        self, server: Running, change: Row, sentence: str
    ) -> None:
        for rows in ([{**GOOD, **change}], [GOOD, {**GOOD, **change}]):
            reply = server.predict(rows, "broken")
            assert reply.status in self.refused
            assert re.search(sentence, reply.error)
        assert "row 1: " in reply.error
        assert server.predict([GOOD], f"after-{len(server.acknowledged)}").status == 200

    def test_a_column_left_out_is_named(self, server: Running) -> None:
        reply = server.predict([{name: GOOD[name] for name in COLUMNS if name != "hindfoot"}], "less")
        assert reply.status in self.refused
        assert "hindfoot" in reply.error

    def test_sigterm_ends_it_and_the_log_holds_exactly_what_was_answered(self, server: Running) -> None:
        assert len(server.acknowledged) > 50
        server.terminate()
        found = server.log()
        assert {record["id"]: record["prediction"] for record in found} == server.acknowledged
        assert len(found) == len(server.acknowledged)
        assert {record["version"] for record in found} == {"7"}
        assert all(record["latency_ms"] > 0 for record in found)
        assert all(set(record["features"]) for record in found)

    def _about(self, scores: np.ndarray) -> Any:
        return tuple(pytest.approx(tuple(row), rel=self.score_tolerance, abs=0) for row in scores)
