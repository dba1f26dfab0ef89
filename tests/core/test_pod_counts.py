"""Counts over pods that come, go and start anew: never less than before, never twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trimtab.adapters.router.pod_counts import PodCounts

BORN = {"epoch": "e0", "pods": [], "carried": {}}


def test_pods_that_go_take_nothing_with_them() -> None:
    counts = PodCounts()
    assert counts.see({"a": {"1 requests": 5}}, BORN, "e1") == {"1 requests": 5}
    assert counts.see({"a": {"1 requests": 7}, "b": {"1 requests": 1}}, BORN, "e1") == {"1 requests": 8}
    assert counts.see({"b": {"1 requests": 4}}, BORN, "e1") == {"1 requests": 11}
    assert counts.epoch == "e0"


def test_a_counter_that_falls_was_born_again() -> None:
    counts = PodCounts()
    counts.see({"a": {"x": 9}}, BORN, "e1")
    assert counts.see({"a": {"x": 2}}, BORN, "e1") == {"x": 11}
    assert counts.see({"a": {}}, BORN, "e1") == {"x": 11}


def test_the_next_operator_goes_on_where_the_last_one_was_if_no_pod_is_missing() -> None:
    first = PodCounts()
    first.see({"a": {"x": 9}}, BORN, "e1")
    first.see({"b": {"x": 2}}, BORN, "e1")
    second = PodCounts()
    assert second.see({"b": {"x": 3}, "c": {"x": 1}}, first.note(), "e2") == {"x": 13}
    assert second.epoch == "e0"


def test_with_a_pod_missing_counting_begins_anew_from_now() -> None:
    first = PodCounts()
    first.see({"a": {"x": 9}, "b": {"x": 5}}, BORN, "e1")
    second = PodCounts()
    assert second.see({"b": {"x": 7}}, first.note(), "e2") == {"x": 0}
    assert second.epoch == "e2"
    assert second.see({"b": {"x": 8}}, first.note(), "e3") == {"x": 1}


_LIVES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(("count", "die", "restart", "operator"))), max_size=40
)


@given(_LIVES)
def test_within_an_epoch_the_sum_never_falls_and_is_never_more_than_what_happened(lives: list[tuple[str, str]]) -> None:
    pods: dict[str, dict[str, int]] = {}
    names: dict[str, str] = {}
    counts, note, happened = PodCounts(), dict(BORN), 0
    last, epoch = 0, "e0"
    for number, (pod, event) in enumerate(lives):
        if event == "count":
            key = names.setdefault(pod, f"{pod}{number}")
            pods.setdefault(key, {"x": 0})["x"] += 1
            happened += 1
        elif event == "die" and pod in names:
            pods.pop(names.pop(pod))
        elif event == "restart" and pod in names:
            pods[names[pod]] = {"x": 0}  # the same id: the container's new one was not told yet
        elif event == "operator":
            counts = PodCounts()
        found = counts.see(pods, note, f"e{number + 1}").get("x", 0)
        note = counts.note()
        assert 0 <= found <= happened
        if counts.epoch == epoch:
            assert found >= last
        last, epoch = found, counts.epoch
