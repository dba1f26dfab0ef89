"""A version is judged with three verdicts: by gates, slices, the champion and knowing nothing."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trimtab.spec.document import LoopSpec
from trimtab.stages.analyse import Evaluation, analyse
from trimtab.testing import bundles


def spec(problem: str = "classification", **sections: Any) -> LoopSpec:
    return bundles.document(problem, **sections).spec


def judged(wanted: LoopSpec, right: int, wrong: int, site: list[str] | None = None, **more: Any) -> Evaluation:
    """`right` rows said rightly, then `wrong` ones wrongly; truth is a and b in turn, as half as it goes."""
    n = right + wrong
    truth = np.array((["a", "b"] * n)[:n], dtype=object)
    prediction = truth.copy()
    prediction[right:] = np.where(truth[right:] == "a", "b", "a")
    frame = pd.DataFrame({"site": site or ["s"] * n, "x": np.arange(n)})
    return analyse(wanted, frame, truth, prediction, **more)


def gate(**bounds: Any) -> LoopSpec:
    return spec(quality={"gates": [{"metric": "accuracy", **bounds}]})


def champion(right: int, wrong: int, **more: Any) -> SimpleNamespace:
    n = right + wrong
    truth = np.array((["a", "b"] * n)[:n], dtype=object)
    truth[right:] = np.where(truth[right:] == "a", "b", "a")
    return SimpleNamespace(**{"labels": truth, "scores": None, "classes": None, **more})


def test_a_gate_passes_fails_or_wants_more_rows() -> None:
    assert judged(gate(min=0.8), 160, 40).verdict == "pass"
    failed = judged(gate(min=0.81), 160, 40)
    assert failed.verdict == "fail"
    assert failed.reasons == ("accuracy 0.8 (0.7391 to 0.8495, n 200): wanted at least 0.81",)
    few = judged(gate(min=0.99), 20, 70)
    assert few.verdict == "insufficient evidence"
    assert "n 90): wanted at least 0.99, judged from 100 rows" in few.reasons[0]
    assert judged(gate(max=0.5), 160, 40).verdict == "fail"


def test_the_bounds_of_scope_are_gates_when_quality_names_none() -> None:
    wanted = spec(
        scope={
            "problem": "classification",
            "metrics": [{"name": "accuracy", "min": 0.9}, {"name": "error_rate", "kind": "software", "max": 0.01}],
        }
    )
    found = judged(wanted, 160, 40)
    assert found.verdict == "fail"
    assert [one.name for one in found.gates] == ["accuracy"]


def test_a_metric_that_is_not_defined_is_no_pass() -> None:
    wanted = spec("regression", scope={"problem": "regression", "metrics": [{"name": "r2", "min": 0.5}]})
    found = analyse(wanted, pd.DataFrame({"x": range(200)}), np.full(200, 3.0), np.arange(200.0))
    assert found.verdict == "insufficient evidence"
    assert found.to_json()["metrics"]["r2"] == {"value": None, "low": None, "high": None, "n": 200}
    broken = analyse(wanted, pd.DataFrame({"x": range(200)}), np.arange(200.0), np.full(200, np.nan))
    assert broken.verdict == "insufficient evidence"
    assert "a prediction is no finite number" in broken.reasons[-1]


def test_the_champion_on_the_same_rows_bounds_how_much_worse_is_allowed() -> None:
    wanted = gate(maxWorseThanChampion=0.02)
    assert judged(wanted, 160, 40, champion=champion(164, 36)).verdict == "pass"
    worse = judged(wanted, 160, 40, champion=champion(165, 35))
    assert worse.verdict == "fail"
    assert "champion 0.825 on the same rows, 0.02 worse allowed" in worse.reasons[0]
    assert worse.champion == {"accuracy": 0.825, "macro_f1": pytest.approx(0.825, abs=1e-3)}
    assert judged(wanted, 160, 40).verdict == "pass", "the first version has no champion to be compared with"


def test_losses_are_compared_the_other_way_round_and_with_the_champions_own_classes() -> None:
    metric = {"name": "log_loss"}
    wanted = spec(
        scope={"problem": "classification", "metrics": [metric]},
        quality={"gates": [{"metric": "log_loss", "maxWorseThanChampion": 0.1}]},
    )
    scores = np.tile([0.5, 0.5], (200, 1))
    same = {"scores": scores, "classes": ("a", "b")}
    sure = champion(200, 0, scores=np.tile([0.9, 0.9, 0.0], (200, 1)), classes=("a", "b", "old"))
    assert judged(wanted, 160, 40, **same, champion=sure).verdict == "fail"
    unsure = champion(200, 0, scores=np.tile([0.48, 0.48, 0.0], (200, 1)), classes=("a", "b", "old"))
    assert judged(wanted, 160, 40, **same, champion=unsure).verdict == "pass"
    mute = judged(wanted, 160, 40, **same, champion=champion(200, 0))
    assert mute.verdict == "insufficient evidence"
    assert "the champion's could not be measured" in mute.reasons[0]


def test_no_better_than_knowing_nothing_fails_and_too_few_rows_prove_nothing() -> None:
    always = np.full(200, "a", dtype=object)
    assert judged(spec(), 160, 40, baseline=always).verdict == "pass"
    failed = judged(spec(), 100, 100, baseline=always)
    assert failed.verdict == "fail"
    assert failed.reasons == ("accuracy 0.5, and 0.5 for always saying the same",)
    few = judged(spec(), 50, 10, baseline=always[:60])
    assert few.verdict == "insufficient evidence"
    assert "judged from 100 rows" in few.reasons[0]
    truth = np.arange(200.0)
    found = analyse(spec("regression"), pd.DataFrame({"x": truth}), truth, truth + 9, baseline=np.full(200, 99.5))
    assert found.verdict == "pass"


def test_knowing_nothing_is_beaten_in_the_metric_that_scope_names_first() -> None:
    """3.7 % yes: the version that finds half of them is right as often as one that always says no."""
    truth = np.array(["yes"] * 37 + ["no"] * 963, dtype=object)
    prediction = truth.copy()
    prediction[20:57] = np.where(truth[20:57] == "yes", "no", "yes")
    always = np.full(1000, "no", dtype=object)

    def found(*metrics: str, said: np.ndarray = prediction, **more: Any) -> Evaluation:
        scope = {"problem": "classification", "metrics": [{"name": name} for name in metrics]}
        return analyse(spec(scope=scope), pd.DataFrame({"x": range(1000)}), truth, said, baseline=always, **more)

    for metric in ("macro_f1", "balanced_accuracy"):
        assert found("error_rate", metric, "accuracy").verdict == "pass"
    assert found("macro_f1", said=always).reasons == ("macro_f1 0.4906, and 0.4906 for always saying the same",)
    assert found().reasons == ("accuracy 0.963, and 0.963 for always saying the same",)
    assert found("error_rate").verdict == "fail", "scope names no model metric: by accuracy"
    known = {"classes": ("no", "yes"), "shares": {"no": 0.963, "yes": 0.037}}
    told = found("log_loss", scores=np.where((truth == "yes")[:, None], (0.6, 0.4), (0.9, 0.1)), **known)
    assert told.gates[-1].sentence == "log_loss 0.1354, and 0.1583 for always giving the shares of the classes"
    assert (told.verdict, told.gates[-1].verdict) == ("pass", "pass")
    same = found("log_loss", scores=np.tile((0.963, 0.037), (1000, 1)), **known)
    assert same.verdict == "fail"
    assert found("log_loss").gates[-1].sentence.startswith("accuracy 0.963"), "no scores: by the right answers"
    calm = found("calibration_error", scores=np.tile((0.963, 0.037), (1000, 1)), **known)
    assert calm.gates[-1].verdict == "pass"
    assert "not compared with always saying the same" in calm.gates[-1].sentence


def test_a_regression_beats_the_mean_in_its_own_metric() -> None:
    truth = np.concatenate([np.zeros(190), np.full(10, 100.0)])
    said, always = np.full(200, 1.0), np.full(200, 5.0)
    for metrics, verdict in (([{"name": "mae"}], "pass"), ([{"name": "r2"}], "fail"), ([], "fail")):
        wanted = spec("regression", scope={"problem": "regression", "metrics": metrics})
        assert analyse(wanted, pd.DataFrame({"x": truth}), truth, said, baseline=always).verdict == verdict
    level = spec("regression", scope={"problem": "regression", "metrics": [{"name": "r2"}]})
    found = analyse(level, pd.DataFrame({"x": truth}), np.zeros(200), said, baseline=always)
    assert found.verdict == "insufficient evidence"
    assert "not defined for these rows" in found.gates[-1].sentence


def test_every_slice_has_its_own_evidence() -> None:
    site = ["good"] * 120 + ["small"] * 10 + ["bad"] * 60 + ["rare"] * 10
    wanted = spec(quality={"slices": [{"column": "site", "metric": "accuracy", "min": 0.7, "leastRows": 50}]})
    found = judged(wanted, 130, 70, site)
    assert {one.name: (one.verdict, one.n) for one in found.slices} == {
        "site=good": ("pass", 120),
        "site=bad": ("fail", 60),
        "site=small": ("insufficient evidence", 10),
        "site=rare": ("insufficient evidence", 10),
    }
    assert found.verdict == "fail"
    assert found.reasons[0].startswith("site=bad: accuracy 0 (0 to ")
    passed = judged(wanted, 195, 5, site)
    assert passed.verdict == "pass", "a slice too small to judge neither passes nor fails"
    assert passed.reasons[-1] == "not judged for want of evidence: site=rare (n 10), site=small (n 10)"


def test_a_promise_on_slices_of_which_none_can_be_judged_is_no_pass() -> None:
    site = [f"s{n // 10}" for n in range(200)]
    wanted = spec(quality={"slices": [{"column": "site", "min": 0.7}]})
    found = judged(wanted, 195, 5, site)
    assert found.verdict == "insufficient evidence"
    assert found.reasons[0].startswith("no slice of site could be judged: site=s0: accuracy 1 (")
    told = spec(quality={"slices": [{"column": "site"}]})  # nothing was promised
    assert judged(told, 195, 5, site).verdict == "pass"
    assert judged(told, 195, 5, site).reasons[-1].endswith("site=s12 (n 10) and 15 more")


def test_a_slice_fails_only_when_it_is_surely_worse_and_the_confidence_is_shared_between_slices() -> None:
    def one(sites: int) -> str:
        names = ["s0"] * 60 + [f"s{number}" for number in range(1, sites) for _ in range(60)]
        wanted = spec(quality={"slices": [{"column": "site", "min": 0.3, "leastRows": 50}]})
        n = len(names)
        truth = np.array((["a", "b"] * n)[:n], dtype=object)
        prediction = truth.copy()
        prediction[11:60] = "z"  # 11 of 60 right in s0: the interval of one slice ends at .299
        found = analyse(wanted, pd.DataFrame({"site": names}), truth, prediction)
        return next(check.verdict for check in found.slices if check.name == "site=s0")

    assert one(1) == "fail"
    assert one(20) == "pass"


def test_slices_by_scores_missing_values_numbers_and_unknown_columns() -> None:
    slices = [{"column": "site", "metric": "log_loss", "min": 0.9}, {"column": "nowhere"}, {"column": "x"}]
    wanted = spec(quality={"slices": slices})
    scores = np.tile([0.5, 0.5], (200, 1))
    site = ["s"] * 150 + [None] * 50
    found = judged(wanted, 160, 40, site, scores=scores, classes=("a", "b"))
    named = {one.name: one for one in found.slices}
    assert named["site=s"].value == pytest.approx(np.log(2))
    assert named["site=(missing)"].n == 50
    assert "no column 'nowhere'" in named["nowhere"].sentence
    assert len([name for name in named if name.startswith("x=")]) == 50
    mute = judged(wanted, 160, 40, site)
    assert {one.verdict for one in mute.slices} == {"insufficient evidence"}


def test_no_rows_are_insufficient_evidence() -> None:
    nothing = np.zeros(0, dtype=object)
    wanted = spec(quality={"slices": [{"column": "site"}], "gates": [{"metric": "accuracy", "min": 0.5}]})
    found = analyse(
        wanted, pd.DataFrame({"site": []}), nothing, nothing, np.zeros((0, 2)), ("a", "b"), baseline=nothing
    )
    assert (found.verdict, found.n) == ("insufficient evidence", 0)
    assert "over no rows" in " ".join(found.reasons)


def test_confusion_calibration_and_everything_else_is_plain_json() -> None:
    scores = np.tile([0.8, 0.2], (200, 1))
    found = judged(spec(), 160, 40, scores=scores, classes=("a", "b"), importance={"x": 0.25})
    text = json.dumps(found.to_json(), allow_nan=False)
    back = json.loads(text)
    assert back["confusion"] == {"labels": ["a", "b"], "counts": [[80, 20], [20, 80]]}
    assert back["calibration"] == [{"score": pytest.approx(0.8), "accuracy": 0.8, "n": 200}]
    assert back["importance"] == {"x": 0.25}
    number = analyse(spec("regression"), pd.DataFrame({"x": [1]}), np.array([1.0]), np.array([2.0])).to_json()
    assert number["metrics"]["mae"] == {"value": 1.0, "low": None, "high": None, "n": 1}
    assert number["confusion"] == {}
