"""How a release moves: each rule as a table of what was seen and what follows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from decision_cases import DAY, HOUR, T0, TEN_POINTS_WORSE, comparison, good, seen, shadowing, spec

from trimtab.decisions.judgement import judge_merit, slow_above_ms
from trimtab.decisions.observed import DeliverySeen, Latency, Paired, Sample, ServerSeen, Split
from trimtab.decisions.release import advance, begin
from trimtab.decisions.state import Count, Step

POLICY = spec().release


@pytest.mark.parametrize(
    ("observed", "action", "waits_for", "words"),
    [
        (seen(), "step", "", "gets 5 % of requests"),
        (seen(now=T0 + HOUR / 2), "hold", "time", "30m longer"),
        (seen(requests=150), "hold", "requests", "150 of 200 requests wanted"),
        (seen(comparison=None), "hold", "labels", "0 of 100 matured labels"),
        (seen(comparison=good(60)), "hold", "labels", "60 of 100"),
        (seen(servers={}), "hold", "server", "not ready yet"),
        (seen(servers={"2": ServerSeen("starting", 1)}), "hold", "server", "not ready yet"),
        (seen(clock_went_backwards=True), "hold", "clock", "clock went backwards"),
        (seen(now=T0 - HOUR), "hold", "clock", "clock went backwards"),
        (seen(comparison=comparison(Paired(100, 80, 12, 5))), "hold", "looks-worse", "next look at 200 labels"),
        (seen(requests=300, failures=5), "hold", "errors", "not surely"),
        (seen(requests=3, failures=1), "hold", "requests", "3 of 200"),
        (seen(requests=300, failures=30), "roll-back", "", "surely above the 1 % allowed"),
        (seen(requests=10, failures=10), "roll-back", "", "10 failed (100 %)"),
        (seen(comparison=comparison(TEN_POINTS_WORSE)), "roll-back", "", "surely worse than allowed"),
        (seen(servers={"2": ServerSeen("failed", 0, "no such digest")}), "roll-back", "", "no such digest"),
        (seen(servers={"2": ServerSeen("ready", 6, "signal 9")}), "roll-back", "", "died 6 times"),
        (seen(servers={"2": ServerSeen("ready", 1, "signal 9")}), "step", "", "gets 5 %"),
        (seen(latency={"2": Latency(1000, 5, 90, 40, 60.0)}), "roll-back", "", "surely above 60 ms"),
        (seen(latency={"2": Latency(1000, 5, 61, 12, 60.0)}), "hold", "latency", "not surely"),
        (seen(latency={"2": Latency(50, 5, 900, 50, 60.0)}), "step", "", "gets 5 %"),
        (seen(now=T0 + 31 * DAY, comparison=None), "hold", "labels", "held at shadow: undecided after 31d"),
    ],
)
def test_shadow_table(observed, action, waits_for, words):
    move = advance(POLICY, shadowing(), observed)
    assert (move.action, move.waits_for) == (action, waits_for)
    assert words in move.sentence


def test_steps_come_in_order_each_counted_anew_and_the_last_is_promotion():
    release, now, shares = shadowing(), T0, []
    for _ in range(10):
        now += 2 * HOUR
        count = release.counted["2"].requests + 500
        move = advance(POLICY, release, seen(now, requests=count, traffic={"2": Count(count, 0, "e")}))
        if move.action == "promote":
            break
        release = move.release
        shares.append((release.candidate_percent, release.mirror_percent, release.counted["2"].requests))
    assert shares == [(5, 0, 500), (25, 0, 1000), (50, 0, 1500)]
    assert [step.percent for step in release.steps] == [5, 25, 50]
    assert move.action == "promote"
    assert move.release is None


def test_requests_of_the_step_before_do_not_count_for_this_one():
    release = shadowing(phase="canary", candidate_percent=5, counted={"2": Count(950, 0, "e")})
    assert advance(POLICY, release, seen(latency={})).waits_for == "requests"
    restarted = seen(latency={}, traffic={"2": Count(150, 0, "another epoch")})
    assert "150 of 200" in advance(POLICY, release, restarted).sentence


def test_a_server_that_never_gets_ready_ends_the_release_and_a_short_absence_does_not():
    waiting = {"2": ServerSeen("starting", 0, "KServe has not made its Deployment yet")}
    begun = shadowing(phase="canary", candidate_percent=5)
    late = T0 + 9 * DAY  # the step itself has lasted long
    held = advance(POLICY, begun, seen(now=late, servers=waiting))
    assert (held.action, held.waits_for) == ("hold", "server")
    assert "has not made its Deployment" in held.sentence
    still = advance(POLICY, held.release, seen(now=late + HOUR / 2, servers=waiting))
    assert still.action == "hold"
    back = advance(POLICY, still.release, seen(now=late + HOUR / 3))
    assert back.action == "step"
    assert back.release.unready_since is None
    ended = advance(POLICY, still.release, seen(now=late + HOUR * 0.51, servers=waiting))
    assert ended.action == "roll-back"
    assert "has not been ready for 31m: KServe has not made its Deployment yet" in ended.sentence
    nobody = advance(POLICY, still.release, seen(now=late + HOUR, servers={}))
    assert nobody.action == "roll-back"


def test_a_server_that_the_repository_was_not_told_of_is_not_late():
    trouble = DeliverySeen("", trouble="the repository does not answer")
    held = advance(POLICY, shadowing(), seen(servers={}, delivery=trouble))
    assert (held.waits_for, held.release.unready_since) == ("server", None)


def test_a_hold_is_worth_saying_once():
    observed = seen(comparison=comparison(Paired(100, 80, 12, 5)))
    first = advance(POLICY, shadowing(), observed)
    again = advance(POLICY, first.release, replace(observed, now=observed.now + HOUR))
    assert (first.worth_saying, again.worth_saying) == (True, False)
    assert again.release == first.release


def test_after_a_bad_look_luck_at_a_few_more_labels_does_not_pass():
    held = advance(POLICY, shadowing(), seen(comparison=comparison(Paired(100, 80, 12, 5)))).release
    lucky = seen(comparison=comparison(Paired(120, 98, 11, 11)))
    assert advance(POLICY, held, lucky).waits_for == "looks-worse"
    doubled = seen(comparison=comparison(Paired(200, 160, 16, 18)))
    assert advance(POLICY, held, doubled).action == "step"


def test_a_held_release_is_said_once_and_goes_on_when_evidence_comes():
    late = seen(now=T0 + 31 * DAY, comparison=None)
    held = advance(POLICY, shadowing(), late)
    again = advance(POLICY, held.release, replace(late, now=late.now + DAY))
    assert (held.worth_saying, again.worth_saying) == (True, False)
    assert "trimtab promote" in held.sentence
    onward = advance(POLICY, again.release, seen(now=T0 + 40 * DAY))
    assert onward.action == "step"
    assert onward.release.held_since is None


def test_shadow_strategy_waits_for_a_person_however_good_the_evidence():
    policy = spec(release={"strategy": "shadow"}).release
    move = advance(policy, shadowing(), seen(now=T0 + 400 * DAY, comparison=good(100_000)))
    assert (move.action, move.waits_for, move.worth_saying) == ("hold", "person", True)
    assert advance(policy, shadowing(), seen(comparison=comparison(TEN_POINTS_WORSE))).action == "roll-back"


def test_blue_green_goes_from_shadow_to_everything():
    policy = spec(release={"strategy": "blue-green"}).release
    assert advance(policy, shadowing(), seen()).action == "promote"
    assert advance(policy, shadowing(), seen(comparison=good(60))).action == "hold"


def test_without_a_shadow_no_request_goes_to_a_server_that_is_not_ready():
    policy = spec(release={"shadow": False}).release
    begun = begin(policy, "2", shadowing().cause, seen(now=T0))
    assert (begun.phase, begun.candidate_percent, begun.mirror_percent) == ("warming", 0, 0)
    assert advance(policy, begun, seen(now=T0, servers={"2": ServerSeen("starting")})).waits_for == "server"
    assert advance(policy, begun, seen(now=T0)).release.candidate_percent == 5


def test_a_canary_without_pairs_is_judged_within_each_step():
    policy = spec(release={"shadow": False, "evidence": {"leastLabels": 100}}).release
    release = shadowing(phase="canary", candidate_percent=25, mirror_percent=0, steps=(Step(25, T0),))
    clearly = Split(25, Sample(900, 810, 810), Sample(300, 150, 150))
    assert advance(policy, release, seen(comparison=comparison(Paired(), splits=(clearly,)))).action == "roll-back"
    alike = Split(25, Sample(900, 810, 810), Sample(300, 271, 271))
    assert advance(policy, release, seen(comparison=comparison(Paired(), splits=(alike,)))).action == "step"


def test_steps_of_different_times_do_not_make_an_equal_candidate_look_worse():
    """Simpson's paradox: hard rows came when the candidate had much of the traffic; within each step both are equal."""
    easy = Split(5, Sample(1900, 1710, 1710), Sample(100, 90, 90))
    hard = Split(50, Sample(1000, 500, 500), Sample(1000, 500, 500))
    merit = judge_merit(spec(release={"shadow": False}).release, comparison(Paired(), splits=(easy, hard)))
    assert merit.estimate == pytest.approx(0, abs=1e-9)
    assert not merit.worse


def test_the_latency_limit_has_a_floor_and_needs_a_known_stable_version():
    assert slow_above_ms(POLICY, Latency(1000, 1, 4)) == 50
    assert slow_above_ms(POLICY, Latency(1000, 1, 40)) == 120
    assert slow_above_ms(POLICY, Latency(20, 1, 40)) is None
    assert Latency.of([1, 2, 300], 50).slow == 1


def test_steps_changed_in_the_document_go_on_from_the_present_share():
    policy = spec(release={"steps": [10, 30]}).release
    release = shadowing(phase="canary", candidate_percent=25)
    assert advance(policy, release, seen()).release.candidate_percent == 30


def test_rolling_back_names_requests_failed_and_is_json_ready():
    move = advance(POLICY, shadowing(), seen(requests=300, failures=30))
    assert move.sentence == (
        "Version 2 is rolled back: 300 requests, 30 failed (10 %); that is surely above the 1 % allowed."
    )
    assert move.evidence["failures"] == 30
