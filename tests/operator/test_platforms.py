"""Which adapters a cluster's settings give, and what is refused when a loop is taken up."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from operator_product import model_loop

from trimtab.adapters.cluster import Cluster
from trimtab.adapters.pipelines.kubeflow import KubeflowRunner
from trimtab.adapters.router.gateway_api import GatewayApiRouter
from trimtab.adapters.router.kserve_knative import KServeKnative
from trimtab.adapters.router.kserve_standard import KServeStandard
from trimtab.adapters.servers.kserve import KServeServers
from trimtab.errors import Refused
from trimtab.operator.accepting import LoopObject
from trimtab.operator.bare import BareSettings
from trimtab.operator.platforms import pipeline_runner, platform_from_environment, serving_parts
from trimtab.spec.document import ModelLoop
from trimtab.testing.kfp_api import KfpApi

ABOUT = LoopObject("shop", "rodents", "4711")
PROMETHEUS = {"TRIMTAB_PROMETHEUS_URL": "http://prometheus:9090"}
STORAGE = {"TRIMTAB_STORAGE_URI": "s3://bucket/models", "TRIMTAB_STORAGE_ROOT": "/artifacts"}
NO_SHADOW = {"steps": [50], "shadow": False}


def parts(environment: dict[str, str], **release: Any) -> tuple[Any, Any]:
    document = ModelLoop.model_validate(model_loop("rodents", release=release or NO_SHADOW))
    platform = platform_from_environment(environment)
    home = BareSettings(image="i:1", claim="disk", namespace="shop", volume=Path("/volume")).place(ABOUT)
    return serving_parts(Cluster.connect(url="http://127.0.0.1:1"), document, home, ABOUT, platform)


def test_a_bare_cluster_has_its_own() -> None:
    assert parts({}) == (None, None)
    assert pipeline_runner(ABOUT, platform_from_environment({}), "http://mlflow") is None


@pytest.mark.parametrize(
    ("environment", "servers", "router"),
    [
        ({"TRIMTAB_ROUTER": "gateway-api", "TRIMTAB_GATEWAY": "infra/public"}, type(None), GatewayApiRouter),
        (
            {"TRIMTAB_ROUTER": "gateway-api", "TRIMTAB_GATEWAY": "infra/public", **STORAGE},
            KServeServers,
            GatewayApiRouter,
        ),
        ({"TRIMTAB_ROUTER": "kserve-standard", **STORAGE}, KServeStandard, KServeStandard),
        ({"TRIMTAB_ROUTER": "kserve-knative", **STORAGE}, KServeKnative, KServeKnative),
    ],
)
def test_routers(environment: dict[str, str], servers: type, router: type) -> None:
    found = parts({**PROMETHEUS, **environment})
    assert (type(found[0]), type(found[1])) == (servers, router)
    if servers is router:
        assert found[0] is found[1]


@pytest.mark.parametrize("router", ["gateway-api", "kserve-standard", "kserve-knative"])
def test_a_shadow_that_nobody_can_send_is_refused_when_the_loop_is_taken_up(router: str) -> None:
    environment = {**PROMETHEUS, **STORAGE, "TRIMTAB_ROUTER": router, "TRIMTAB_GATEWAY": "infra/public"}
    with pytest.raises(Refused, match=r"spec.release.shadow: true wants a copy"):
        parts(environment, steps=[50])
    with pytest.raises(Refused, match=r"strategy: shadow wants a copy"):
        parts(environment, strategy="shadow")


def test_a_gateway_that_marks_copies_takes_a_shadow() -> None:
    environment = {"TRIMTAB_ROUTER": "gateway-api", "TRIMTAB_GATEWAY": "g", "TRIMTAB_GATEWAY_MARKS_COPIES": "true"}
    assert parts({**PROMETHEUS, **environment}, steps=[50])[1] is not None


def test_a_silent_mlflow_holds_up_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    platform = platform_from_environment({"TRIMTAB_PIPELINES": "kubeflow", "TRIMTAB_KFP_URL": "http://127.0.0.1:1"})
    with KfpApi() as api:
        runner = pipeline_runner(ABOUT, replace(platform, kfp_url=api.url), "http://127.0.0.1:1")
        assert runner is not None
        began = time.monotonic()
        view = runner.look("training-1")
    assert view is not None
    assert (view.state, "could not be read" in view.reason) == ("RUNNING", True)
    assert time.monotonic() - began < 30


def test_kubeflow() -> None:
    platform = platform_from_environment({"TRIMTAB_PIPELINES": "kubeflow", "TRIMTAB_KFP_URL": "http://127.0.0.1:1"})
    runner = pipeline_runner(ABOUT, platform, "http://mlflow")
    assert isinstance(runner, KubeflowRunner)
    assert runner.report_key("training-1") == "shop/rodents/4711/training-1"


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"TRIMTAB_ROUTER": "istio"}, "one of envoy, gateway-api, kserve-standard, kserve-knative, found 'istio'"),
        ({"TRIMTAB_PIPELINES": "argo"}, "one of job, kubeflow, found 'argo'"),
        ({"TRIMTAB_METRICS": "linkerd"}, "one of servers, istio, knative"),
        ({"TRIMTAB_ROUTER": "gateway-api", **PROMETHEUS}, "TRIMTAB_GATEWAY is missing"),
        ({"TRIMTAB_ROUTER": "kserve-knative", **STORAGE}, "TRIMTAB_PROMETHEUS_URL is missing"),
        ({"TRIMTAB_ROUTER": "kserve-standard", **PROMETHEUS}, "TRIMTAB_STORAGE_URI is missing"),
        ({"TRIMTAB_PIPELINES": "kubeflow"}, "TRIMTAB_KFP_URL is missing"),
    ],
)
def test_settings_that_cannot_be(environment: dict[str, str], words: str) -> None:
    with pytest.raises(Refused, match=words):
        platform_from_environment(environment)


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(Refused) as refused:
        platform_from_environment({"TRIMTAB_ROUTER": "gateway-api", "TRIMTAB_PIPELINES": "kubeflow"})
    assert len(str(refused.value).splitlines()) == 3
