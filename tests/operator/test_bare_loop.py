"""The whole loop on a bare cluster: kubectl apply, and then it trains, serves, watches, retrains and releases."""

import copy
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("kopf", reason="kopf is not installed")

from bare_cluster import LOOP, BareCluster, Clients
from operator_product import LOOPS

from trimtab.testing.kubernetes.widgets import until


def wait(cluster: BareCluster, test: Callable[[], bool], seconds: float = 120) -> None:
    """Look until it is so; on failure everything is told."""
    try:
        until(test, seconds)
    except AssertionError:
        raise AssertionError(cluster.told()) from None


def serving(cluster: BareCluster, champion: str) -> Callable[[], bool]:
    def test() -> bool:
        found = cluster.status()
        ready = any(one["type"] == "Ready" and one["status"] == "True" for one in found.get("conditions") or ())
        return found.get("champion") == champion and ready

    return test


@pytest.mark.local
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_loop_lives_on_a_bare_cluster_though_its_operator_is_killed(tmp_path: Path) -> None:
    with BareCluster(tmp_path) as cluster:
        first = cluster.start()
        cluster.api.request("POST", LOOPS, copy.deepcopy(LOOP))
        wait(cluster, lambda: "rows are not there yet" in cluster.status().get("message", ""))
        cluster.give_rows()
        wait(cluster, lambda: bool(cluster.named("jobs", "job")))
        os.kill(first.pid, signal.SIGKILL)  # while version 1 trains
        first.wait()
        cluster.start()
        wait(cluster, serving(cluster, "1"))
        wait(cluster, lambda: len(cluster.named("pods", "collector")) == 1 and bool(cluster.door()))
        with Clients(cluster) as clients:
            wait(cluster, lambda: clients.answers["1"] > 30)
            clients.lost.clear()  # from here on the door is open
            clients.turned = True
            wait(cluster, lambda: cluster.status().get("champion") not in ("1", None), 240)
            second = str(cluster.status()["champion"])
            wait(cluster, serving(cluster, second))
            wait(cluster, lambda: clients.answers[second] > 100)
            wait(cluster, lambda: len(cluster.named("deployments", "model")) == 1, 60)
        assert not clients.lost
        reasons = cluster.reasons()
        assert {"Retrain", "Start", "Step", "Alarm"} <= set(reasons)
        assert reasons.count("Promote") == 2
        assert "RollBack" not in reasons
        assert cluster.status()["phase"] == "Serving"
        assert not cluster.node.troubles
