"""`release`: how traffic moves to a new version and what moves it back."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trimtab.spec.section import Duration, Section


class EvidenceWanted(Section):
    """How much must be seen before a step is judged: requests of that step, labels since the release began."""

    least_requests: int = Field(200, ge=0, description="Requests that the candidate answered or shadowed at this step.")
    least_labels: int = Field(
        100,
        ge=0,
        description="Matured labels since the release began, not of this step alone, on which versions are compared.",
    )
    longest_wait: Duration = Field(
        "30d",
        validate_default=True,
        description="With too little evidence for this long, the release holds and says so.",
    )


class RollBackWhen(Section):
    """What ends a release."""

    not_ready_for: Duration = Field(
        "30m",
        validate_default=True,
        description="The candidate's server was not ready for this long on end, whatever it waits for.",
    )
    error_rate_above: float = Field(0.01, ge=0, le=1, description="Share of the candidate's requests that failed.")
    latency_ratio_above: float = Field(3.0, gt=1, description="Candidate's p99 latency over the stable version's.")
    latency_floor_ms: float = Field(50.0, ge=0, description="A p99 latency below this never ends a release.")
    metric: str = Field("", description="The model metric compared; default: the first model metric of scope.")
    worse_by: float = Field(
        0.02,
        ge=0,
        description="Roll back when the candidate is surely worse by more than this, in the metric's own unit: 0.02 is "
        "two points of accuracy; for mae and rmse, which are in the label's unit, it must be set.",
    )
    confidence: float = Field(0.95, gt=0.5, lt=1, description="How sure `worse_by` must be.")


class GitOps(Section):
    """The repository that releases are written to, and who may write there."""

    repository: str = Field(
        max_length=500,
        description="URL of the repository: https://, ssh://, git:// or file://, without a user's name or password.",
    )
    branch: str = Field("main", max_length=200, description="The branch that the cluster is synced from.")
    path: str = Field(
        "",
        max_length=300,
        description="The folder in which the loop writes `release.yaml`; default: releases/ and the loop's name.",
    )
    provider: Literal["plain", "github", "gitlab"] = Field(
        "plain",
        description="Where pull requests are asked for. plain: a branch for each, merged to accept, deleted to refuse.",
    )
    secret: str = Field(
        "",
        pattern=r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$",
        description="Name of the secret with the credentials, never the credentials: keys as in a repository secret "
        "of Argo CD (url, username, password or sshPrivateKey). Empty: none are needed.",
    )


class Release(Section):
    """Strategy, steps, evidence, and what rolls back."""

    strategy: Literal["shadow", "canary", "blue-green"] = Field(
        "canary",
        description="shadow: mirror all traffic, then wait for a person; canary: shadow, then the steps; "
        "blue-green: shadow, then all at once.",
    )
    shadow: bool = Field(
        True,
        description="Whether a canary or blue-green release starts by mirroring all traffic. A blue-green release "
        "without sees no evidence, so `evidence.leastRequests` and `evidence.leastLabels` must say 0 then.",
    )
    steps: tuple[int, ...] = Field(
        (5, 25, 50), description="Percent of traffic at each canary step, rising, below 100."
    )
    step_least: Duration = Field("1h", validate_default=True, description="A step lasts at least this long.")
    evidence: EvidenceWanted = Field(EvidenceWanted(), description="How much must be seen before the release moves on.")
    roll_back_when: RollBackWhen = Field(RollBackWhen(), description="What ends a release.")
    delivery: Literal["direct", "gitops"] = Field(
        "direct",
        description="direct: the loop changes what serves; gitops: it commits to a repository that the cluster is "
        "synced from, and asks for versions and promotions by pull request.",
    )
    gitops: GitOps | None = Field(None, description="The repository, with `delivery: gitops`.")
