"""The turn store contract over a ConfigMap, and what only a cluster does to it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from trimtab.adapters.cluster import Cluster, ClusterError
from trimtab.adapters.turns.configmap import MOST_BYTES, ConfigMapTurns
from trimtab.errors import StorageFull, TurnTaken
from trimtab.ports.turns import Turn
from trimtab.testing.kubernetes.faults import Fault
from trimtab.testing.kubernetes.server import KubernetesApi
from trimtab.testing.turn_stores import TurnStoreSuite

NOON = datetime(2001, 2, 3, 12, tzinfo=UTC)


@pytest.fixture
def server() -> Iterator[KubernetesApi]:
    with KubernetesApi() as server:
        yield server


@pytest.fixture
def cluster(server: KubernetesApi) -> Cluster:
    cluster = Cluster.connect(url=server.url)
    cluster._pause = lambda _: None
    return cluster


@pytest.fixture
def store(cluster: Cluster) -> ConfigMapTurns:
    return ConfigMapTurns(cluster, "default", "mice")


class TestConfigMap(TurnStoreSuite):
    pass


def test_a_lost_answer_is_no_other_controller(server: KubernetesApi, store: ConfigMapTurns) -> None:
    for number in (1, 2):  # a create, then a replace
        server.faults.add(Fault(lambda call: call.verb in ("create", "update"), "abort after", times=1))
        store.commit(Turn(number, NOON, {"champion": str(number)}))
        assert store.latest().number == number
    server.faults.add(Fault(lambda call: call.verb == "update", "abort after", times=1))
    assert store.wish(NOON, "retrain", {}) == 1
    assert len(store.open_wishes()) == 1


def test_a_wish_that_comes_between_is_not_lost_and_costs_no_turn(
    server: KubernetesApi, cluster: Cluster, store: ConfigMapTurns
) -> None:
    store.commit(Turn(1, NOON, {}))
    other = ConfigMapTurns(Cluster.connect(url=server.url), "default", "mice")
    inner = cluster.replace
    asked: list[int] = []

    def slow(*given: Any) -> Any:
        if not asked:
            asked.append(other.wish(NOON, "retrain", {}))
        return inner(*given)

    cluster.replace = slow  # type: ignore[method-assign]
    store.commit(Turn(2, NOON, {}))
    assert [wish.number for wish in store.open_wishes()] == asked


def test_two_controllers_at_once_commit_each_turn_once(server: KubernetesApi, store: ConfigMapTurns) -> None:
    other = ConfigMapTurns(Cluster.connect(url=server.url), "default", "mice")
    store.commit(Turn(1, NOON, {"champion": "mine"}))
    with pytest.raises(TurnTaken):
        other.commit(Turn(1, NOON, {"champion": "theirs"}))
    assert other.latest().state == {"champion": "mine"}


def test_it_stays_below_what_the_api_server_takes(server: KubernetesApi, store: ConfigMapTurns) -> None:
    long = "é" * 20_000
    for number in range(1, 41):
        store.commit(Turn(number, NOON, {}, {}, [{"kind": "hold", "number": number, "sentence": long}]))
    (found,) = server.objects("/api/v1/namespaces/default/configmaps")
    assert sum(len(value.encode()) for value in found["data"].values()) <= MOST_BYTES
    kept = [one["number"] for one in store.newest_decisions(1000)]
    assert kept == list(range(40, 40 - len(kept), -1))
    assert len(kept) > 3
    with pytest.raises(StorageFull):
        store.commit(Turn(41, NOON, {"rejected": "x" * MOST_BYTES}))
    assert store.latest().number == 40


def test_an_api_server_that_only_errs_is_an_error_with_its_sentence(
    server: KubernetesApi, store: ConfigMapTurns
) -> None:
    fault = server.faults.add(Fault(lambda call: True, code=500))
    with pytest.raises(ClusterError, match=r"refused GET .*500"):
        store.latest()
    assert fault.happened == 4
    server.faults.clear()
    server.faults.add(Fault(lambda call: True, code=429, times=2))
    assert store.latest() is None
