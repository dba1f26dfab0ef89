"""What all runtimes share: the same answer and the same record, whatever asked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trimtab.errors import Refused as TrimtabRefused
from trimtab.errors import StorageFull, TrimtabError
from trimtab.serving.answering import Answering, PredictionLog
from trimtab.serving.refusals import Malformed, ModelFailed, Refused, TooMuch, Unavailable
from trimtab.serving.served import Served
from trimtab.testing import bundles

GOOD = {"weight": 44.0, "hindfoot": 27.5, "sex": "M", "plot": 3}


@pytest.fixture
def served(tmp_path: Path) -> Served:
    made = bundles.make(tmp_path / "b")
    return Served("rodents", "7", made.folder, made.digest, tmp_path / "log", max_rows=3)


@pytest.fixture
def answering(served: Served) -> Answering:
    return Answering.open(served)


def _records(served: Served) -> list[dict[str, Any]]:
    assert served.log_dir is not None
    text = b"".join(path.read_bytes().rstrip(b"\0") for path in (served.log_dir / "journal").glob("*"))
    return [json.loads(line) for line in text.splitlines()]


def test_an_answer_and_its_record_say_the_same(served: Served, answering: Answering) -> None:
    headers = {"x-request-id": "header", "x-envoy-attempt-count": "2", "x-trimtab-shadow": "true"}
    found = answering.answer([GOOD, {**GOOD, "weight": None}], "body", "v2", headers)
    assert found.to_v1() == {"predictions": found.labels, "ids": ["body-0", "body-1"], "version": "7"}
    assert found.headers == {"x-request-id": "body", "x-trimtab-version": "7"}
    told = found.to_v2("rodents")
    assert [(one["name"], one["shape"]) for one in told["outputs"]] == [("prediction", [2]), ("scores", [2, 3])]
    assert [one["name"] for one in found.to_v2("rodents", ("scores",))["outputs"]] == ["scores"]
    records = _records(served)
    assert [(one["id"], one["prediction"]) for one in records] == list(zip(found.asked.ids, found.labels, strict=True))
    assert all((one["version"], one["attempt"], one["shadow"]) == ("7", 2, True) for one in records)
    assert [one["scores"] for one in records] == found.scores


@pytest.mark.parametrize(
    ("rows", "kind"),
    [([{**GOOD, "sex": 7}], Refused), ([GOOD, {"weight": 1}], Refused), ([GOOD] * 4, TooMuch)],
    ids=["type", "left out", "many"],
)
def test_what_is_refused_leaves_no_record(
    served: Served, answering: Answering, rows: Sequence[Mapping[str, Any]], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        answering.answer([dict(row) for row in rows], "r", "v1", {})
    with pytest.raises(Malformed):
        answering.answer([GOOD], " r", "v1", {})
    assert _records(served) == []


def test_a_model_that_fails_is_not_remembered_as_an_answer(
    served: Served, answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(answering._predictor), "predict_rows", lambda *_: 1 / 0)
    with pytest.raises(ModelFailed, match="ZeroDivisionError"):
        answering.answer([GOOD], "r", "v1", {})
    assert _records(served) == []


class _Full:
    def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        raise StorageFull("no room")

    def close(self) -> None:
        return


@pytest.mark.parametrize("when_full", ["refuse", "serve"])
def test_without_room_it_refuses_or_says_that_nothing_was_logged(served: Served, when_full: str) -> None:
    records = PredictionLog(_Full(), "7", when_full=when_full)
    answering = Answering(served, bundles.make(served.bundle).load(), records)
    if when_full == "refuse":
        with pytest.raises(Unavailable, match="no room"):
            answering.answer([GOOD], "r", "v1", {})
    else:
        assert answering.answer([GOOD], "r", "v1", {}).headers["x-trimtab-logged"] == "false"


def test_numbers_are_answered_without_scores(tmp_path: Path) -> None:
    made = bundles.make(tmp_path / "b", bundles.document("regression"))
    answering = Answering.open(Served("m", "1", made.folder, made.digest, None))
    row = {"hindfoot": 27.5, "sex": "M", "plot": 3, "genus": "Dipodomys"}
    found = answering.answer([row], None, "v2", {})
    (output,) = found.to_v2("m")["outputs"]
    assert (output["datatype"], output["shape"], output["data"]) == ("FP64", [1], found.labels)
    assert found.headers["x-trimtab-logged"] == "false"


def test_what_is_served_goes_through_the_environment_unchanged(served: Served) -> None:
    told = replace(served, log_scores=False, when_full="serve", virtual_time=True)
    assert Served.from_environment(told.to_environment()) == told
    silent = replace(served, log_dir=None)
    assert Served.from_environment(silent.to_environment()) == silent
    with pytest.raises(TrimtabRefused, match="TRIMTAB_DIGEST is not set"):
        Served.from_environment({**told.to_environment(), "TRIMTAB_DIGEST": ""})


def test_a_wrong_digest_opens_nothing(served: Served) -> None:
    with pytest.raises(TrimtabError, match="registry vouches for"):
        Answering.open(replace(served, digest=f"sha256:{'a' * 64}"))
