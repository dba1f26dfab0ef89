"""The loop against arbitrary worlds: whatever is seen in whatever order, these things always hold."""

from __future__ import annotations

from datetime import timedelta

from decision_cases import DAY, T0, comparison, live, monitored, spec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from trimtab.decisions.judgement import judge_merit
from trimtab.decisions.observed import (
    FeatureDrift,
    Latency,
    Observed,
    Paired,
    RunSeen,
    ServerSeen,
    UnseenClass,
    WishSeen,
)
from trimtab.decisions.outcome import Outcome
from trimtab.decisions.state import Count, LoopState, routes_of
from trimtab.decisions.turn import decide

MOVES_WEIGHTS = {"start", "step", "promote", "roll-back"}
STEPS = (0, 5, 25, 50)
SPECS = {
    "canary": spec(retraining={"budget": {"runs": 3, "per": "60d"}}),
    "no shadow": spec(release={"shadow": False}),
    "blue-green": spec(release={"strategy": "blue-green"}),
    "shadow": spec(release={"strategy": "shadow"}),
}
counts = st.integers(0, 400)
paired = st.builds(lambda a, b, c: Paired(a + b + c, a, b, c), counts, st.integers(0, 60), st.integers(0, 60))
server = st.builds(ServerSeen, st.sampled_from(["starting", "ready", "ready", "ready", "failed"]), st.integers(0, 8))
ages = st.integers(0, 40 * 24).map(lambda hours: timedelta(hours=hours))


class World(RuleBasedStateMachine):
    """A world that shows the loop anything at all, and checks each outcome."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = SPECS["canary"]
        self.state = LoopState()
        self.now = T0
        self.traffic: dict[str, Count] = {}
        self.launched: dict[str, str] = {}
        self.causes: list[str] = []
        self.versions = 0
        self.wishes = 0

    def _turn(self, **seen: object) -> Outcome:
        observed = Observed(self.now, traffic=dict(self.traffic), **seen)  # type: ignore[arg-type]
        before = self.state
        outcome = decide(self.spec, before, observed)
        assert (
            decide(self.spec, LoopState.from_json(before.to_json()), Observed.from_json(observed.to_json())) == outcome
        )
        self._check(before, observed, outcome)
        self.state = outcome.state
        return outcome

    def _check(self, before: LoopState, observed: Observed, outcome: Outcome) -> None:
        kinds = [decision.kind for decision in outcome.decisions]
        old, new = routes_of(before), routes_of(outcome.state)
        assert old == new or MOVES_WEIGHTS & set(kinds), (old, new, kinds)
        assert (new.candidate_percent > 0) <= (new.candidate is not None)
        assert new.candidate_percent in STEPS
        assert new.mirror_percent in (0, 100)
        assert new.stable is not None or before.champion is None
        assert outcome.answered == tuple(wish.number for wish in observed.wishes)
        for decision in outcome.decisions:
            assert decision.sentence.endswith(".")
            assert decision.labels_until is None or decision.labels_until <= observed.now
            assert decision.time == observed.now
            if decision.kind == "roll-back" and decision.version == old.candidate and new.candidate is None:
                assert (new.stable, new.candidate_percent, new.mirror_percent) == (old.stable, 0, 0)
            if decision.kind == "retrain":
                assert before.training is None or observed.training is not None
                self.causes.append(decision.cause)
            if decision.kind in ("step", "promote") and before.release is not None and decision.wish is None:
                self._check_evidence(before, observed)
        if outcome.state.training is not None:
            key, cause = outcome.state.training.run_key, outcome.state.training.cause.key
            assert self.launched.setdefault(key, cause) == cause

    def _check_evidence(self, before: LoopState, observed: Observed) -> None:
        release = before.release
        assert release is not None
        assert observed.servers[release.candidate].state == "ready"
        stable = observed.servers.get(before.champion or "")
        if release.phase == "warming" or (stable is not None and stable.state == "failed"):
            return  # what can answer is better than nothing, whatever is known of it
        policy = self.spec.release
        assert observed.now - release.phase_started >= policy.step_least
        assert observed.comparison is not None
        merit = judge_merit(policy, observed.comparison)
        assert merit.labels >= policy.evidence.least_labels
        assert not merit.worse
        assert merit.not_worse or not merit.looks_worse

    @invariant()
    def one_training_at_a_time_and_one_run_a_cause(self) -> None:
        assert len(self.causes) == len(set(self.causes))
        per, runs = self.spec.retraining.budget.per, self.spec.retraining.budget.runs
        recent = [start for start in self.state.retrainings if self.now - start < per]
        beyond = sum(cause.startswith(("person", "unserved")) for cause in self.causes)
        assert len(recent) <= runs + beyond

    @rule(name=st.sampled_from(sorted(SPECS)))
    def another_document(self, name: str) -> None:
        self.spec = SPECS[name]

    @rule(hours=st.integers(0, 24 * 20))
    def time_passes(self, hours: int) -> None:
        self.now += timedelta(hours=hours)
        self._turn()

    @rule(hours=st.integers(1, 48))
    def the_clock_goes_back(self, hours: int) -> None:
        back = self.now
        self.now -= timedelta(hours=hours)
        outcome = self._turn(clock_went_backwards=True)
        assert not {decision.kind for decision in outcome.decisions} & {"step", "retrain"}
        self.now = back

    @initialize()
    def the_first_version_serves(self) -> None:
        self._turn()
        self.a_version_is_trained()

    def _training(self) -> bool:
        return self.state.training is not None

    def _releasing(self) -> bool:
        return self.state.release is not None and self.state.champion is not None

    @precondition(_training)
    @rule()
    def a_version_is_trained(self) -> None:
        assert self.state.training is not None
        self.versions += 1
        output = {"version": str(self.versions), "verdict": "pass"}
        self._turn(training=RunSeen(self.state.training.run_key, "SUCCEEDED", output))

    @precondition(_releasing)
    @rule(hours=st.integers(0, 5), pairs=paired)
    def a_release_goes_well(self, hours: int, pairs: Paired) -> None:
        assert self.state.release is not None
        self.now += timedelta(hours=hours)
        was = self.traffic.get(self.state.release.candidate, Count(0, 0, "e"))
        self.traffic[self.state.release.candidate] = Count(was.requests + 300, was.failures, "e")
        alike = comparison(Paired(pairs.n, pairs.n, 0, 0), labels_until=self.now)
        self._turn(comparison=alike, servers={self.state.release.candidate: ServerSeen("ready")})

    @precondition(_training)
    @rule(
        state=st.sampled_from(["RUNNING", "SUCCEEDED", "SUCCEEDED", "FAILED", "INTERRUPTED"]),
        verdict=st.sampled_from(["pass", "pass", "fail", "insufficient evidence", ""]),
    )
    def the_run_is_seen(self, state: str, verdict: str) -> None:
        assert self.state.training is not None
        self.versions += 1
        output = {"version": str(self.versions), "verdict": verdict} if state == "SUCCEEDED" else {}
        view = RunSeen(self.state.training.run_key, state, output)  # type: ignore[arg-type]
        self._turn(training=view)
        after = self._turn(training=view)  # the same view again: nothing more comes of it
        assert state in ("INTERRUPTED",) or not {"start", "reject"} & {decision.kind for decision in after.decisions}

    @precondition(_releasing)
    @rule(
        pairs=paired,
        first=server,
        second=server,
        requests=st.integers(0, 2000),
        failures=st.integers(0, 4),
        age=ages,
        slow=st.integers(0, 3),
    )
    def a_release_is_seen(
        self,
        pairs: Paired,
        first: ServerSeen,
        second: ServerSeen,
        requests: int,
        failures: int,
        age: timedelta,
        slow: int,
    ) -> None:
        release = self.state.release
        assert release is not None
        assert self.state.champion is not None
        was = self.traffic.get(release.candidate, Count(0, 0, "e"))
        self.traffic[release.candidate] = Count(was.requests + requests, was.failures + min(failures, requests), "e")
        labels_until = self.now - age + 20 * DAY  # sometimes from the future: then it must not count
        self._turn(
            comparison=comparison(pairs, labels_until=labels_until),
            servers={self.state.champion: first, release.candidate: second},
            latency={release.candidate: Latency(requests, 1, 2, min(slow, requests), 50.0)},
        )

    @rule(accuracy=st.floats(0.3, 1), n=st.integers(1, 500), drifted=st.booleans(), unseen=st.integers(0, 60), age=ages)
    def monitoring_is_seen(self, accuracy: float, n: int, drifted: bool, unseen: int, age: timedelta) -> None:
        seen = monitored(
            self.now - age,
            drift=(FeatureDrift("weight", drifted, 1.0),),
            unseen=(UnseenClass("new", unseen, unseen / 500),),
            alarms={"drift": "weight drifted"} if drifted else {},
        )
        quality = live(accuracy, n, version=self.state.champion or "", labels_until=self.now - age)
        everything = {"monitoring": seen, "quality": quality}
        self._turn(**everything)
        again = self._turn(**everything)
        assert "retrain" not in {decision.kind for decision in again.decisions}

    @rule(
        kind=st.sampled_from(["promote", "rollback", "retrain", "dance"]),
        version=st.sampled_from(["", "1", "2", "3"]),
        ready=st.booleans(),
    )
    def a_person_wishes(self, kind: str, version: str, ready: bool) -> None:
        self.wishes += 1
        state = "ready" if ready else "starting"
        servers = {str(number): ServerSeen(state) for number in range(1, self.versions + 1)}  # type: ignore[arg-type]
        candidate = self.state.release is not None
        outcome = self._turn(wishes=(WishSeen(self.wishes, kind, version, "anna"),), servers=servers)
        if kind == "rollback" and version == "" and candidate:
            assert routes_of(outcome.state).candidate is None
            assert routes_of(outcome.state).candidate_percent == 0


World.TestCase.settings = settings(
    max_examples=150, stateful_step_count=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
TestWorld = World.TestCase


def test_every_release_ends_or_is_held_whatever_is_seen():
    """With nothing more to see, longest_wait is the longest a release stands without a person hearing of it."""
    for name, document in SPECS.items():
        state = LoopState(champion="1", champion_since=T0)
        training = decide(document, state, Observed(T0, wishes=(WishSeen(1, "retrain"),))).state
        view = RunSeen("training-1", "SUCCEEDED", {"version": "2", "verdict": "pass"})
        state = decide(document, training, Observed(T0, training=view)).state
        said: list[str] = []
        for day in range(1, 40):
            outcome = decide(document, state, Observed(T0 + day * DAY, servers={"2": ServerSeen("ready")}))
            state = outcome.state
            said += [decision.sentence for decision in outcome.decisions]
        assert state.release is not None, name
        assert state.release.held_since is not None, name
        assert sum("held at" in sentence for sentence in said) == 1, name
