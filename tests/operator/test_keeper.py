"""One loop kept by an operator that may die at any API call: no decision changes, each is told once."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from operator_product import DAY, LOOPS, T0, Died, NearCluster, Product, model_loop, settled, with_definition

from trimtab.adapters.turns.configmap import ConfigMapTurns
from trimtab.decisions.state import LoopState
from trimtab.errors import TrimtabError
from trimtab.operator.keeper import Keeper
from trimtab.operator.metrics import Metrics
from trimtab.operator.settings import Settings
from trimtab.ports.turns import Turn
from trimtab.testing.kubernetes.server import KubernetesApi


@pytest.fixture
def api() -> Iterator[KubernetesApi]:
    with with_definition(KubernetesApi()) as api:
        yield api


class Days:
    """An operator, its successors after each death, and the days they live through."""

    def __init__(self, api: KubernetesApi, cluster: NearCluster, product: Product) -> None:
        self.api, self.cluster, self.product, self.deaths = api, cluster, product, 0
        self.settings = Settings()
        self.keeper = self.successor()

    def successor(self) -> Keeper:
        """A new operator process."""
        return Keeper(self.cluster, lambda *given: self.product.world(self.cluster, *given), self.settings, Metrics())

    def body(self) -> dict[str, Any]:
        return self.api.request("GET", f"{LOOPS}/{self.product.name}")

    def turns(self) -> ConfigMapTurns:
        return ConfigMapTurns(NearCluster(self.api), "default", self.product.name)

    def settle(self, now: datetime, most: int = 60) -> None:
        for _ in range(most):
            try:
                self.keeper.step(self.body(), now)
            except Died:
                self.deaths += 1
                self.keeper = self.successor()
                continue
            if settled(self.turns().latest()):
                return
        raise AssertionError(f"not settled: {self.body()['status']}")

    def live(self, days: int = 14, first: int = 0) -> None:
        if first == 0:
            self.settle(T0)
        for day in range(first, days):
            self.product.traffic(day)
            self.settle(T0 + (day + 1) * DAY)

    def decisions(self) -> list[dict[str, Any]]:
        return [dict(one) for one in reversed(self.turns().newest_decisions(1000))]

    def events(self) -> list[tuple[str, str]]:
        found = self.api.objects("/api/v1/namespaces/default/events")
        return sorted((one["reason"], one["message"]) for one in found)


def days(api: KubernetesApi, dies_at: int = 0, after: bool = False, **spec: Any) -> Days:
    api.request("POST", LOOPS, model_loop(**spec))
    return Days(api, NearCluster(api, dies_at, after), Product())


def kinds(decisions: list[dict[str, Any]]) -> list[str]:
    return [str(one["kind"]) for one in decisions]


def test_a_loop_trains_serves_is_retrained_and_promoted_and_says_so(api: KubernetesApi) -> None:
    lived = days(api)
    lived.live()
    decisions = lived.decisions()
    told = [kind for kind in kinds(decisions) if kind not in ("alarm", "all-clear", "wait")]
    assert told == ["retrain", "promote", "retrain", "start", "step", "promote"]
    status = lived.body()["status"]
    assert (status["phase"], status["champion"], status["observedGeneration"]) == ("Serving", "2", 1)
    assert "challenger" not in status
    assert "release" not in status
    conditions = {one["type"]: one for one in status["conditions"]}
    assert {name: one["status"] for name, one in conditions.items()} == {
        "Accepted": "True",
        "Ready": "True",
        "Progressing": "False",
        "Degraded": "False",
    }
    assert status["lastDecision"]["why"] == decisions[-1]["sentence"]
    assert len(lived.events()) == len(decisions)
    assert {message for _, message in lived.events()} == {one["sentence"] for one in decisions}


def test_the_release_is_told_while_it_goes_on(api: KubernetesApi) -> None:
    lived = days(api)
    lived.settle(T0)
    seen = []
    for day in range(14):
        lived.product.traffic(day)
        lived.settle(T0 + (day + 1) * DAY)
        status = lived.body()["status"]
        if "release" in status:
            seen.append((status["phase"], status["challenger"], status["trafficPercent"], status["release"]["stage"]))
    assert ("Releasing", "2", 0, "shadow") in seen
    assert ("Releasing", "2", 50, "canary") in seen


@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
def test_an_operator_killed_at_any_api_call_changes_no_decision_and_tells_each_once(
    api: KubernetesApi, after: bool
) -> None:
    whole = days(api)
    whole.live()
    expected, events, calls = kinds(whole.decisions()), whole.events(), whole.cluster.calls
    assert calls > 100
    for at in range(1, calls, 5):  # every one was tried once; no divisor of a step's calls: every kind is hit
        with with_definition(KubernetesApi()) as fresh:
            lived = days(fresh, at, after)
            lived.live()
            assert lived.deaths == 1, at
            assert kinds(lived.decisions()) == expected, at
            assert lived.events() == events, at
            assert list(lived.product.registry.versions) == list(whole.product.registry.versions), at
            assert lived.product.runner.started.count("training-2") == 1, at
            assert lived.body()["status"]["champion"] == "2", at


def test_a_document_edited_in_the_middle_of_a_release_goes_on_with_it(api: KubernetesApi) -> None:
    lived = days(api)
    lived.settle(T0)
    day = 0
    while "release" not in lived.body()["status"]:
        lived.product.traffic(day)
        day += 1
        lived.settle(T0 + day * DAY)
    change = {"spec": {"release": {"steps": [20, 60]}}}
    api.request("PATCH", f"{LOOPS}/m", change, "application/merge-patch+json")
    seen = set()
    for later in range(day, day + 8):
        lived.product.traffic(later)
        lived.settle(T0 + (later + 1) * DAY)
        seen.add(lived.product.router.routes.candidate_percent)
    status = lived.body()["status"]
    assert {20, 60} <= seen
    assert 50 not in seen
    assert (status["champion"], status["observedGeneration"]) == ("2", 2)
    assert lived.product.runner.started.count("training-2") == 1


def test_a_refused_document_is_a_condition_with_every_problem_and_moves_nothing(api: KubernetesApi) -> None:
    lived = days(api)
    lived.settle(T0)
    before = lived.product.router.routes
    spec = {**model_loop()["spec"], "monitoring": {"alarms": [{"metric": "recall", "min": 0.5}]}}
    body = {**lived.body(), "spec": spec}
    body["metadata"]["generation"] = 2
    turns = lived.turns().latest()
    for _ in range(3):
        lived.keeper.step(body, T0 + DAY)
    status = lived.body()["status"]
    assert status["phase"] == "Failed"
    condition = status["conditions"][0]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Accepted", "False", "DocumentRefused")
    assert "spec.monitoring.alarms[0].metric" in condition["message"]
    assert lived.product.router.routes == before
    assert lived.turns().latest() == turns
    assert [reason for reason, _ in lived.events()].count("DocumentRefused") == 1
    body["spec"], body["metadata"]["generation"] = model_loop()["spec"], 3
    lived.keeper.step(body, T0 + DAY)
    assert lived.body()["status"]["conditions"][0]["status"] == "True"


def test_a_world_that_cannot_be_made_degrades_its_own_loop_only(api: KubernetesApi) -> None:
    good, cluster, metrics = days(api), NearCluster(api), Metrics()
    api.request("POST", LOOPS, model_loop("bad"))

    def broken(*_: Any) -> Any:
        raise TrimtabError("the store is not there")

    keeper = Keeper(cluster, broken, Settings(), metrics)
    pauses = [keeper.step(api.request("GET", f"{LOOPS}/bad"), T0) for _ in range(8)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    good.live(2)
    status = api.request("GET", f"{LOOPS}/bad")["status"]
    assert status["phase"] == "Degraded"
    assert "the store is not there" in status["message"]
    assert good.body()["status"]["champion"] == "1"
    assert (
        metrics.registry.get_sample_value("trimtab_turn_failures_total", {"namespace": "default", "name": "bad"}) == 8
    )


def test_a_bug_in_a_turn_is_a_condition_and_the_next_turn_repeats_it(api: KubernetesApi) -> None:
    lived = days(api)
    inner = lived.product.servers.ensure
    lived.product.servers.ensure = lambda _: 1 / 0  # type: ignore[assignment,method-assign]
    lived.keeper.step(lived.body(), T0)
    assert "ZeroDivisionError" in lived.body()["status"]["message"]
    lived.product.servers.ensure = inner  # type: ignore[method-assign]
    lived.live(2)
    assert lived.body()["status"]["phase"] == "Serving"


def test_two_operators_at_once_decide_everything_once(api: KubernetesApi) -> None:
    whole = days(api)
    whole.live()
    with with_definition(KubernetesApi()) as fresh:
        lived = days(fresh)
        other = Days(fresh, lived.cluster, lived.product)
        lived.settle(T0)
        for day in range(14):
            lived.product.traffic(day)
            for _ in range(6):
                other.keeper.step(lived.body(), T0 + (day + 1) * DAY)
                lived.keeper.step(lived.body(), T0 + (day + 1) * DAY)
            lived.settle(T0 + (day + 1) * DAY)
        assert kinds(lived.decisions()) == kinds(whole.decisions())
        assert lived.events() == whole.events()


def test_a_turn_taken_by_another_operator_is_no_failure(api: KubernetesApi) -> None:
    lived = days(api)
    lived.settle(T0)
    inner = lived.product.servers.ensure

    def raced(wanted: Any) -> Any:
        lived.product.servers.ensure = inner  # type: ignore[method-assign]
        last = lived.turns().latest()
        lived.turns().commit(Turn(last.number + 1, T0, last.state, last.observed))
        return inner(wanted)

    lived.product.servers.ensure = raced  # type: ignore[assignment,method-assign]
    assert lived.keeper.step(lived.body(), T0) == Settings().retry_seconds
    assert lived.body()["status"]["phase"] != "Degraded"


def test_a_deleted_loop_leaves_what_serves_alone_unless_told_otherwise(api: KubernetesApi) -> None:
    lived = days(api)
    lived.settle(T0)
    routes = lived.product.router.routes
    assert lived.keeper.leave(lived.body())
    assert lived.product.router.routes == routes
    assert lived.turns().latest() is not None
    change = {"metadata": {"annotations": {"trimtab.dev/on-delete": "remove"}}}
    api.request("PATCH", f"{LOOPS}/m", change, "application/merge-patch+json")
    lived.keeper = lived.successor()
    assert lived.keeper.leave(lived.body())
    assert lived.product.router.routes.stable is None
    assert lived.turns().latest() is None


def test_a_loop_made_again_goes_on_where_it_was(api: KubernetesApi) -> None:
    lived = days(api)
    lived.live(3)
    before = lived.turns().latest()
    assert lived.keeper.leave(lived.body())
    api.request("DELETE", f"{LOOPS}/m")
    api.request("POST", LOOPS, model_loop())
    lived.keeper = lived.successor()
    lived.settle(T0 + 3 * DAY)
    state = LoopState.from_json(lived.turns().latest().state)
    assert state.champion == LoopState.from_json(before.state).champion == "1"
    assert lived.product.runner.started.count("training-1") == 1


def test_the_shipped_definition_takes_every_status_that_was_written(api: KubernetesApi, tmp_path: Path) -> None:
    """The schema prunes what it does not know, so a status read back is the status written."""
    lived = days(api)
    inner, written = lived.cluster.merge, []

    def merged(resource: Any, namespace: str, name: str, change: Any, status: bool = False) -> Any:
        found = inner(resource, namespace, name, change, status)
        written.append((change["status"], found["status"]))
        return found

    lived.cluster.merge = merged  # type: ignore[method-assign]
    lived.live()
    assert len(written) > 10

    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: bare(one) for key, one in value.items() if one is not None}
        return [bare(one) for one in value] if isinstance(value, list) else value

    assert all(bare(given) == kept for given, kept in written)


def test_a_wish_is_an_annotation_that_is_taken_up_once_and_answered(api: KubernetesApi) -> None:
    api.request("POST", LOOPS, model_loop())
    days = Days(api, NearCluster(api), Product())
    days.live(2)
    for text, kind in (("retrain", "retrain"), ("promote 9", "refuse"), ("retire", "refuse")):
        body = {"metadata": {"annotations": {"trimtab.dev/wish": text}}}
        api.request("PATCH", f"{LOOPS}/m", body, "application/merge-patch+json")
        seen = days.body()
        for _ in range(2):  # the second time with an object that is a moment old
            days.keeper.step(seen, T0 + 2 * DAY)
        assert "trimtab.dev/wish" not in days.body()["metadata"].get("annotations", {})
        told = [one for one in days.turns().newest_decisions(50) if one["kind"] == kind and one.get("wish")]
        assert len({one["wish"] for one in told}) == {"retrain": 1, "promote 9": 1, "retire": 2}[text]
        days.settle(T0 + 2 * DAY)
