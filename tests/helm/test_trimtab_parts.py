"""The chart of the operator: values choose routers, pipelines and stores, and ports follow them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from rendering import NAMESPACE, ROOT, of_kind, rendered
from switches import GATEWAY, KSERVE, KUBEFLOW

from trimtab.adapters import kserve
from trimtab.operator.platforms import Platform, platform_from_environment
from trimtab.ports.servers import ServerRequest

Json = dict[str, Any]


def _operator(objects: tuple[Json, ...]) -> Json:
    (found,) = [one for one in of_kind(objects, "Deployment") if one["metadata"]["name"] == "r-trimtab"]
    pod: Json = found["spec"]["template"]["spec"]
    return pod


def _told(objects: tuple[Json, ...]) -> dict[str, str]:
    (container,) = _operator(objects)["containers"]
    return {one["name"]: one["value"] for one in container["env"] if "value" in one}


def test_every_setting_of_the_platform_has_a_value(executable: str) -> None:
    """From values to the environment to what the operator understands."""
    values = {
        **GATEWAY,
        **KUBEFLOW,
        "router.domain": "example.com",
        "router.marksCopies": True,
        "router.metrics": "istio",
        "router.prometheusTokenSecret": {"name": "prometheus", "key": "bearer"},
        "kserve.storageUri": "s3://bucket/models",
        "kserve.runtime": "own",
        "kserve.serviceAccount": "reader",
        "pipelines.namespace": "team",
        "pipelines.serviceAccount": "default-editor",
    }
    objects = rendered(executable, "trimtab", values)
    assert platform_from_environment(_told(objects)) == Platform(
        router="gateway-api",
        pipelines="kubeflow",
        prometheus_url="http://prometheus.monitoring.svc:9090",
        prometheus_token="/etc/trimtab/prometheus/token",
        metrics="istio",
        gateway="infra/public/https",
        domain="example.com",
        marks_copies=True,
        storage_root="/var/lib/trimtab",
        storage_uri="s3://bucket/models",
        serving_runtime="own",
        serving_account="reader",
        kfp_url="http://ml-pipeline.kubeflow.svc:8888",
        kfp_namespace="team",
        kfp_account="default-editor",
    )
    pod = _operator(objects)
    (mounted,) = [one for one in pod["volumes"] if one["name"] == "prometheus"]
    assert mounted["secret"] == {"secretName": "prometheus", "items": [{"key": "bearer", "path": "token"}]}


def test_by_default_the_operator_is_told_of_the_bare_cluster(executable: str) -> None:
    told = _told(rendered(executable, "trimtab", {}))
    assert platform_from_environment(told) == Platform()
    assert not {"TRIMTAB_ARTIFACT_ROOT", "TRIMTAB_RECORD_STORE", "TRIMTAB_VOLUME_SHARED"} & set(told)


def test_kserve_finds_bundles_on_the_claim_unless_told_otherwise(executable: str) -> None:
    told = _told(rendered(executable, "trimtab", {**KSERVE, "kserve.payloadLogger": True}))
    assert (told["TRIMTAB_STORAGE_URI"], told["TRIMTAB_STORAGE_ROOT"]) == ("pvc://r-trimtab", told["TRIMTAB_VOLUME"])
    assert told["TRIMTAB_KSERVE_LOGGER"] == "true"
    told = _told(rendered(executable, "trimtab", {**KSERVE, "kserve.storageUri": "s3://bucket/models"}))
    assert told["TRIMTAB_STORAGE_URI"] == "s3://bucket/models"
    assert "TRIMTAB_KSERVE_LOGGER" not in told


def test_kubeflow_takes_a_token_of_the_operators_account(executable: str) -> None:
    pod = _operator(rendered(executable, "trimtab", KUBEFLOW))
    (container,) = pod["containers"]
    (volume,) = [one for one in pod["volumes"] if one["name"] == "kubeflow"]
    (token,) = volume["projected"]["sources"]
    assert token["serviceAccountToken"] == {
        "path": "token",
        "expirationSeconds": 7200,
        "audience": "pipelines.kubeflow.org",
    }
    (mount,) = [one for one in container["volumeMounts"] if one["name"] == "kubeflow"]
    told = {one["name"]: one.get("value") for one in container["env"]}
    assert told["KF_PIPELINES_SA_TOKEN_PATH"] == f"{mount['mountPath']}/token"
    assert mount["mountPath"] == "/var/run/secrets/kubeflow/pipelines"


def test_stores_are_told_to_the_operator_and_not_to_all_pods(executable: str) -> None:
    values = {"stores.artifacts": "s3://bucket/models", "stores.records": "s3://bucket/logs", "volume.shared": True}
    told = _told(rendered(executable, "trimtab", values))
    assert told["TRIMTAB_ARTIFACT_ROOT"] == "s3://bucket/models"
    assert told["TRIMTAB_RECORD_STORE"] == "s3://bucket/logs"
    assert told["TRIMTAB_VOLUME_SHARED"] == "true"
    assert "s3://" not in told["TRIMTAB_POD_ENV"]


def _ports(objects: tuple[Json, ...], name: str) -> set[int]:
    (policy,) = [one for one in of_kind(objects, "NetworkPolicy") if one["metadata"]["name"] == name]
    return {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}


def test_ports_in_urls_may_be_reached(executable: str) -> None:
    values = {
        **KSERVE,
        **KUBEFLOW,
        "router.prometheusUrl": "https://prometheus.example.com/base",
        "pipelines.url": "http://kfp.kubeflow:3000/pipeline",
        "stores.trackingUri": "http://mlflow.tools:5123",
        "networkPolicy.egressPorts": [],
        "networkPolicy.storagePorts": [9000],
        "networkPolicy.apiServerPorts": [6443],
    }
    assert _ports(rendered(executable, "trimtab", values), "r-trimtab") == {53, 9902, 6443, 9000, 443, 3000, 5123}


def test_the_collector_reaches_its_store_only(executable: str) -> None:
    collector = {"collector.enabled": True, "collector.payloads": "orders"}
    assert _ports(rendered(executable, "trimtab", collector), "r-trimtab-collector") == set()
    shipped = rendered(executable, "trimtab", {**collector, "collector.store": "s3://bucket/logs"})
    assert _ports(shipped, "r-trimtab-collector") == {53, 443, 9000}


def test_the_collector_is_started_as_its_command_line_wants_it(executable: str) -> None:
    values = {
        "collector.enabled": True,
        "collector.store": "s3://bucket/logs",
        "collector.spoolBytes": 5_000_000_000,
        "collector.env": [{"name": "AWS_REGION", "value": "eu-north-1"}],
        "collector.persistence.accessMode": "ReadWriteMany",
    }
    for payloads, given in (("", []), ("*", ["--payloads"]), ("orders", ["--payloads=orders"])):
        objects = rendered(executable, "trimtab", {**values, "collector.payloads": payloads})
        (collector,) = [
            one for one in of_kind(objects, "Deployment") if one["metadata"]["name"] == "r-trimtab-collector"
        ]
        (container,) = collector["spec"]["template"]["spec"]["containers"]
        assert container["args"][3:] == ["--store=s3://bucket/logs", "--spool-bytes=5000000000", *given]
        assert {"name": "AWS_REGION", "value": "eu-north-1"} in container["env"]
        (claim,) = [
            one for one in of_kind(objects, "PersistentVolumeClaim") if one["metadata"]["name"] == "r-trimtab-collector"
        ]
        assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def _chooses(selector: Json, labels: Json) -> bool:
    """As Kubernetes matches expressions."""
    return all(
        one["key"] in labels and (one["operator"] == "Exists" or labels[one["key"]] in one["values"])
        for one in selector["matchExpressions"]
    )


def test_servers_that_kserve_makes_for_loops_are_scraped(executable: str) -> None:
    """KServe puts the labels of the runtime, the InferenceService and its predictor on the pods, and its own."""
    runtime = yaml.safe_load((ROOT / "serving/kserve/runtime.yaml").read_text())["spec"]
    settings = kserve.Settings("orders", NAMESPACE, Path("/m"), "s3://models")
    predictor = kserve.predictor(settings, ServerRequest("7", Path("/m/7"), "sha256:" + "a" * 64), named=True)
    made = kserve.inference_service(settings, "orders", "Standard", {"predictor": predictor}, {})
    labels = {**made["metadata"]["labels"], **predictor["labels"], kserve.OF: "orders"}
    (port,) = runtime["containers"][0]["ports"]
    monitors = of_kind(rendered(executable, "trimtab", {"prometheus.podMonitor": True}), "PodMonitor")
    (ours,) = [one["spec"] for one in monitors if _chooses(one["spec"]["selector"], labels)]
    assert {one["port"] for one in ours["podMetricsEndpoints"]} == {port["name"], "user-port"}
    assert {one["path"] for one in ours["podMetricsEndpoints"]} == {runtime["annotations"]["prometheus.kserve.io/path"]}
