"""A loop of the operator whose logs are in an S3-compatible store, which goes away in the middle of a canary."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from s3_process import S3Server

pytest.importorskip("kopf", reason="kopf is not installed")
sys.path[:0] = [str(Path(__file__).parents[1] / "operator")]

from bare_cluster import LOOP, BareCluster, Clients  # noqa: E402

from trimtab.testing.kubernetes.widgets import until  # noqa: E402

MERGE = "application/merge-patch+json"


def wait(cluster: BareCluster, test: Callable[[], bool], seconds: float = 120) -> None:
    try:
        until(test, seconds)
    except AssertionError:
        raise AssertionError(cluster.told()) from None


def degraded(cluster: BareCluster) -> tuple[str, str]:
    """Reason and message of the condition."""
    found = {one["type"]: one for one in cluster.status().get("conditions") or ()}
    return found["Degraded"]["reason"], found["Degraded"]["message"]


def patch(cluster: BareCluster, **notes: str) -> None:
    body = {"metadata": {"annotations": {f"trimtab.dev/{key}": value for key, value in notes.items()}}}
    cluster.api.request("PATCH", f"{cluster.loops}/signs", body, MERGE)


@pytest.mark.local
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_release_holds_while_the_store_is_away_and_goes_on_when_it_is_back(
    s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    entries = json.dumps([{"name": key, "value": value} for key, value in s3.environment.items()])
    told = {**s3.environment, "TRIMTAB_RECORD_STORE": f"s3://{bucket}/logs", "TRIMTAB_POD_ENV": entries}
    loop = copy.deepcopy(LOOP)
    loop["spec"]["release"] |= {"stepLeast": "8s", "evidence": {"leastRequests": 10, "leastLabels": 10}}
    loop["spec"]["monitoring"]["every"] = "1h"
    with BareCluster(tmp_path, **told) as cluster:
        cluster.give_rows()
        operator = cluster.start()
        cluster.api.request("POST", cluster.loops, loop)
        wait(cluster, lambda: cluster.status().get("champion") == "1" and bool(cluster.door()))
        with Clients(cluster) as clients:
            wait(cluster, lambda: clients.answers["1"] > 10)
            clients.lost.clear()
            patch(cluster, wish="retrain")
            wait(cluster, lambda: clients.answers["2"] > 3)
            s3.gate.shut()
            try:
                wait(cluster, lambda: degraded(cluster)[0] == "Blind")
                said = degraded(cluster)[1]
                assert f"s3://{bucket}/logs/default/signs" in said
                assert "NETWORK_CONNECTION" in said
                wait(cluster, lambda: (cluster.status()["release"] or {})["message"] == "waits for: blind")
                seen = clients.answers["2"]
                wait(cluster, lambda: clients.answers["2"] > seen + 20)  # more than enough to be promoted by
                assert cluster.status()["champion"] == "1"
                assert "AWS_SECRET" not in json.dumps(cluster.status())
            finally:
                s3.gate.open()
            wait(cluster, lambda: cluster.status().get("champion") == "2")
            wait(cluster, lambda: degraded(cluster)[0] != "Blind")
        assert not clients.lost
        assert operator.poll() is None
        assert not any(
            one.get("restartCount")
            for pod in cluster.api.objects("/api/v1/pods")
            for one in pod["status"].get("containerStatuses") or ()
        )
        assert "RollBack" not in cluster.reasons()
