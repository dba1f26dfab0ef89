"""Drift and quality of a loop as Prometheus is told them: what the newest turn knew, and nothing of before."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from operator_product import LOOPS, T0, NearCluster, Product, model_loop, with_definition

from trimtab.operator.keeper import Keeper
from trimtab.operator.metrics import Metrics
from trimtab.operator.settings import Settings
from trimtab.ports.turns import Turn
from trimtab.testing.kubernetes.server import KubernetesApi

LOOP = {"namespace": "shop", "name": "orders"}
MONITORING = {
    "verdict": "drifted",
    "drift": [
        {"feature": "weight", "drifted": True, "importance": 0.4},
        {"feature": "sex", "drifted": False, "importance": 0.3},
        {"feature": "unused", "drifted": True, "importance": 0.0},
    ],
}
QUALITY = {
    "live": {"recall": {"value": 0.7, "low": 0.6, "high": 0.8, "n": 90}},
    "holdout": {"recall": {"value": 0.9, "low": 0.8, "high": 1.0, "n": 300}},
    "version": "",
}


def _turn(champion: str | None = "3", **observed: Any) -> Turn:
    return Turn(1, datetime(2024, 1, 1, tzinfo=UTC), {"champion": champion}, observed)


def _value(metrics: Metrics, series: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(series, {**LOOP, **labels})


def _series(metrics: Metrics) -> int:
    return sum(sample.name.startswith("trimtab_loop_") for one in metrics.registry.collect() for sample in one.samples)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def test_drift_and_quality_are_told(metrics: Metrics) -> None:
    metrics.show("shop", "orders", _turn(monitoring=MONITORING, quality=QUALITY))
    assert _value(metrics, "trimtab_loop_drift_share") == 0.5
    assert _value(metrics, "trimtab_loop_quality", metric="recall", champion="3") == 0.7
    assert _value(metrics, "trimtab_loop_holdout_quality", metric="recall", champion="3") == 0.9


def test_numbers_of_before_go(metrics: Metrics) -> None:
    metrics.show("shop", "orders", _turn(monitoring=MONITORING, quality=QUALITY))
    metrics.show("shop", "other", _turn(monitoring=MONITORING, quality=QUALITY))
    metrics.show("shop", "orders", _turn("4", monitoring=None, quality={**QUALITY, "version": "4", "holdout": {}}))
    assert _value(metrics, "trimtab_loop_drift_share") is None
    assert _value(metrics, "trimtab_loop_quality", metric="recall", champion="3") is None
    assert _value(metrics, "trimtab_loop_quality", metric="recall", champion="4") == 0.7
    assert _value(metrics, "trimtab_loop_holdout_quality", metric="recall", champion="3") is None
    assert _value(metrics, "trimtab_loop_drift_share", name="other") == 0.5


@pytest.mark.parametrize(
    "observed",
    [
        {},
        {"monitoring": {**MONITORING, "verdict": "insufficient evidence"}},
        {"monitoring": {**MONITORING, "drift": []}, "quality": None},
        {"quality": {"live": {}, "holdout": {}, "version": ""}},
    ],
)
def test_what_is_not_known_has_no_number(metrics: Metrics, observed: dict[str, Any]) -> None:
    metrics.show("shop", "orders", _turn(**observed))
    assert _series(metrics) == 0


def test_a_loop_that_is_gone_leaves_no_series(metrics: Metrics) -> None:
    metrics.tell("shop", "orders", "Serving", 0, 1)
    metrics.show("shop", "orders", _turn(monitoring=MONITORING, quality=QUALITY))
    assert _series(metrics) > 3
    metrics.forget("shop", "orders")
    assert _series(metrics) == 0


@pytest.fixture
def api() -> Iterator[KubernetesApi]:
    with with_definition(KubernetesApi()) as api:
        yield api


def test_the_keeper_tells_them_at_each_turn(api: KubernetesApi) -> None:
    metrics, product, cluster = Metrics(), Product(), NearCluster(api)
    shown: list[Turn] = []
    metrics.show = lambda _namespace, _name, turn: shown.append(turn)  # type: ignore[method-assign]
    api.request("POST", LOOPS, model_loop())
    keeper = Keeper(cluster, lambda *given: product.world(cluster, *given), Settings(), metrics)
    keeper.step(api.request("GET", f"{LOOPS}/{product.name}"), T0)
    assert [turn.number for turn in shown] == [1]
