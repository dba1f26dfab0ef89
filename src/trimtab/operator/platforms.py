"""What a cluster has besides itself: a gateway, KServe, Prometheus, Kubeflow Pipelines; and the adapters that follow.

Settings come from the operator's environment. What a loop wants and its router cannot do is refused here, when the loop
is taken up, and not in the middle of a release.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab.adapters.cluster import Cluster
from trimtab.errors import Refused
from trimtab.operator.accepting import LoopObject
from trimtab.ports.pipelines import PipelineRunner
from trimtab.ports.router import Router
from trimtab.ports.servers import ModelServers
from trimtab.spec.document import ModelLoop

if TYPE_CHECKING:
    from trimtab.adapters.kserve import Settings as KServeSettings
    from trimtab.adapters.router.prometheus import Evidence
    from trimtab.adapters.workloads import Place

ROUTERS = ("envoy", "gateway-api", "kserve-standard", "kserve-knative")
PIPELINES = ("job", "kubeflow")
_SOURCES = {"gateway-api": "servers", "kserve-standard": "servers", "kserve-knative": "knative"}


@dataclass(frozen=True)
class Platform:
    """`envoy` and `job` are the bare cluster's own. What trimtab sees at `storage_root` is `storage_uri` to KServe."""

    router: str = "envoy"
    pipelines: str = "job"
    prometheus_url: str = ""
    prometheus_token: str = ""  # a file
    metrics: str = ""  # a source of adapters/router/metric_sources.py; "" is the router's usual one
    gateway: str = ""  # NAMESPACE/NAME or NAMESPACE/NAME/LISTENER
    domain: str = ""  # loops answer at NAME.NAMESPACE.DOMAIN; "" is any host name
    marks_copies: bool = False  # the gateway appends -shadow to the host of a copy
    storage_root: str = ""
    storage_uri: str = ""
    serving_runtime: str = "trimtab-kserve"
    serving_account: str = ""
    payload_logger: bool = False  # KServe's logger tells of each call, instead of the servers' log on the volume
    kfp_url: str = ""
    kfp_namespace: str = ""
    kfp_account: str = ""


def platform_from_environment(environment: Mapping[str, str] | None = None) -> Platform:
    """Settings of the pod; raises Refused with every one that is missing or wrong."""
    found = os.environ if environment is None else environment
    given = {
        "router": "TRIMTAB_ROUTER",
        "pipelines": "TRIMTAB_PIPELINES",
        "prometheus_url": "TRIMTAB_PROMETHEUS_URL",
        "prometheus_token": "TRIMTAB_PROMETHEUS_TOKEN_FILE",
        "metrics": "TRIMTAB_METRICS",
        "gateway": "TRIMTAB_GATEWAY",
        "domain": "TRIMTAB_DOMAIN",
        "storage_root": "TRIMTAB_STORAGE_ROOT",
        "storage_uri": "TRIMTAB_STORAGE_URI",
        "serving_runtime": "TRIMTAB_SERVING_RUNTIME",
        "serving_account": "TRIMTAB_SERVING_ACCOUNT",
        "kfp_url": "TRIMTAB_KFP_URL",
        "kfp_namespace": "TRIMTAB_KFP_NAMESPACE",
        "kfp_account": "TRIMTAB_KFP_ACCOUNT",
    }
    values = {name: found[variable] for name, variable in given.items() if found.get(variable)}
    platform = Platform(
        **values,
        marks_copies=found.get("TRIMTAB_GATEWAY_MARKS_COPIES") == "true",
        payload_logger=found.get("TRIMTAB_KSERVE_LOGGER") == "true",
    )
    problems = _problems(platform)
    if problems:
        raise Refused("\n".join(problems))
    return platform


def _problems(platform: Platform) -> list[str]:
    from trimtab.adapters.router.metric_sources import SOURCES

    problems = []
    for name, value, known in (
        ("TRIMTAB_ROUTER", platform.router, ROUTERS),
        ("TRIMTAB_PIPELINES", platform.pipelines, PIPELINES),
        ("TRIMTAB_METRICS", platform.metrics or "servers", tuple(SOURCES)),
    ):
        if value not in known:
            problems.append(
                f"{name} must be one of {', '.join(known)}, found {value!r}. Mend the operator's environment"
            )
    wanted = {
        "TRIMTAB_PROMETHEUS_URL": (
            platform.router != "envoy",
            platform.prometheus_url,
            "counts what its versions answer",
        ),
        "TRIMTAB_GATEWAY": (platform.router == "gateway-api", platform.gateway, "is what its routes hang on"),
        "TRIMTAB_STORAGE_URI": (
            platform.router.startswith("kserve"),
            platform.storage_uri,
            "is where KServe finds bundles",
        ),
    }
    for name, (needed, value, why) in wanted.items():
        if needed and not value:
            problems.append(f"{name} is missing: with the router {platform.router} it {why}. Mend the environment")
    if platform.pipelines == "kubeflow" and not platform.kfp_url:
        problems.append("TRIMTAB_KFP_URL is missing: it is where Kubeflow Pipelines answers. Mend the environment")
    return problems


def serving_parts(
    cluster: Cluster, document: ModelLoop, home: Place, about: LoopObject, platform: Platform
) -> tuple[ModelServers | None, Router | None]:
    """Servers and router; None is the bare cluster's own. `home` is where the loop's pods run.

    Raises Refused for a release that the router cannot do.
    """
    from trimtab.adapters.router import gateway_api, kserve_knative, kserve_standard
    from trimtab.adapters.router.abilities import check

    if platform.router == "envoy":
        return None, None
    evidence = _evidence(platform, about)
    if platform.router == "gateway-api":
        from trimtab.adapters.router.http_route import Place as RoutePlace
        from trimtab.adapters.servers.kserve import KServeServers

        check(document.spec.release, gateway_api.abilities(platform.marks_copies))
        hosts = (f"{about.name}.{about.namespace}.{platform.domain}",) if platform.domain else ()
        seconds = document.spec.serving.limits.timeout.total_seconds()
        place = RoutePlace(about.name, about.namespace, about.name, platform.gateway, hosts, seconds)
        servers = KServeServers(cluster, _kserve(platform, home)) if platform.storage_uri else None
        return servers, gateway_api.GatewayApiRouter(cluster, place, evidence)
    if platform.router == "kserve-standard":
        check(document.spec.release, kserve_standard.ABILITIES)
        standard = kserve_standard.KServeStandard(cluster, _kserve(platform, home), evidence)
        return standard, standard
    check(document.spec.release, kserve_knative.ABILITIES)
    knative = kserve_knative.KServeKnative(cluster, _kserve(platform, home), evidence)
    return knative, knative


def pipeline_runner(about: LoopObject, platform: Platform, tracking_uri: str) -> PipelineRunner | None:
    """What runs pipelines; None is the bare cluster's own. Outputs come back through MLflow at `tracking_uri`."""
    if platform.pipelines == "job":
        return None
    from trimtab.adapters.pipelines.kfp_api import KfpClient
    from trimtab.adapters.pipelines.kubeflow import KubeflowRunner
    from trimtab.stages.reporting import said

    # MLflow's client waits for minutes for a server that is away; a turn must not, as it comes again.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    client = KfpClient(platform.kfp_url, platform.kfp_namespace)
    scope = f"{about.namespace}/{about.name}/{about.uid}"
    return KubeflowRunner(client, scope, about.name, partial(said, tracking_uri), platform.kfp_account)


def _evidence(platform: Platform, about: LoopObject) -> Evidence:
    from trimtab.adapters.router.metric_sources import SOURCES
    from trimtab.adapters.router.prometheus import Evidence, Prometheus

    token = Path(platform.prometheus_token) if platform.prometheus_token else None
    source = SOURCES[platform.metrics or _SOURCES[platform.router]]
    return Evidence(Prometheus(platform.prometheus_url, token), source, about.namespace)


def _kserve(platform: Platform, home: Place) -> KServeSettings:
    from trimtab.adapters.kserve import Settings
    from trimtab.adapters.servers.collector_deployment import address

    logs = home.home / "predictions"
    return Settings(
        home.loop,
        home.namespace,
        Path(platform.storage_root or "/"),
        platform.storage_uri,
        runtime=platform.serving_runtime,
        service_account=platform.serving_account,
        log_claim="" if platform.payload_logger else home.claim,
        log_path=logs.relative_to(home.root).as_posix(),
        payloads_url=f"http://{address(home)}/v1/payloads" if platform.payload_logger else "",
    )
