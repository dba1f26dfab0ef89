"""A loop lives by its repository: what people merge serves, what they close does not, and nothing else is changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from charts import ROOT, helms
from life import DAY, FILE, PROMOTED, T0, Product

from trimtab.adapters.turns.memory import MemoryTurns
from trimtab.decisions.state import LoopState
from trimtab.loop.turn import Loop
from trimtab.testing.git_places import Person, Place


@pytest.fixture
def product(place: Place, tmp_path: Path) -> Product:
    return Product(place, tmp_path / "cache")


def _until(product: Product, loop: Loop, happened: Callable[[LoopState], bool], answer: str = "merge") -> None:
    for _ in range(25):
        if happened(loop.state()):
            return
        product.live_a_day(loop, answer)
    raise AssertionError(f"not within 25 days: {product.kinds()}")


def _percent(percent: int) -> Callable[[LoopState], bool]:
    return lambda state: state.release is not None and state.release.candidate_percent == percent


def _rendered(place: Place, tmp_path: Path) -> list[dict[str, Any]]:
    """What a new cluster makes of a fresh clone, by each helm that is here."""
    rendering = helms()
    clone = Person(place, "new-cluster").folder
    found = []
    for helm in rendering.helms():
        values = ("--values", str(clone / FILE))
        done = rendering.helm(helm, "template", "orders", str(ROOT / "helm/model-release"), *values)
        assert done.returncode == 0, done.stderr
        objects = [one for one in yaml.safe_load_all(done.stdout) if one]
        found += [
            one
            for one in objects
            if one["kind"] == "Deployment" and one["metadata"]["labels"].get("trimtab.dev/version")
        ]
    return found


def _serve(product: Product, tmp_path: Path, version: str) -> None:
    """That a cluster built from the repository alone serves this version and no other."""
    digest = product.registry.version("orders", version).digest
    deployments = _rendered(product.place, tmp_path)
    assert deployments
    for one in deployments:
        assert one["metadata"]["labels"]["trimtab.dev/version"] == version
        (server,) = one["spec"]["template"]["spec"]["containers"]
        assert {"name": "TRIMTAB_DIGEST", "value": digest} in server["env"]


def test_retrained_asked_for_released_by_commits_and_promoted_by_a_merge(product: Product, tmp_path: Path) -> None:
    loop = product.loop()
    _until(product, loop, lambda state: state.champion == "2")
    assert product.kinds() == PROMOTED
    loops = [line for line in product.place.log() if line.startswith("orders:")]
    assert loops == [
        "orders: version 2 serves",
        "orders: version 1 serves, version 2 gets 50 %",
        "orders: version 1 serves, version 2 gets 20 %",
        "orders: version 1 serves, version 2 gets copies",
        "orders: version 1 serves",
    ]
    assert product.asked() == []
    promotion = next(one for one in reversed(product.told()) if one["kind"] == "promote")
    assert "merged its pull request" in promotion["sentence"]
    proposals = [one for one in product.told() if one["kind"] == "propose"]
    assert "surely not worse" in proposals[-1]["sentence"] or "right" in proposals[-1]["sentence"]
    commits = len(product.place.log())
    for _ in range(3):
        product.live_a_day(loop)
    assert len(product.place.log()) == commits
    assert product.cluster.versions().keys() == {"2"}
    _serve(product, tmp_path, "2")


def test_a_candidate_that_fails_is_rolled_back_by_a_commit_and_nobody_is_asked(
    product: Product, tmp_path: Path
) -> None:
    loop = product.loop()
    _until(product, loop, _percent(20))
    product.cluster.front.down.add("2")
    decisions = product.live_a_day(loop, "nothing")
    assert "roll-back" in [one["kind"] for one in decisions]
    assert product.place.log()[0] == "orders: version 1 serves"
    assert "Trimtab-Decision: roll-back 2" in product.place.message()
    assert "failures" in product.place.message()
    _serve(product, tmp_path, "1")


def test_a_roll_back_takes_the_promotion_s_pull_request_back(product: Product) -> None:
    loop = product.loop()
    _until(product, loop, _percent(50))
    _until(product, loop, lambda state: state.proposal is not None, "nothing")
    assert product.asked() == ["trimtab/orders/promote-2-3"]
    product.cluster.front.down.add("2")
    product.live_a_day(loop, "nothing")
    assert "roll-back" in product.kinds()
    assert "trimtab/orders/promote-2-3" not in product.asked()
    assert product.place.log()[0] == "orders: version 1 serves"


def test_while_nobody_answers_the_loop_holds_and_says_so(product: Product) -> None:
    loop = product.loop()
    _until(product, loop, lambda state: state.champion == "1")
    for _ in range(12):
        product.live_a_day(loop, "nothing")
    turn = loop.turn(T0 + product.day * DAY)
    state = LoopState.from_json(turn.state)
    assert state.proposal is not None
    assert (state.proposal.kind, state.release, state.champion) == ("start", None, "1")
    assert "Version 2 is released when its pull request is merged (branch trimtab/orders/" in turn.observed["hold"]
    assert product.kinds().count("propose") == 2
    assert product.cluster.versions().keys() == {"1"}
    product.turns.wish(T0, "promote", {"version": "2", "who": "bob"})
    product.live_a_day(loop, "nothing")
    assert product.told()[-1]["kind"] == "refuse"
    _until(product, loop, lambda state: state.champion == "2")


@pytest.mark.parametrize("when", ["start", "promote"])
def test_a_pull_request_that_is_closed_is_a_refusal(product: Product, when: str, tmp_path: Path) -> None:
    loop = product.loop()
    _until(product, loop, lambda state: state.champion == "1")
    if when == "promote":
        _until(product, loop, _percent(50))
    while not (refusals := [one for one in product.told() if one["kind"] in ("reject", "roll-back")]):
        assert product.day < 25
        product.live_a_day(loop, "close")
    (last,) = refusals
    assert last["kind"] == ("reject" if when == "start" else "roll-back")
    assert "closed its pull request without merging it; version 1 serves on" in last["sentence"]
    assert (loop.state().release, loop.state().champion) == (None, "1")
    product.cluster.sync()
    assert product.cluster.versions().keys() == {"1"}
    _serve(product, tmp_path, "1")


def test_a_repository_that_is_away_for_days_holds_the_release_and_loses_nothing(product: Product) -> None:
    loop = product.loop()
    _until(product, loop, _percent(20))
    away = product.place.path.with_name("away.git")
    product.place.path.rename(away)
    asked, product.asked = product.asked, lambda: []  # type: ignore[method-assign]
    decisions = [one for _ in range(3) for one in product.live_a_day(loop)]
    assert [one["kind"] for one in decisions if one["kind"] not in ("alarm", "all-clear", "wait")] == ["undelivered"]
    assert _percent(20)(loop.state())
    product.turns.wish(T0, "rollback", {"who": "bob"})
    product.live_a_day(loop)
    assert loop.state().release is None
    away.rename(product.place.path)
    product.asked = asked  # type: ignore[method-assign]
    product.live_a_day(loop, "nothing")
    assert "delivered" in product.kinds()
    assert "orders: version 1 serves" in product.place.log()[:1]
    assert "bob asked" in product.place.message()


def test_an_edit_by_hand_stops_the_release_until_it_is_undone(product: Product) -> None:
    loop = product.loop()
    _until(product, loop, _percent(20))
    product.ada.pull()
    product.ada.write(FILE, product.ada.read(FILE).replace("trafficPercent: 20", "trafficPercent: 1"))
    product.ada.push("Careful")
    decisions = [one for _ in range(3) for one in product.live_a_day(loop)]
    (told,) = [one for one in decisions if one["kind"] not in ("alarm", "all-clear", "wait")]
    assert told["kind"] == "undelivered"
    assert "changed by ada <ada@example.org>" in told["sentence"]
    assert "trafficPercent: 20 became 1" in told["sentence"]
    assert product.cluster.synced["trafficPercent"] == 1
    product.ada.revert()
    _until(product, loop, lambda state: state.champion == "2")
    assert product.kinds().count("delivered") == 1


def test_a_new_cluster_with_an_empty_ledger_goes_on_from_the_repository(product: Product, tmp_path: Path) -> None:
    loop = product.loop()
    _until(product, loop, lambda state: state.champion == "2")
    commits = len(product.place.log())
    fresh = replace(product, turns=MemoryTurns(), folder=tmp_path / "elsewhere")
    fresh.day = product.day
    again = fresh.loop()
    fresh.live_a_day(again)
    assert fresh.kinds() == ["adopt"]
    assert again.state().champion == "2"
    assert len(fresh.place.log()) == commits
    assert fresh.runner.started == [] or "training-1" not in fresh.runner.started


def test_a_registry_that_does_not_know_what_serves_changes_nothing(product: Product, tmp_path: Path) -> None:
    from trimtab.adapters.registry.memory import MemoryRegistry

    loop = product.loop()
    _until(product, loop, lambda state: state.champion == "1")
    before = product.place.read(FILE)
    fresh = replace(product, turns=MemoryTurns(), registry=MemoryRegistry(), folder=tmp_path / "elsewhere")
    fresh.day = product.day
    fresh.live_a_day(fresh.loop(), "nothing")
    assert fresh.told()[0]["kind"] == "undelivered"
    assert "which the registry does not know" in fresh.told()[0]["sentence"]
    assert product.place.read(FILE) == before
