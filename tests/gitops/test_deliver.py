"""Commits into a real repository: one a change, on top of whatever others do, and never over a person's edit."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

import pytest
import yaml
from deliveries import ALONE, FILE, TWO, served, step, why

from trimtab.adapters.delivery.gitops import GitDelivery
from trimtab.errors import DeliveryConflict, DeliveryFailed
from trimtab.ports.delivery import Delivered, Wanted, Why
from trimtab.testing.git_places import Person, Place

Writer = Callable[..., GitDelivery]


def _edit(person: Person, old: str, new: str, message: str = "By hand") -> None:
    person.pull()
    text = person.read(FILE)
    assert old in text
    person.write(FILE, text.replace(old, new))
    person.push(message)


def test_a_change_is_one_commit_and_the_same_again_is_none(place: Place, writer: Writer) -> None:
    git = writer()
    first = git.deliver(ALONE, "", why())
    again = git.deliver(ALONE, first.known, why(2))
    other = writer().deliver(ALONE, "", why(3))
    assert first == again == other
    assert place.log() == ["orders: version 1 serves", "A first commit"]
    found = yaml.safe_load(place.read(FILE))
    assert found["champion"] == {"version": "1", "uri": "s3://models/orders/1", "digest": served("1").digest}
    assert (found["challenger"]["version"], found["trafficPercent"]) == ("", 0)
    assert place.read("README.md") == "Releases.\n"


def test_the_commit_tells_the_decision_its_evidence_and_trailers(place: Place, writer: Writer) -> None:
    git = writer()
    known = git.deliver(ALONE, "", why()).known
    said = "Version 2 gets 5 % of requests:\n\nTrimtab-Turn: 99\x1b[31m <script>"
    git.deliver(step(5), known, why(7, sentence=said, evidence={"failures": 3, "n": 41}))
    message = place.message()
    assert message.startswith("orders: version 1 serves, version 2 gets 5 %\n\nVersion 2 gets 5 % of requests:")
    assert '"failures": 3' in message
    trailers = place.git("log", "-1", "--format=%(trailers:only,unfold)").splitlines()
    assert [one for one in trailers if one] == [
        "Trimtab-Loop: orders",
        "Trimtab-Turn: 7",
        "Trimtab-Decision: step 2",
        "Signed-off-by: trimtab <trimtab@localhost>",
    ]
    assert "\x1b" not in message


def test_looking_writes_nothing_and_says_what_serves(place: Place, writer: Writer) -> None:
    assert writer().deliver(None, "", Why()) == Delivered()
    writer().deliver(step(5), "", why())
    found = writer().deliver(None, "", Why())
    assert (found.champion, found.digest) == ("1", served("1").digest)
    assert len(place.log()) == 2


def test_roles_of_the_chart(place: Place, writer: Writer) -> None:
    git, known = writer(), ""
    for wanted, roles in (
        (Wanted(served("1"), served("2"), 0, 100), ("1", "", "2", 0, 100)),
        (Wanted(served("1"), served("2"), 25), ("1", "2", "", 25, 0)),
        (Wanted(served("2"), previous=served("1")), ("2", "1", "", 0, 0)),
        (Wanted(served("2"), served("3"), 0, 100, served("1")), ("2", "1", "3", 0, 100)),
        (Wanted(served("2"), served("3"), 10, 0, served("1")), ("2", "3", "1", 10, 0)),
    ):
        known = git.deliver(wanted, known, why()).known
        found = yaml.safe_load(place.read(FILE))
        shown = (*(found[role]["version"] for role in ("champion", "challenger", "shadow")),)
        assert (*shown, found["trafficPercent"], found["shadowPercent"]) == roles


def test_others_commits_to_other_files_are_built_upon(place: Place, writer: Writer) -> None:
    git, person = writer(), Person(place, "ada")
    known = git.deliver(ALONE, "", why()).known
    person.pull()
    person.write("releases/orders/values.yaml", "resources: {}\n")
    person.push("More memory")
    git.deliver(step(5), known, why())
    assert place.log()[:2] == ["orders: version 1 serves, version 2 gets 5 %", "More memory"]
    assert place.read("releases/orders/values.yaml") == "resources: {}\n"


def test_a_push_that_was_overtaken_is_made_again_on_top(
    place: Place, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    git, person, overtaken = writer(), Person(place, "ada"), []
    known = git.deliver(ALONE, "", why()).known
    real = git._repository.push

    def slow(commit: str, branch: str) -> bool:
        if len(overtaken) < 2:
            overtaken.append(commit)
            person.pull()
            person.write("other.txt", str(len(overtaken)))
            person.push("Faster")
        return real(commit, branch)

    monkeypatch.setattr(git._repository, "push", slow)
    git.deliver(step(5), known, why())
    assert place.log()[:3] == ["orders: version 1 serves, version 2 gets 5 %", "Faster", "Faster"]
    assert place.read("other.txt") == "2"


def test_an_edit_between_look_and_push_is_not_overwritten(
    place: Place, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    git, person = writer(), Person(place, "ada")
    known = git.deliver(step(5), "", why()).known
    real = git._repository.push

    def slow(commit: str, branch: str) -> bool:
        _edit(person, "trafficPercent: 5", "trafficPercent: 1")
        return real(commit, branch)

    monkeypatch.setattr(git._repository, "push", slow)
    with pytest.raises(DeliveryConflict, match="trafficPercent: 5 became 1"):
        git.deliver(step(25), known, why())
    assert "trafficPercent: 1\n" in place.read(FILE)


def test_two_writers_at_once_of_the_same_state_make_one_commit(place: Place, writer: Writer) -> None:
    known = writer().deliver(ALONE, "", why()).known
    writers, found = [writer() for _ in range(4)], []
    threads = [threading.Thread(target=lambda w=one: found.append(w.deliver(step(5), known, why()))) for one in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert place.log().count("orders: version 1 serves, version 2 gets 5 %") == 1


def test_a_controller_that_was_left_behind_overwrites_nothing(place: Place, writer: Writer) -> None:
    behind, ahead = writer(), writer()
    known = behind.deliver(step(5), "", why()).known
    ahead.deliver(step(25), known, why())
    with pytest.raises(DeliveryConflict):
        behind.deliver(step(10), known, why())
    assert "trafficPercent: 25" in place.read(FILE)


def test_an_edit_by_hand_is_reported_left_alone_and_gone_once_undone(place: Place, writer: Writer) -> None:
    git, person = writer(), Person(place, "ada")
    known = git.deliver(step(5), "", why()).known
    _edit(person, "trafficPercent: 5", "trafficPercent: 50", "More traffic\x07")
    commit = place.git("rev-parse", "main")[:12]
    for wanted in (step(5), step(25)):
        with pytest.raises(DeliveryConflict) as error:
            git.deliver(wanted, known, why())
        said = str(error.value)
        for part in (
            FILE,
            "ada <ada@example.org>",
            f"git revert {commit}",
            "trafficPercent: 5 became 50",
            "values.yaml",
        ):
            assert part in said
    assert "trafficPercent: 50" in place.read(FILE)
    person.revert()
    git.deliver(step(25), known, why())
    assert "trafficPercent: 25" in place.read(FILE)


def test_a_person_who_reverts_the_loop_s_own_commit_is_not_overwritten(place: Place, writer: Writer) -> None:
    git, person = writer(), Person(place, "ada")
    known = git.deliver(step(5), "", why()).known
    known = git.deliver(step(25), known, why()).known
    person.revert()
    with pytest.raises(DeliveryConflict, match="trafficPercent: 25 became 5"):
        git.deliver(step(50), known, why())


def test_a_file_deleted_by_hand_and_one_of_somebody_else_s_are_conflicts(place: Place, writer: Writer) -> None:
    git, person = writer(), Person(place, "ada")
    known = git.deliver(ALONE, "", why()).known
    person.pull()
    (person.folder / FILE).unlink()
    person.push("Away with it")
    with pytest.raises(DeliveryConflict, match="the file is gone"):
        git.deliver(step(5), known, why())
    person.write(FILE, "champion: {version: '9'}\n")
    person.push("My own")
    with pytest.raises(DeliveryConflict, match="remembers nothing of it"):
        writer().deliver(ALONE, "", why())
    assert writer().deliver(None, "", Why()).champion == ""


def test_a_forced_push_is_noticed_and_not_overwritten(place: Place, writer: Writer) -> None:
    git, person = writer(), Person(place, "ada")
    git.deliver(step(5), "", why())
    person.pull()
    known = git.deliver(step(25), git.deliver(None, "", Why()).known, why()).known
    person.git("push", "--quiet", "--force", "origin", "HEAD:main")
    with pytest.raises(DeliveryConflict, match=r"history was rewritten.*trafficPercent: 50 became 5\b"):
        git.deliver(step(50), known, why())
    assert "trafficPercent: 5\n" in place.read(FILE)


def test_history_rewritten_without_touching_the_file_is_no_conflict(place: Place, writer: Writer) -> None:
    git, person = writer(), Person(place, "ada")
    known = git.deliver(step(5), "", why()).known
    person.pull()
    person.git("commit", "--quiet", "--amend", "-m", "Other words")
    person.git("push", "--quiet", "--force", "origin", "HEAD:main")
    git.deliver(step(25), known, why())
    assert "trafficPercent: 25" in place.read(FILE)


def test_a_branch_that_is_gone_is_said_and_comes_back(place: Place, writer: Writer) -> None:
    git = writer()
    known = git.deliver(step(5), "", why()).known
    place.git("branch", "-m", "main", "away")
    with pytest.raises(DeliveryFailed, match=re.escape("no branch main: push it (again)")):
        git.deliver(step(25), known, why())
    assert place.branches() == ["away"]
    place.git("branch", "-m", "away", "main")
    git.deliver(step(25), known, why())
    assert "trafficPercent: 25" in place.read(FILE)


def test_a_hostile_tree_leads_nowhere(place: Place, writer: Writer) -> None:
    person = Person(place, "mallory")
    person.pull()
    (person.folder / "releases" / "orders").mkdir(parents=True)
    (person.folder / FILE).symlink_to("/etc/passwd")
    person.push("A link")
    with pytest.raises(DeliveryFailed, match="no plain file"):
        writer().deliver(TWO, "", why())
    person.git("rm", "--quiet", FILE)
    person.write(
        FILE, "a: &a [x]\n" + "".join(f"b{n}: [*a, *a]\n" for n in range(50)) + "c: !!python/object:os.system {}\n"
    )
    person.push("A bomb\x1b]0;owned\x07")
    with pytest.raises(DeliveryConflict) as error:
        writer().deliver(TWO, "", why())
    assert "\x1b" not in str(error.value)
