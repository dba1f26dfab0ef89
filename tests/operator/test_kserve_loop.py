"""The whole loop on KServe's Standard mode, with a real Prometheus: promotion, roll-back, hold while blind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from operator_product import DAY, SPEC, T0, Product

from trimtab.adapters.cluster import Cluster
from trimtab.adapters.kserve import Settings
from trimtab.adapters.router.kserve_standard import KServeStandard
from trimtab.adapters.router.metric_sources import SOURCES
from trimtab.adapters.router.prometheus import Evidence, Prometheus
from trimtab.adapters.turns.memory import MemoryTurns
from trimtab.loop.turn import Loop
from trimtab.operator.accepting import LoopObject
from trimtab.spec.document import ModelLoop
from trimtab.testing.kserve_controller import KServeController
from trimtab.testing.kubernetes.server import KubernetesApi
from trimtab.testing.prometheus_server import BINARY, MISSING, Watched

pytestmark = [pytest.mark.local, pytest.mark.skipif(BINARY is None, reason=MISSING)]
OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def definition(group: str, plural: str, kind: str, version: str) -> dict[str, Any]:
    """A CRD that takes everything; the published ones are in tests/contracts."""
    names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
    served = {"name": version, "served": True, "storage": True, "subresources": {"status": {}}}
    versions = [{**served, "schema": {"openAPIV3Schema": OPEN}}]
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": versions}
    return {"metadata": {"name": f"{plural}.{group}"}, "spec": spec}


class Seen(KServeStandard):
    """KServe's controllers look after every call."""

    kserve: KServeController

    def ensure(self, wanted: Any) -> Any:
        super().ensure(wanted)
        self.kserve.reconcile()
        return super().ensure(wanted)

    def apply(self, routes: Any) -> None:
        super().apply(routes)
        self.kserve.reconcile()
        super().apply(routes)


class Shop:
    """One loop; `day` sends sixty requests as KServe's route splits them, and lets Prometheus read the servers."""

    def __init__(self, api: KubernetesApi, watched: Watched) -> None:
        self.product, self.watched = Product(), watched
        self.cluster = Cluster.connect(url=api.url)
        settings = Settings("m", "shop", Path(), "s3://bucket")
        evidence = Evidence(Prometheus(watched.url), SOURCES["servers"], "shop", stale_seconds=30.0)
        self.kserve = KServeController(api, "shop")
        self.servers = Seen(self.cluster, settings, evidence)
        self.servers.kserve = self.kserve
        document = ModelLoop.model_validate(
            {
                "apiVersion": "trimtab.dev/v1alpha1",
                "kind": "ModelLoop",
                "metadata": {"name": "m"},
                "spec": {**SPEC, "release": {**SPEC["release"], "shadow": False}},  # type: ignore[dict-item]
            }
        )
        about = LoopObject("m", "shop", "uid")
        world = self.product.world(self.cluster, document, about)
        parts = {"servers": self.servers, "router": self.servers, "turns": MemoryTurns()}
        self.loop = Loop(document, replace(world, **parts))  # type: ignore[arg-type]
        self.answered: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.failing: set[str] = set()
        self.told: list[dict[str, Any]] = []
        self.settle(T0)

    def settle(self, now: datetime) -> None:
        self.loop.settle(now, lambda turn: self.told.extend(dict(one) for one in turn.decisions), 120)

    def day(self, day: int) -> list[str]:
        """One day; the kinds of what was decided in it."""
        before = len(self.told)
        shares = self.kserve.shares[-1]
        order = sorted(shares, key=lambda version: -shares[version])
        for number in range(60):
            version = order[0] if len(order) == 1 or number % 100 / 0.6 < shares[order[0]] else order[1]
            self.send(day, number, version)
        self.scrape()
        self.settle(T0 + (day + 1) * DAY)
        return [one["kind"] for one in self.told[before:] if one["kind"] not in ("alarm", "all-clear", "wait")]

    def send(self, day: int, number: int, version: str) -> None:
        id_, time = f"{day}-{number}", T0 + day * DAY + timedelta(minutes=number)
        if version in self.failing:
            self.failed[version] += 1
            return
        self.answered[version] += 1
        right = version != "1" or day < 6 or number % 2 == 0
        record = {"id": id_, "time": time.isoformat(), "version": version, "shadow": False, "attempt": 1}
        said = {"protocol": "v1", "features": "{}", "scores": None, "latency_ms": 1.0}
        self.product.predictions.append([{**record, **said, "prediction": "a" if right else "b"}])
        self.product.labels.append([{"id": id_, "label": "a", "time": (time + DAY).isoformat(), "source": "file"}])

    def scrape(self) -> None:
        """Every version that may run says its counts, and Prometheus reads them if it lives."""
        versions = [str(number) for number in range(1, len(self.product.registry.versions) + 2)]
        metrics: dict[str, float] = {}
        for version in versions:
            labels = f'model="m",version="{version}"'
            metrics[f"trimtab_model_info{{{labels}}}"] = 1
            metrics[f'trimtab_requests_total{{{labels},shadow="false"}}'] = self.answered[version]
            metrics[f'trimtab_unanswered_total{{{labels},status="500"}}'] = self.failed[version]
        self.watched.tell(metrics)
        if self.watched.process.poll() is None:
            for series, value in metrics.items():
                self.watched.seen(series, value)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    watched = Watched(tmp_path)
    with KubernetesApi() as api:
        api.request("POST", "/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": "shop"}})
        for one in (
            ("serving.kserve.io", "inferenceservices", "InferenceService", "v1beta1"),
            ("gateway.networking.k8s.io", "httproutes", "HTTPRoute", "v1"),
            ("serving.knative.dev", "revisions", "Revision", "v1"),
        ):
            api.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition(*one))
        found = Shop(api, watched)
        yield found
        found.cluster.close()
    watched.close()


def until_canary(shop: Shop) -> int:
    """Live until a candidate has its share; the next day."""
    for day in range(16):
        shop.day(day)
        release = shop.loop.state().release
        if release is not None and release.candidate_percent:
            return day + 1
    raise AssertionError([one["sentence"] for one in shop.told])


def test_a_better_version_is_promoted_and_kserve_loses_nothing(shop: Shop) -> None:
    day = until_canary(shop)
    assert shop.kserve.shares[-1] == {"1": 50, "2": 50}
    while shop.loop.state().release is not None:
        shop.day(day)
        day += 1
        assert day < 20
    assert shop.loop.state().champion == "2"
    shop.day(day)
    assert shop.kserve.shares[-1] == {"2": 100}
    assert (shop.kserve.lost, shop.kserve.restarted) == ([], [])


def test_failures_that_only_prometheus_knows_of_end_a_release(shop: Shop) -> None:
    day = until_canary(shop)
    shop.failing.add("2")  # none of its requests reaches the prediction log
    assert shop.day(day) == ["roll-back"]
    said = next(one for one in shop.told if one["kind"] == "roll-back")["sentence"]
    assert "failed (100 %)" in said
    assert shop.kserve.shares[-1] == {"1": 100}


def test_without_prometheus_nothing_is_promoted_and_it_is_said(shop: Shop) -> None:
    day = until_canary(shop)
    shop.watched.kill()
    kinds = [kind for number in range(day, day + 5) for kind in shop.day(number)]
    assert kinds == ["hold"]
    said = next(one for one in shop.told if one["kind"] == "hold")["sentence"]
    assert "nothing moves on blind: Prometheus at" in said
    assert shop.kserve.shares[-1] == {"1": 50, "2": 50}
    shop.watched.start()
    kinds = [kind for number in range(day + 5, day + 8) for kind in shop.day(number)]
    assert "promote" in kinds


def test_a_version_that_kserve_never_gets_ready_is_rolled_back_and_the_champion_serves_on(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.kserve.pending.add("2")

    def turns(now: datetime) -> None:  # settling would wait for a server that never comes
        for _ in range(6):
            shop.told.extend(dict(one) for one in shop.loop.turn(now).decisions)

    monkeypatch.setattr(shop, "settle", turns)
    kinds: list[str] = []
    for day in range(12):
        kinds += shop.day(day)
        if "roll-back" in kinds:  # later the cause may start another run
            break
    assert kinds == ["retrain", "start", "roll-back"]
    said = next(one for one in shop.told if one["kind"] == "roll-back")["sentence"]
    assert "Version 2 is rolled back: its server has not been ready for 1d" in said
    assert (shop.loop.state().champion, shop.kserve.shares[-1]) == ("1", {"1": 100})
