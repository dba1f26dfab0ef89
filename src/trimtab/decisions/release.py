"""How a release moves: shadow, canary steps, promotion; or back; or it holds for want of evidence.

A step is judged once it lasted `step_least` and has the requests wanted of it, and the release the labels wanted since
it began. Back, at once and at any time: the candidate's server is lost, or errors, latency or quality are surely worse
than allowed. Onward: quality is surely not worse than allowed, or, with the labels wanted, its best guess is not. A
best guess that is worse than allowed is looked at again only when the labels have doubled: who looks at every turn
until it is good once would promote by luck.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from trimtab.decisions.judgement import Merit, Slowness, Traffic, judge_merit, judge_slowness, judge_traffic
from trimtab.decisions.observed import Latency, Observed
from trimtab.decisions.state import Cause, Release, Step
from trimtab.decisions.wording import counted, lasting, percent
from trimtab.spec.release import Release as Policy

MOST_RESTARTS = 5  # a server that died more often is lost
NOTABLE = (
    "looks-worse",
    "errors",
    "latency",
    "person",
    "blind",
)  # waits that a person hears of; the others are in `status`


@dataclass(frozen=True)
class ReleaseDecision:
    """What becomes of a release. `release` is the next one (None once it ended); `waits_for` is a hold's code."""

    action: Literal["hold", "step", "promote", "roll-back"]
    release: Release | None
    sentence: str
    evidence: Mapping[str, Any]
    labels_until: datetime | None = None
    waits_for: str = ""
    worth_saying: bool = True  # a hold is worth saying when its reason changed


@dataclass(frozen=True)
class Evidence:
    """All that is known about the candidate at this step."""

    traffic: Traffic
    slowness: Slowness
    merit: Merit
    labels_until: datetime | None

    @property
    def sentence(self) -> str:
        """Traffic and quality in words."""
        return f"{self.traffic.sentence}; {self.merit.sentence}"

    def to_json(self) -> Mapping[str, Any]:
        """JSON-ready."""
        latency = self.slowness.latency
        return {
            "requests": self.traffic.requests,
            "failures": self.traffic.failures,
            "latency": {"n": latency.n, "p99_ms": round(latency.p99_ms, 3), "slow": latency.slow},
            "quality": self.merit.evidence(),
        }


def begin(policy: Policy, candidate: str, cause: Cause, observed: Observed) -> Release:
    """A new release. No request goes to the candidate before its server is ready."""
    shadow = policy.shadow or policy.strategy == "shadow"
    return Release(
        candidate=candidate,
        cause=cause,
        started=observed.now,
        phase="shadow" if shadow else "warming",
        phase_started=observed.now,
        mirror_percent=100 if shadow else 0,
        counted=dict(observed.traffic),
    )


def gather(policy: Policy, release: Release, observed: Observed) -> Evidence:
    """Judge what was seen; pure arithmetic on the counts."""
    comparison = observed.comparison
    return Evidence(
        judge_traffic(policy, release, observed),
        judge_slowness(policy, observed.latency.get(release.candidate, Latency())),
        judge_merit(policy, comparison),
        comparison.labels_until if comparison is not None else None,
    )


def advance(policy: Policy, release: Release, observed: Observed) -> ReleaseDecision:
    """The next move of a release; the same arguments always give the same move."""
    found = gather(policy, release, observed)
    end = _ends(policy, release, observed, found)
    if end:
        return _decision("roll-back", None, f"Version {release.candidate} is rolled back: {end}.", found)
    wait = _waits(policy, release, observed, found)
    if wait is not None:
        return _hold(policy, release, observed, found, wait)
    percent_next = _next_percent(policy, release)
    if percent_next is None:
        return _decision("promote", None, _promoted(release, found), found)
    step = replace(
        release,
        phase="canary",
        phase_started=observed.now,
        candidate_percent=percent_next,
        mirror_percent=0,
        held_since=None,
        unready_since=None,
        hold="",
        next_look=0,
        counted=dict(observed.traffic),
        steps=(*release.steps, Step(percent_next, observed.now)),
    )
    said = f": {found.sentence}" if release.phase != "warming" else ": its server is ready"
    return _decision("step", step, f"Version {release.candidate} gets {percent_next} % of requests{said}.", found)


def unopposed(release: Release, observed: Observed, move: ReleaseDecision, why: str) -> ReleaseDecision:
    """The move while the stable version cannot answer: a candidate that can is better than none, whatever is known."""
    server = observed.servers.get(release.candidate)
    if server is None or server.state != "ready":
        return move
    sentence = f"Version {release.candidate} is promoted to all requests: {why}, so nothing else answers."
    return replace(move, action="promote", release=None, sentence=sentence, waits_for="", worth_saying=True)


def _ends(policy: Policy, release: Release, observed: Observed, found: Evidence) -> str:
    """Why the release ends at once; empty if it does not."""
    server, rule = observed.servers.get(release.candidate), policy.roll_back_when
    if server is not None and server.state == "failed":
        return f"its server failed: {server.reason or 'no reason was given'}"
    if server is not None and server.restarts > MOST_RESTARTS:
        return f"its server died {server.restarts} times; last: {server.reason or 'no reason was given'}"
    if release.unready_since is not None and (server is None or server.state != "ready"):
        unready = observed.now - release.unready_since
        if unready > rule.not_ready_for:
            why = (server.reason if server is not None else "") or "no reason was given"
            return f"its server has not been ready for {lasting(unready)}: {why}"
    if found.traffic.bad:
        return f"{found.traffic.sentence}; that is surely above the {percent(rule.error_rate_above)} allowed"
    if found.slowness.bad:
        latency = found.slowness.latency
        return (
            f"its 99th percentile is surely above {latency.slow_above_ms:.0f} ms: "
            f"{latency.slow} of {counted(latency.n, 'answer')} were slower"
        )
    return f"{found.merit.sentence}; that is surely worse than allowed" if found.merit.worse else ""


def _waits(policy: Policy, release: Release, observed: Observed, found: Evidence) -> tuple[str, str] | None:
    """What the release waits for, as a code and in words; None when it may move on."""
    server = observed.servers.get(release.candidate)
    if observed.clock_went_backwards or observed.now < release.phase_started:
        return "clock", "the clock went backwards: nothing moves on until it has passed the time of the last step"
    if server is None or server.state != "ready":
        reason = server.reason if server is not None else ""
        return "server", f"its server is not ready yet{f' ({reason})' if reason else ''}"
    left = policy.step_least - (observed.now - release.phase_started)
    if release.phase != "warming" and left.total_seconds() > 0:
        return "time", f"this step lasts {lasting(left)} longer"
    if observed.delivery is not None and observed.delivery.trouble:
        return "delivery", f"nothing moves on while the repository does not follow: {observed.delivery.trouble}"
    if observed.blind:
        return "blind", f"nothing moves on blind: {observed.blind}"
    return None if release.phase == "warming" else _wants(policy, release, found)


def _wants(policy: Policy, release: Release, found: Evidence) -> tuple[str, str] | None:
    wanted, merit = policy.evidence, found.merit
    if found.traffic.requests < wanted.least_requests:
        return "requests", f"{found.traffic.requests} of {counted(wanted.least_requests, 'request')} wanted"
    if merit.labels < wanted.least_labels:
        return "labels", f"{merit.labels} of {counted(wanted.least_labels, 'matured label')} wanted"
    if found.traffic.open:
        allowed = percent(policy.roll_back_when.error_rate_above)
        return "errors", f"{found.traffic.sentence}: above the {allowed} allowed, but not surely"
    if found.slowness.open:
        return "latency", "its 99th percentile is above the limit, but not surely"
    if not merit.not_worse and (merit.looks_worse or merit.labels < release.next_look):
        again = _next_look(release, merit)
        return "looks-worse", f"{merit.sentence}: it looks worse than allowed, not surely; next look at {again} labels"
    return (
        ("person", "the strategy is shadow: a person promotes it or rolls it back")
        if policy.strategy == "shadow"
        else None
    )


def _next_look(release: Release, merit: Merit) -> int:
    """Labels at which quality is looked at next: twice those of the newest look."""
    return release.next_look if merit.labels < release.next_look else 2 * merit.labels


def _hold(
    policy: Policy, release: Release, observed: Observed, found: Evidence, wait: tuple[str, str]
) -> ReleaseDecision:
    code, why = wait
    where = f"{release.candidate_percent} % of requests" if release.phase == "canary" else release.phase
    sentence = f"Version {release.candidate} stays at {where}: {why}."
    next_look = _next_look(release, found.merit) if code == "looks-worse" else release.next_look
    undelivered = observed.delivery is not None and bool(observed.delivery.trouble)  # then nobody started it yet
    unready_since = (release.unready_since or observed.now) if code == "server" and not undelivered else None
    kept = replace(release, hold=code, next_look=next_look, unready_since=unready_since)
    waited = observed.now - release.phase_started
    say = code in NOTABLE and code != release.hold
    if waited > policy.evidence.longest_wait and code not in ("clock", "person"):
        sentence = (
            f"Version {release.candidate} is held at {where}: undecided after {lasting(waited)}: {why}. "
            "More evidence lets it go on; `trimtab promote` or `trimtab rollback` ends it."
        )
        say = release.held_since is None
        kept = replace(kept, held_since=release.held_since or observed.now)
    return replace(_decision("hold", kept, sentence, found), waits_for=code, worth_saying=say)


def _next_percent(policy: Policy, release: Release) -> int | None:
    """The next canary step above the present share; None when all traffic is next."""
    if policy.strategy != "canary":
        return None
    return next((step for step in sorted(policy.steps) if release.candidate_percent < step < 100), None)


def _promoted(release: Release, found: Evidence) -> str:
    return f"Version {release.candidate} is promoted to all requests: {found.sentence}."


def _decision(
    action: Literal["hold", "step", "promote", "roll-back"], release: Release | None, sentence: str, found: Evidence
) -> ReleaseDecision:
    return ReleaseDecision(action, release, sentence, found.to_json(), found.labels_until)
