"""Asking people, over branches alone and over hosts that answer as GitHub and GitLab do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from deliveries import ALONE, FILE, TWO, requests_of, step, why

from trimtab.adapters.delivery.gitops import GitDelivery
from trimtab.errors import DeliveryConflict
from trimtab.ports.delivery import Asked
from trimtab.testing.forges import Forge
from trimtab.testing.git_places import Person, Place
from trimtab.testing.github_host import GitHubHost
from trimtab.testing.gitlab_host import GitLabHost

Writer = Callable[..., GitDelivery]
HEAD = "trimtab/orders/promote-2-1"
ASKED = Asked("promote-2-1", TWO, why(4, kind="propose", sentence="A pull request asks to promote version 2: better."))


@dataclass
class Branches:
    """People who have only the repository."""

    place: Place
    forge: None = None

    def merge(self, how: str) -> None:
        Person(self.place, "ada").merge(HEAD, how)

    def close(self) -> None:
        self.place.git("branch", "-D", HEAD)


@dataclass
class Host:
    """People with a browser."""

    place: Place
    forge: Forge

    def merge(self, how: str) -> None:
        self.forge.merge("ada", how)

    def close(self) -> None:
        self.forge.close("ada")


@pytest.fixture(params=["branches", "github", "gitlab"])
def people(request: pytest.FixtureRequest, place: Place) -> Iterator[Any]:
    if request.param == "branches":
        yield Branches(place)
        return
    forge = {"github": GitHubHost, "gitlab": GitLabHost}[request.param](place)
    yield Host(place, forge)
    forge.stop()


@pytest.fixture
def make(people: Any, writer: Writer) -> Writer:
    return lambda: writer(requests=requests_of(people.forge) if people.forge else None)


def test_it_is_asked_once_however_often_and_by_whomever(place: Place, people: Any, make: Writer) -> None:
    git = make()
    known = git.deliver(step(50), "", why()).known
    first = git.ask(ASKED)
    again, other = git.ask(replace(ASKED, opened=True)), make().ask(ASKED)
    assert first == again == other
    assert (first.state, bool(first.url)) == ("open", True)
    assert place.branches() == ["main", HEAD]
    assert "version: '2'" in place.read(FILE, HEAD)
    assert git.deliver(step(50), known, why(), TWO).known == known
    assert "A pull request asks to promote version 2: better." in place.message(HEAD)
    if people.forge:
        one = people.forge.open_one()
        assert "A pull request asks to promote version 2: better" in one.body
        assert '"requests": 7' in one.body
        assert one.title == "orders: version 2 serves"


@pytest.mark.parametrize("how", ["--no-ff", "--ff-only", "--squash"])
def test_a_merge_is_seen_and_not_overwritten_by_the_state_before(
    people: Any, make: Writer, place: Place, how: str
) -> None:
    git = make()
    known = git.deliver(step(50), "", why()).known
    git.ask(ASKED)
    people.merge(how)
    found = git.deliver(step(50), known, why(), TWO)
    assert found.known != known
    answer = git.ask(replace(ASKED, opened=True))
    assert answer.state == "merged"
    assert answer.who.startswith("ada") or (people.forge is None and how != "--squash")
    assert git.deliver(TWO, found.known, why()) == found
    assert "champion:\n  version: '2'" in place.read(FILE)


def test_a_closed_one_is_a_refusal_and_stays_one(people: Any, make: Writer) -> None:
    git = make()
    git.deliver(step(50), "", why())
    git.ask(ASKED)
    people.close()
    opened = replace(ASKED, opened=True)
    assert git.ask(opened).state == git.ask(opened).state == make().ask(opened).state == "closed"
    assert people.forge is None or git.ask(opened).who == "ada"


def test_one_that_is_taken_back_is_closed_with_the_reason(people: Any, make: Writer, place: Place) -> None:
    git = make()
    git.deliver(step(50), "", why())
    git.ask(ASKED)
    for _ in range(2):
        git.withdraw("promote-2-1", "Version 2 is rolled back: @everyone it *failed*.")
    assert place.branches() == ["main"]
    if people.forge:
        (one,) = people.forge.requests
        assert one.state == "closed"
        assert len(one.comments) == 1
        assert "rolled back" in one.comments[0]
        assert "@everyone" not in one.comments[0]
    git.withdraw("promote-9-9", "Never asked.")


def test_what_was_merged_while_it_was_taken_back_gives_way(people: Any, make: Writer, place: Place) -> None:
    git = make()
    known = git.deliver(step(50), "", why()).known
    git.ask(ASKED)
    people.merge("--no-ff")
    git.withdraw("promote-2-1", "Version 2 is rolled back.")
    git.deliver(ALONE, known, why(), withdrawn=TWO)
    assert "champion:\n  version: '1'" in place.read(FILE)


def test_a_merge_that_says_something_else_is_reported(people: Any, make: Writer, place: Place) -> None:
    git = make()
    git.deliver(step(50), "", why())
    git.ask(ASKED)
    reviewer = Person(place, "grace")
    reviewer.git("fetch", "--quiet", "origin")
    reviewer.git("checkout", "--quiet", "-B", "review", f"origin/{HEAD}")
    reviewer.write(FILE, reviewer.read(FILE).replace("shadowPercent: 0", "shadowPercent: 9"))
    reviewer.git("commit", "--quiet", "-a", "-m", "Copies")
    reviewer.git("push", "--quiet", "origin", f"HEAD:{HEAD}")
    people.merge("--no-ff")
    with pytest.raises(DeliveryConflict, match=r"grace.*shadowPercent: 0 became 9"):
        git.ask(replace(ASKED, opened=True))


def test_a_branch_of_that_name_with_something_else_is_not_overwritten(people: Any, make: Writer, place: Place) -> None:
    make().deliver(step(50), "", why())
    place.git("branch", HEAD, "main")
    with pytest.raises(DeliveryConflict, match=r"is there already|says something else"):
        make().ask(ASKED)
