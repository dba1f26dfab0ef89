"""Kubeflow Pipelines is away for an hour, seen through an operator with a turned clock: nothing fails or doubles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from operator_product import DAY, LOOPS, T0, NearCluster, Product, model_loop, with_definition
from test_keeper import Days, kinds

from trimtab.adapters.cluster import Cluster
from trimtab.adapters.pipelines.kfp_api import KfpClient
from trimtab.adapters.pipelines.kubeflow import REPORT_AS, KubeflowRunner
from trimtab.loop.world import World
from trimtab.operator.accepting import LoopObject
from trimtab.spec.document import ModelLoop
from trimtab.testing.kfp_api import KfpApi
from trimtab.testing.kubernetes.server import KubernetesApi

pytestmark = pytest.mark.local
PIPELINES = Path(__file__).parents[2] / "pipelines"
MINUTE = timedelta(minutes=1)


class OnKfp(Product):
    """A product whose runs are KFP's; `holds`: trainings stay under way until `end`."""

    def __init__(self, kfp: KfpApi) -> None:
        super().__init__()
        self.kfp, self.now, self.holds = kfp, T0, False
        self.said: dict[str, Any] = {}
        kfp.on_run = lambda run: None if self.holds else self.end(run)

    def world(self, cluster: Cluster, document: ModelLoop, about: LoopObject) -> World:
        """Only the runner is another one."""
        client = KfpClient(self.kfp.url, timeout_seconds=5.0)
        runner = KubeflowRunner(client, "default/m/1", "m", self.said.get, clock=self._clock)
        return replace(
            super().world(cluster, document, about),
            runner=runner,
            training_pipeline=PIPELINES / "training-pipeline.yaml",
            monitoring_pipeline=PIPELINES / "monitoring-pipeline.yaml",
        )

    def _clock(self) -> float:
        return self.now.timestamp()

    def end(self, run: dict[str, Any]) -> None:
        """The run does its work and says its outputs."""
        parameters = run["runtime_config"]["parameters"]
        training = "as_of" in parameters
        self.said[parameters[REPORT_AS]] = (self._train if training else self._monitor)(parameters)
        self.kfp.finish(run["run_id"])


class Hours(Days):
    """Steps a minute of the turned clock."""

    product: OnKfp

    def minutes(self, begin: datetime, count: int) -> datetime:
        for minute in range(count):
            self.product.now = begin + minute * MINUTE
            self.keeper.step(self.body(), self.product.now)
        return begin + count * MINUTE

    def trainings(self) -> list[dict[str, Any]]:
        return [run for run in self.product.kfp.runs.values() if "as_of" in run["runtime_config"]["parameters"]]

    def wish(self) -> None:
        body = {"metadata": {"annotations": {"trimtab.dev/wish": "retrain"}}}
        self.api.request("PATCH", f"{LOOPS}/m", body, "application/merge-patch+json")


@pytest.fixture
def hours() -> Iterator[Hours]:
    with with_definition(KubernetesApi()) as api, KfpApi() as kfp:
        api.request("POST", LOOPS, model_loop())
        found = Hours(api, NearCluster(api), OnKfp(kfp))
        found.live(2)
        assert found.body()["status"]["champion"] == "1"
        yield found


def served_on(hours: Hours) -> None:
    """What served serves, and the loop is not called broken."""
    status = hours.body()["status"]
    assert (status["champion"], status["phase"]) == ("1", "Serving")
    assert hours.product.router.routes.stable is not None
    conditions = {one["type"]: one for one in status["conditions"]}
    assert conditions["Degraded"]["status"] == "False"
    assert conditions["Progressing"]["status"] == "True"
    assert "503" in conditions["Progressing"]["message"]


def test_a_run_that_is_asked_for_meanwhile_is_started_once_when_it_is_back(hours: Hours) -> None:
    hours.product.kfp.failing = 503
    hours.wish()
    now = hours.minutes(T0 + 2 * DAY + MINUTE, 60)
    served_on(hours)
    assert len(hours.trainings()) == 1  # the first one's
    hours.keeper = hours.successor()  # and the operator dies as well
    hours.product.kfp.failing = 0
    now = hours.minutes(now, 4)
    assert len(hours.trainings()) == 2
    assert hours.body()["status"]["challenger"] == "2"
    told = kinds(hours.decisions())
    assert told.count("retrain") == 2
    assert "reject" not in told


def test_a_run_that_ends_meanwhile_is_taken_up_when_it_is_back(hours: Hours) -> None:
    hours.product.holds = True
    hours.wish()
    now = hours.minutes(T0 + 2 * DAY + MINUTE, 3)
    (run,) = [one for one in hours.trainings() if one.get("state") != "SUCCEEDED"]
    hours.product.kfp.failing = 503
    now = hours.minutes(now, 20)
    hours.product.end(run)
    now = hours.minutes(now, 40)
    served_on(hours)
    hours.product.kfp.failing = 0
    hours.minutes(now, 3)
    assert len(hours.trainings()) == 2
    assert hours.body()["status"]["challenger"] == "2"
    assert "reject" not in kinds(hours.decisions())


def test_an_answer_that_is_lost_when_it_goes_away_makes_no_second_run(hours: Hours) -> None:
    hours.product.kfp.cuts["POST", "runs"] = ("after", 1)
    hours.wish()
    now = hours.minutes(T0 + 2 * DAY + MINUTE, 2)
    hours.product.kfp.failing = 503
    now = hours.minutes(now, 60)
    hours.product.kfp.failing = 0
    hours.minutes(now, 4)
    assert len(hours.trainings()) == 2
    assert hours.body()["status"]["challenger"] == "2"
