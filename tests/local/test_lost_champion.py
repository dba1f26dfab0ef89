"""The only champion's bundle is damaged: the loop says so, trains another version past it, and serves that."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import csv, post, told, trimtab, until, up

pytestmark = [pytest.mark.local, pytest.mark.slow]

ROW = {"weight": 44.0, "hindfoot": 26.0, "sex": "F", "plot": 3, "version": "field book 3"}


def test_a_damaged_champion_is_said_and_replaced(tmp_path: Path) -> None:
    csv(tmp_path)
    trimtab(tmp_path, "init", "--label", "genus")
    trimtab(tmp_path, "run")
    (model,) = (tmp_path / ".trimtab/artifacts").rglob("model.joblib")
    model.write_bytes(model.read_bytes()[:-200])
    with up(tmp_path) as running:
        until(lambda: "cannot be served" in running.log.read_text(), 120)
        seen = told(tmp_path, "status")
        assert seen["unserved"].startswith("version 1 cannot be served")
        assert "model.joblib" in seen["servers"]["1"]["reason"]
        until(lambda: told(tmp_path, "status")["champion"] == "2", 120)
        assert running.address
        url = f"{running.address}/v1/models/rodents:predict"
        assert until(lambda: post(url, {"instances": [ROW]})[1].get("version")) == "2"
        assert told(tmp_path, "status")["unserved"] is None
    decided = told(tmp_path, "history")
    assert [one["kind"] for one in decided] == ["retrain", "promote", "unserved", "retrain", "promote"]
    assert "answered with 503 meanwhile" in decided[2]["sentence"]
    said = " ".join(one["sentence"] for one in decided)
    assert "Version 1 serves on" not in said
    assert "no comparison: the champion's bundle cannot be read" in str(
        decided[-1]["evidence"]["evaluation"]["reasons"]
    )
