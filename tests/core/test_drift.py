"""Drift: the false-alarm budget holds on windows without a change, real shifts are found, odd columns are no error."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.decisions.drift import Sample, judge
from trimtab.decisions.drift_statistics import Null, bin_categories, bin_numbers, counts, jensen_shannon, psi
from trimtab.spec.monitoring import Drift

DAY = 86400.0
ANY_SIZE = Drift(false_alarm_rate=0.05, least_rows=50, least_psi=0.0)


def texts(*values: object) -> np.ndarray:
    return np.array([*values, None], dtype=object)[:-1]


def mixed(random: np.random.Generator, rows: int, *, shift: float = 0.0, time: np.ndarray | None = None) -> Sample:
    """A normal, a skewed with missing values, an integer, a category with a rare value; `shift` moves the first."""
    skewed = random.lognormal(0, 1, rows)
    skewed[random.random(rows) < 0.1] = np.nan
    return Sample(
        {
            "normal": random.normal(shift, 1, rows),
            "skewed": skewed,
            "integer": random.integers(0, 4, rows).astype(float),
            "category": random.choice(texts("a", "b", "c", "rare"), rows, p=[0.5, 0.3, 0.19, 0.01]),
        },
        rows,
        time,
    )


@pytest.mark.parametrize("rows", [60, 300, 4000])
def test_windows_without_a_change_keep_the_false_alarm_budget(rows: int) -> None:
    random = np.random.default_rng(20)
    tries = 300
    alarms = sum(judge(mixed(random, 800), mixed(random, rows), ANY_SIZE).verdict == "drifted" for _ in range(tries))
    assert alarms / tries <= 0.05 + 3 * (0.05 * 0.95 / tries) ** 0.5
    assert alarms > 0  # the budget is not kept by never alarming


def test_the_smallest_effect_that_counts_leaves_no_false_alarm_at_the_defaults() -> None:
    random = np.random.default_rng(21)
    reference = mixed(random, 3000)
    assert not any(judge(reference, mixed(random, 1000), Drift()).causes for _ in range(100))


@pytest.mark.parametrize(("rows", "shift"), [(200, 0.6), (1000, 0.45)])
def test_a_real_shift_is_found_and_named(rows: int, shift: float) -> None:
    random = np.random.default_rng(22)
    reference = mixed(random, 3000)
    verdict = judge(reference, mixed(random, rows, shift=shift), Drift())
    assert verdict.verdict == "drifted"
    assert verdict.causes == ("normal",)
    assert verdict.drift_share == 0.25
    assert "normal: PSI" in verdict.reasons[0]


def test_a_tiny_shift_is_no_drift_however_many_rows() -> None:
    random = np.random.default_rng(23)
    verdict = judge(mixed(random, 5000), mixed(random, 200_000, shift=0.1), Drift())
    normal = verdict.columns[0]
    assert normal.p < 1e-6
    assert normal.psi < 0.1
    assert verdict.verdict == "stable"


def seasonal(random: np.random.Generator, first_day: float, days: float, *, shift: float = 0.0) -> Sample:
    """A temperature that follows the year, and effort that differs from day to day."""
    time = np.sort(random.uniform(first_day, first_day + days, int(days * 6))) * DAY
    warmth = 10 * np.sin(2 * np.pi * time / (365 * DAY)) + random.normal(shift, 3, time.size)
    return Sample({"warmth": warmth}, time.size, time)


def test_seasons_are_no_drift_when_null_windows_are_stretches_in_time() -> None:
    random = np.random.default_rng(24)
    reference = seasonal(random, 0, 5 * 365)
    quarters = [seasonal(random, 5 * 365 + 91 * n, 91) for n in range(12)]
    in_time = [judge(reference, one, Drift(), window_seconds=91 * DAY) for one in quarters]
    at_random = [judge(reference, one, Drift()) for one in quarters]
    assert {one.null for one in in_time} == {"blocks"}
    assert sum(one.verdict == "drifted" for one in in_time) == 0
    assert sum(one.verdict == "drifted" for one in at_random) >= 10
    warmer = seasonal(random, 5 * 365, 91, shift=25)
    assert judge(reference, warmer, Drift(), window_seconds=91 * DAY).verdict == "drifted"


def test_stretches_in_time_keep_the_budget_on_windows_that_wander() -> None:
    """Each week has its own mean, so that weeks differ by more than chance between rows; the null must learn that."""
    random = np.random.default_rng(25)
    policy = Drift(false_alarm_rate=0.05, least_rows=50, least_psi=0.0)

    def weeks(number: int) -> Sample:
        means = np.repeat(random.normal(0, 0.5, number), 100)
        time = (np.arange(number * 100) + 0.5) / 100 * 7 * DAY
        return Sample({"x": random.normal(means, 1)}, number * 100, time)

    tries = 100
    alarms = sum(judge(weeks(30), weeks(1), policy, window_seconds=7 * DAY).verdict == "drifted" for _ in range(tries))
    assert alarms / tries <= 0.05 + 3 * (0.05 * 0.95 / tries) ** 0.5


def test_too_few_windows_in_the_reference_fall_back_to_rows() -> None:
    random = np.random.default_rng(26)
    verdict = judge(seasonal(random, 0, 100), seasonal(random, 100, 60), Drift(), window_seconds=60 * DAY)
    assert (verdict.null, verdict.null_windows) == ("rows", 0.0)


def test_a_drifted_column_that_the_model_does_not_use_is_reported_and_no_cause() -> None:
    random = np.random.default_rng(27)
    reference, window = mixed(random, 3000), mixed(random, 500, shift=2)
    unused = judge(reference, window, Drift(), importance={"normal": 0.0001, "skewed": 0.3, "integer": 0.1})
    assert unused.columns[0].drifted
    assert not unused.columns[0].used
    assert (unused.verdict, unused.causes, unused.drift_share) == ("stable", (), 0.0)
    assert "the model does not use it" in unused.reasons[0]
    used = judge(reference, window, Drift(), importance={"normal": 0.2, "skewed": 0.3, "integer": -0.01})
    assert (used.verdict, used.causes, used.drift_share) == ("drifted", ("normal",), 0.5)


def test_too_few_rows_are_insufficient_evidence_even_for_a_huge_shift() -> None:
    random = np.random.default_rng(28)
    verdict = judge(mixed(random, 3000), mixed(random, 199, shift=9), Drift(least_rows=200))
    assert verdict.verdict == "insufficient evidence"
    assert verdict.causes == ()
    assert verdict.reasons == ("the window has 199 rows; drift is judged from 200",)
    assert verdict.columns[0].psi > 1


def test_zero_rows_on_either_side() -> None:
    some, none = mixed(np.random.default_rng(29), 300), mixed(np.random.default_rng(29), 0)
    for reference, window in ((some, none), (none, some), (none, none)):
        verdict = judge(reference, window, Drift())
        assert verdict.verdict == "insufficient evidence"
        assert all(np.isfinite([one.psi, one.js, one.threshold, one.p]).all() for one in verdict.columns)


def test_missing_constant_and_never_seen_values() -> None:
    random = np.random.default_rng(30)
    n = 400
    reference = Sample(
        {
            "half_missing": np.where(random.random(n) < 0.5, np.nan, 1.0),
            "constant": np.full(n, 3.0),
            "all_missing": np.full(n, np.nan),
            "word": np.full(n, "same", dtype=object),
            "no_word": np.full(n, None, dtype=object),
        },
        n,
    )
    assert judge(reference, reference, Drift()).verdict == "stable"
    changed = {
        "half_missing": np.full(n, np.nan),
        "constant": np.full(n, 3.0000001),
        "all_missing": np.full(n, -np.inf),
        "word": np.where(random.random(n) < 0.3, "other", "same").astype(object),
        "no_word": np.full(n, "now", dtype=object),
    }
    verdict = judge(reference, Sample(changed, n), Drift())
    by_name = {one.feature: one for one in verdict.columns}
    assert all(one.drifted for one in verdict.columns)
    assert by_name["half_missing"].missing_share == 1.0
    assert by_name["half_missing"].reference_missing_share == pytest.approx(0.5, abs=0.1)
    assert by_name["word"].never_seen == ("other",)
    assert by_name["word"].never_seen_share == pytest.approx(0.3, abs=0.1)


def test_a_column_that_serving_lacks_counts_as_missing() -> None:
    random = np.random.default_rng(31)
    window = mixed(random, 500)
    del window.columns["category"]  # type: ignore[attr-defined]
    verdict = judge(mixed(random, 3000), window, Drift())
    assert verdict.causes == ("category",)
    assert verdict.columns[3].missing_share == 1.0


def test_a_category_column_with_thousands_of_values() -> None:
    random = np.random.default_rng(32)
    ids = Sample({"id": np.array([f"id{n}" for n in range(3000)], dtype=object)}, 3000)
    fresh = Sample({"id": np.array([f"new{n}" for n in range(300)], dtype=object)}, 300)
    column = judge(ids, fresh, Drift()).columns[0]
    assert column.drifted
    assert column.never_seen_share == 1.0
    assert len(column.never_seen) == 20
    again = Sample({"id": random.choice(ids.columns["id"], 300)}, 300)
    assert not judge(ids, again, Drift()).columns[0].drifted


floats = st.floats(allow_nan=True, allow_infinity=True, width=32)


@settings(max_examples=60, deadline=None)
@given(st.lists(floats, max_size=80), st.lists(floats, max_size=80), st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter_and_nothing_is_nan(old: list[float], new: list[float], random: object) -> None:
    first, second = np.array(old, dtype=float), np.array(new, dtype=float)
    policy = Drift(least_rows=10)
    verdict = judge(Sample({"x": first}, len(old)), Sample({"x": second}, len(new)), policy)
    random.shuffle(old)  # type: ignore[attr-defined]
    random.shuffle(new)  # type: ignore[attr-defined]
    shuffled = Sample({"x": np.array(old, dtype=float)}, len(old)), Sample({"x": np.array(new, dtype=float)}, len(new))
    assert asdict(judge(*shuffled, policy)) == asdict(verdict)
    column = verdict.columns[0]
    assert np.isfinite([column.psi, column.js, column.threshold, column.p]).all()
    assert column.psi >= 0
    assert 0 <= column.js <= 1 + 1e-9


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["a", "b", "c", None]), max_size=60),
    st.lists(st.sampled_from(["a", "b", "new", None]), max_size=60),
)
def test_every_row_is_in_exactly_one_bin(old: list[str | None], new: list[str | None]) -> None:
    binned = bin_categories(texts(*old), texts(*new))
    assert counts(binned.reference, binned.bins).sum() == len(old)
    assert counts(binned.window, binned.bins).sum() == len(new)
    assert counts(binned.window, binned.bins)[-1] == new.count(None)
    never = [value for value in new if value is not None and value not in old]
    assert counts(binned.window, binned.bins)[binned.never_seen] == len(never)


def test_deciles_and_the_bins_outside_the_reference() -> None:
    binned = bin_numbers(np.arange(100.0), np.array([-1.0, 0.0, 9.0, 10.0, 99.0, 99.5, np.nan]))
    assert binned.bins == 13
    assert binned.window.tolist() == [0, 1, 1, 2, 10, 11, 12]
    assert counts(binned.reference, binned.bins).tolist() == [0, *[10] * 10, 0, 0]


def test_distances_by_hand() -> None:
    same = np.array([5.0, 5.0])
    assert psi(same, same) == pytest.approx(0, abs=1e-12)
    assert psi(same * 1e9, np.array([2.5e9, 7.5e9])) == pytest.approx(0.25 * np.log(3), rel=1e-6)
    assert jensen_shannon(np.array([4.0, 0.0]), np.array([0.0, 9.0])) == pytest.approx(1)
    assert jensen_shannon(same, same * 3) == pytest.approx(0, abs=1e-9)


def test_a_null_reads_its_threshold_and_its_p_alike() -> None:
    null = Null.fit(np.random.default_rng(33).chisquare(9, 500), 500)
    for rate in (0.1, 0.01, 0.001):
        assert null.p(null.threshold(rate)) == pytest.approx(rate)
    assert null.threshold(0.01) == pytest.approx(21.67, rel=0.05)  # chi-squared, 9 degrees of freedom, 99 %
    few = Null(null.statistics, null.mean, null.deviation, 4)
    assert few.threshold(0.01) > 2 * null.threshold(0.01)
