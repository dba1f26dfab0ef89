"""GitHub's and GitLab's APIs, with all that they may refuse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from deliveries import requests_of

from trimtab.errors import DeliveryFailed
from trimtab.testing.forges import Answered, Forge
from trimtab.testing.git_places import Place
from trimtab.testing.github_host import GitHubHost
from trimtab.testing.gitlab_host import GitLabHost


@pytest.fixture(params=[GitHubHost, GitLabHost])
def forge(request: pytest.FixtureRequest, place: Place) -> Iterator[Forge]:
    made = request.param(place)
    place.git("branch", "head", "main")
    yield made
    made.stop()


def test_a_writer_that_was_overtaken_finds_the_other_s(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, fast = requests_of(forge), requests_of(forge)
    opened = fast.open("head", "t", "b")
    assert slow.open("head", "t", "b") == opened == slow.look("head")
    assert len(forge.requests) == 1


def test_a_branch_that_is_not_there_is_refused_in_the_host_s_words(forge: Forge) -> None:
    with pytest.raises(DeliveryFailed, match=r"answers 4(00|22) to POST"):
        requests_of(forge).open("nowhere", "t", "b")


def test_wrong_credentials_are_said_without_showing_them(forge: Forge) -> None:
    with pytest.raises(DeliveryFailed, match=r"answers 401 .*renew what `release.gitops.secret` names") as error:
        requests_of(forge, "hunter2").look("head")
    assert "hunter2" not in repr(error.value)
    assert error.value.__cause__ is None


@pytest.mark.parametrize(("status", "said"), [(403, "need to write"), (404, "is not there"), (500, "answers 500")])
def test_refusals_say_what_to_do(forge: Forge, status: int, said: str) -> None:
    forge.faults.append(Answered(status, {"message": "no"}))
    with pytest.raises(DeliveryFailed, match=said):
        requests_of(forge).look("head")


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (Answered(429, {}, {"retry-after": "30"}), 30),
        (Answered(429, {}), 60),
        (Answered(429, {}, {"retry-after": "Thu, 01 Jan 1970 00:17:10 GMT"}), 30),
        (Answered(403, {"message": "slow down"}, {"retry-after": "5"}), 5),
        (Answered(403, {"message": "You have exceeded a secondary rate limit"}), 60),
        (Answered(403, {}, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1090"}), 90),
    ],
)
def test_patience_is_had_as_long_as_asked_and_costs_no_call(forge: Forge, answer: Answered, seconds: int) -> None:
    now = [1000.0]
    requests = requests_of(forge, clock=lambda: now[0])
    forge.faults.append(answer)
    for later in (0.0, 1.0, seconds - 1.0):
        now[0] = 1000.0 + later
        with pytest.raises(DeliveryFailed, match="patience"):
            requests.look("head")
    assert len(forge.asked) == 1
    now[0] = 1000.0 + seconds
    assert requests.look("head") is None


def test_a_redirect_gets_no_token(forge: Forge) -> None:
    forge.faults.append(Answered(302, {}, {"location": f"{forge.url}/elsewhere"}))
    with pytest.raises(DeliveryFailed, match="answers 302"):
        requests_of(forge).look("head")
    assert len(forge.asked) == 1


def test_a_host_that_is_away_or_no_host_is_said(forge: Forge) -> None:
    forge.faults.append(Answered(200, {"not": "a list"}))
    with pytest.raises(DeliveryFailed):
        requests_of(forge).look("head")
    requests = requests_of(forge)
    forge.stop()
    with pytest.raises(DeliveryFailed, match="does not answer"):
        requests.look("head")
    forge.stop = lambda: None  # type: ignore[method-assign]


def test_closing_leaves_what_was_merged_meanwhile(forge: Forge) -> None:
    requests = requests_of(forge)
    found = requests.open("head", "t", "b")
    forge.requests[0].state, forge.requests[0].who = "merged", "ada"
    requests.close(found, "too late")
    assert (forge.requests[0].state, forge.requests[0].comments) == ("merged", [])
    assert requests.look("head") == replace(found, state="merged", who="ada")
