"""An operator that is killed at some API call, over the real adapters of a bare cluster: no decision changes.

Which calls is drawn with a seed, so that all of a life's thousand calls come up over time: TRIMTAB_KILL_SEED names
another one, TRIMTAB_KILLS how many. test_keeper does it with servers in memory at every fifth call.
"""

from __future__ import annotations

import os
import random
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from operator_product import LOOPS, NearCluster, model_loop, with_definition
from still_cluster import StillProduct
from test_keeper import Days, kinds

from trimtab.testing.kubernetes.server import KubernetesApi

SEED, KILLS = int(os.environ.get("TRIMTAB_KILL_SEED", "1")), int(os.environ.get("TRIMTAB_KILLS", "40"))
LIVED_DAYS = 15


class StillDays(Days):
    """Days on a cluster that acts between two steps of the operator."""

    product: StillProduct

    def settle(self, now: datetime, most: int = 60) -> None:
        self.product.now = now
        super().settle(now, most)

    def successor(self) -> Any:
        keeper = super().successor()
        inner = keeper.step

        def step(body: Any, at: datetime) -> float:
            self.product.act()
            return inner(body, at)

        keeper.step = step  # type: ignore[method-assign]
        return keeper


def lived(
    folder: Path, patch: pytest.MonkeyPatch, dies_at: int = 0, after: bool = False
) -> tuple[StillDays, KubernetesApi]:
    api = with_definition(KubernetesApi())  # never served: everything is near
    api.request("POST", LOOPS, model_loop())
    days = StillDays(api, NearCluster(api, dies_at, after), StillProduct(api, folder, patch))
    days.live(LIVED_DAYS)
    return days, api


def left(api: KubernetesApi) -> dict[str, list[str]]:
    """Names of what the adapters made and keep, by kind."""
    paths = {
        "Deployment": "/apis/apps/v1/deployments",
        "Service": "/api/v1/services",
        "Job": "/apis/batch/v1/jobs",
        "ConfigMap": "/api/v1/configmaps",
    }
    return {kind: sorted(one["metadata"]["name"] for one in api.objects(path)) for kind, path in paths.items()}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_kill_at_any_call_changes_nothing_that_was_decided_made_or_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, api = lived(tmp_path / "whole", monkeypatch)
    told = [kind for kind in kinds(whole.decisions()) if kind not in ("alarm", "all-clear", "wait")]
    assert told == ["retrain", "promote", "retrain", "start", "step", "promote"]
    expected, events, calls = kinds(whole.decisions()), whole.events(), whole.cluster.calls
    objects = left(api)
    assert calls > 400
    drawn = random.Random(SEED)
    for at in sorted(drawn.sample(range(1, calls), KILLS)):
        after = drawn.random() < 0.5
        found, fresh = lived(tmp_path / str(at), monkeypatch, at, after)
        where = f"call {at}, {'after' if after else 'before'} its effect (TRIMTAB_KILL_SEED={SEED})"
        assert found.deaths == 1, where
        assert kinds(found.decisions()) == expected, where
        assert found.events() == events, where
        assert left(fresh) == objects, where
        assert len(found.product.started_runs) == len(set(found.product.started_runs)) == 2, where
        assert found.body()["status"]["champion"] == "2", where
