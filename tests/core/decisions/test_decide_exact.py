"""State comes back from JSON exactly as it was, or not at all."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from decision_cases import SERVING, shadowing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimtab.decisions.exact import encode
from trimtab.decisions.observed import Observed, RunSeen
from trimtab.decisions.state import Cause, LoopState

times = st.datetimes(timezones=st.just(UTC))
finite = st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
objects = st.dictionaries(st.text(max_size=5), plain, max_size=3)
st.register_type_strategy(datetime, times)
st.register_type_strategy(Cause, st.builds(Cause, evidence=objects))
st.register_type_strategy(RunSeen, st.builds(RunSeen, output=objects))
st.register_type_strategy(float, finite)


@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
@given(st.from_type(LoopState))
def test_states(state):
    assert LoopState.from_json(json.loads(json.dumps(state.to_json(), allow_nan=False))) == state


@settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
@given(st.from_type(Observed))
def test_observed(observed):
    assert Observed.from_json(json.loads(json.dumps(observed.to_json(), allow_nan=False))) == observed


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("format",), 2, "format 2"),
        (("champion",), 1, r"LoopState.champion: expected str, found '1'"),
        (("colour",), "red", r"unknown \['colour'\]"),
        (("trainings",), True, "expected a whole number"),
        (("trainings",), 1.5, "expected a whole number"),
        (("champion_since",), "2026-01-01T00:00:00", "a time with its offset"),
        (("champion_since",), "yesterday", "LoopState.champion_since: expected an ISO 8601 time"),
        (("retrainings",), "now", "expected a list"),
        (("release", "phase"), "sideways", "LoopState.release.phase: expected one of"),
        (("release", "counted"), [], "expected a mapping"),
        (("release", "candidate"), None, "LoopState.release.candidate: expected str"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_path(path, value, words):
    data = LoopState(**{**SERVING.__dict__, "release": shadowing()}).to_json()
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(ValueError, match=words):
        LoopState.from_json(data)


def test_a_missing_value_without_a_default_is_refused():
    data = LoopState(**{**SERVING.__dict__, "release": shadowing()}).to_json()
    del data["release"]["candidate"]
    with pytest.raises(ValueError, match=r"missing \['candidate'\]"):
        LoopState.from_json(data)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: 2}, {1, 2}, b"x"])
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises(ValueError, match=r"JSON|not a string"):
        encode({"a": value})
