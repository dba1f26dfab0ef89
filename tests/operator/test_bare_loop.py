"""The whole loop on a bare cluster: kubectl apply, and then it trains, serves, watches, retrains and releases."""

import copy
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

pytest.importorskip("kopf", reason="kopf is not installed")

from bare_cluster import LOOP, SERVER_IMAGE, BareCluster, Clients
from operator_product import LOOPS

from trimtab.testing.envoy_world import ask
from trimtab.testing.kubernetes.faults import Fault
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


def served(cluster: BareCluster) -> None:
    """Version 1 serves, and requests and labels come through."""
    cluster.give_rows()
    cluster.start()
    cluster.api.request("POST", LOOPS, copy.deepcopy(LOOP))
    wait(cluster, serving(cluster, "1"))
    wait(cluster, lambda: answered(cluster))


def answered(cluster: BareCluster) -> bool:
    body = json.dumps({"instances": [{"x": 1.0, "noise": 0.0}]}).encode()
    try:
        status, answer, _ = ask(cluster.door(), "POST", "/v1/models/signs:predict", body)
        labels = ask(cluster.door(), "POST", "/v1/feedback", b"{}", headers={"content-type": "application/json"})[0]
    except (OSError, ValueError):
        return False
    # Refused by the collector, and not by the router for want of one.
    return status == 200 and answer["predictions"] == ["plus"] and labels in (400, 422)


def wish(cluster: BareCluster, kind: str) -> None:
    """As a person does with `kubectl annotate`."""
    body = {"metadata": {"annotations": {"trimtab.dev/wish": kind}}}
    cluster.api.request("PATCH", f"{LOOPS}/signs", body, "application/merge-patch+json")


@pytest.mark.local
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_image_that_cannot_be_pulled_is_rolled_back_and_an_edit_in_between_harms_nothing(tmp_path: Path) -> None:
    with BareCluster(tmp_path, TRIMTAB_SERVER_SECONDS="8") as cluster:
        served(cluster)
        with Clients(cluster) as clients:
            wait(cluster, lambda: clients.answers["1"] > 10)
            clients.lost.clear()
            cluster.images.remove(SERVER_IMAGE)
            wish(cluster, "retrain")
            wait(cluster, lambda: cluster.status().get("challenger") == "2")
            edit = {"spec": {"release": {"steps": [10, 50]}}}
            cluster.api.request("PATCH", f"{LOOPS}/signs", edit, "application/merge-patch+json")
            wait(cluster, lambda: "RollBack" in cluster.reasons())
            wait(cluster, lambda: cluster.status()["observedGeneration"] == 2)
            (said,) = [one["message"] for one in cluster.events() if one["reason"] == "RollBack"]
            assert "ImagePullBackOff" in said
            assert SERVER_IMAGE in said
            wait(cluster, lambda: len(cluster.named("deployments", "model")) == 1, 60)
            before = clients.answers["1"]
            wait(cluster, lambda: clients.answers["1"] > before + 20)
        assert not clients.lost
        assert set(clients.answers) == {"1"}
        assert cluster.status()["champion"] == "1"


@pytest.mark.local
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_loop_that_is_deleted_while_it_trains_serves_on_and_may_come_back_or_go(tmp_path: Path) -> None:
    with BareCluster(tmp_path) as cluster:
        served(cluster)
        runs = set(cluster.named("jobs", "job"))
        wish(cluster, "retrain")
        wait(cluster, lambda: bool(set(cluster.named("jobs", "job")) - runs))
        cluster.api.request("DELETE", f"{LOOPS}/signs")
        wait(cluster, lambda: not cluster.api.objects(LOOPS))
        wait(cluster, lambda: not cluster.named("jobs", "job") and not cluster.node.of("signs-run"))
        assert answered(cluster)
        cluster.api.request("POST", LOOPS, copy.deepcopy(LOOP))
        wait(cluster, lambda: "Promote" in cluster.reasons() and cluster.status().get("champion") in ("1", "2"))
        assert answered(cluster)
        note = {"metadata": {"annotations": {"trimtab.dev/on-delete": "remove"}}}
        cluster.api.request("PATCH", f"{LOOPS}/signs", note, "application/merge-patch+json")
        cluster.api.request("DELETE", f"{LOOPS}/signs")
        wait(cluster, lambda: not cluster.api.objects(LOOPS))
        wait(cluster, lambda: not cluster.api.objects("/api/v1/pods"))
        assert not cluster.api.objects("/apis/apps/v1/deployments")
        assert not cluster.api.objects("/api/v1/services")
        assert not cluster.api.objects("/api/v1/configmaps")
        assert (cluster.volume / "default" / "signs" / "artifacts").is_dir()  # what was learned is not thrown away
        assert cluster.asked() <= rights()


@pytest.mark.local
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_api_server_that_errs_at_every_turn_is_outlasted(tmp_path: Path) -> None:
    with BareCluster(tmp_path) as cluster:
        writes = ("create", "update", "patch", "delete")
        ours = ("jobs", "deployments", "services", "configmaps", "pods", "modelloops")
        hits = [(429, 6), (500, 11)]  # every so many calls; these are asked again
        faults = [
            Fault(lambda call, nth=nth: call.plural in ours and call.number % nth == 0, code=code, times=15)  # type: ignore[misc]
            for code, nth in hits
        ]
        faults.append(Fault(lambda call: call.plural in ours[:4] and call.verb in writes, code=409, times=4))
        faults.append(Fault(lambda call: call.verb in writes and call.number % 5 == 0, "abort after", times=6))
        for fault in faults:
            cluster.api.faults.add(fault)
        cluster.give_rows()
        cluster.start()
        cluster.api.request("POST", LOOPS, copy.deepcopy(LOOP))
        wait(cluster, lambda: bool(cluster.named("jobs", "job")))
        cluster.api.expire()  # 410 Gone to whoever watches from before
        cluster.api.cut()
        wait(cluster, serving(cluster, "1"), 240)
        assert [fault.happened for fault in faults] == [15, 15, 4, 6]
        wait(cluster, lambda: answered(cluster))
        assert len(cluster.named("jobs", "job")) <= 2  # the training, and perhaps a first look at the data since
        assert cluster.reasons().count("Promote") == 1


def rights() -> set[tuple[str, str, str]]:
    """(group, resource, verb) of what the chart lets the operator do in a namespace and with its lease."""
    text = (Path(__file__).parents[2] / "helm/trimtab/templates/_rules.tpl").read_text()
    plain = [line for line in text.splitlines() if "{{" not in line]
    lease = [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create", "get", "update"]}]
    return {
        (group, resource, verb)
        for rule in [*yaml.safe_load("\n".join(plain)), *lease]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
