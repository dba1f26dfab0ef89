"""Every switch of every chart, and what it must show."""

from __future__ import annotations

from typing import Any

from monitor_switches import MONITOR, WRONG_MONITOR
from release_switches import RELEASE, WRONG_RELEASE

Json = dict[str, Any]

_COUNTED: Json = {"router.prometheusUrl": "http://prometheus.monitoring.svc:9090"}
GATEWAY: Json = {**_COUNTED, "router.kind": "gateway-api", "router.gateway": "infra/public/https"}
KSERVE: Json = {**_COUNTED, "router.kind": "kserve-standard"}
KUBEFLOW: Json = {
    "pipelines.kind": "kubeflow",
    "pipelines.url": "http://ml-pipeline.kubeflow.svc:8888",
    "stores.trackingUri": "http://mlflow:5000",
    "stores.artifacts": "s3://bucket/models",
    "stores.records": "s3://bucket/logs",
}


def _without(values: Json, name: str) -> Json:
    return {key: value for key, value in values.items() if key != name}


TRIMTAB: dict[str, Json] = {
    "defaults": {},
    "digest": {"image.digest": "sha256:" + "a" * 64, "imagePullSecrets": ["registry"]},
    "names": {"nameOverride": "course", "serviceAccount.name": "steersman", "serviceAccount.annotations": {"a/b": "c"}},
    "own account": {"serviceAccount.create": False, "serviceAccount.name": "steersman"},
    "two operators": {"operator.replicas": 2},
    "no disruption budget": {"operator.replicas": 2, "podDisruptionBudget.enabled": False},
    "namespaces": {"operator.namespaces": ["a", "b"], "volume.shared": True},
    "its own namespace by name": {"operator.namespaces": ["models"]},
    "cluster-wide": {"operator.clusterWide": True, "volume.shared": True, "prometheus.podMonitor": True},
    "no rights": {"rbac.create": False},
    "kserve": {"rbac.kserve": True},
    "gateway": {"rbac.gatewayApi": True},
    "router gateway-api": {
        **GATEWAY,
        "router.domain": "models.example.com",
        "router.marksCopies": True,
        "router.metrics": "istio",
        "router.prometheusTokenSecret.name": "prometheus",
    },
    "router gateway-api before KServe": {**GATEWAY, "kserve.storageUri": "s3://bucket/models"},
    "router kserve-standard": {**KSERVE, "kserve.payloadLogger": True, "kserve.serviceAccount": "reader"},
    "router kserve-knative": {**KSERVE, "router.kind": "kserve-knative", "kserve.runtime": "own"},
    "kubeflow": KUBEFLOW,
    "kubeflow multi-user": {
        **KUBEFLOW,
        "pipelines.namespace": "team",
        "pipelines.serviceAccount": "default-editor",
        "operator.clusterWide": True,
        "volume.shared": True,
    },
    "aggregate": {"rbac.aggregate": True},
    "placement": {
        "operator.nodeSelector": {"kubernetes.io/arch": "amd64"},
        "operator.tolerations": [{"key": "ml", "operator": "Exists"}],
        "operator.affinity": {"nodeAffinity": {}},
        "operator.priorityClassName": "system-cluster-critical",
        "operator.podLabels": {"team": "ml"},
        "operator.podAnnotations": {"note": "x"},
        "operator.env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
        "operator.envFrom": [{"secretRef": {"name": "ledger"}}],
        "collector.enabled": True,
        "collector.nodeSelector": {"kubernetes.io/arch": "amd64"},
        "collector.tolerations": [{"key": "ml", "operator": "Exists"}],
    },
    "git secrets": {"operator.gitSecrets": ["releases", "team-b"]},
    "no collector": {"collector.enabled": False, "prometheus.serviceMonitor": True},
    "collector": {"collector.enabled": True, "prometheus.serviceMonitor": True},
    "collector in memory": {
        "collector.enabled": True,
        "collector.persistence.enabled": False,
        "collector.numbers": True,
    },
    "collector's claim": {
        "collector.enabled": True,
        "collector.persistence.existingClaim": "logs",
        "collector.tokenSecret.name": "token",
    },
    "collector's store": {
        "collector.enabled": True,
        "collector.store": "s3://bucket/logs",
        "collector.spoolBytes": 5_000_000_000,
        "collector.payloads": "orders",
        "collector.env": [{"name": "AWS_REGION", "value": "eu-north-1"}],
        "collector.persistence.accessMode": "ReadWriteMany",
    },
    "storage class": {"collector.enabled": True, "collector.persistence.storageClass": "fast"},
    "volume": {"volume.accessMode": "ReadWriteMany", "volume.storageClass": "nfs", "volume.size": "100Gi"},
    "own volume": {"volume.existingClaim": "disk"},
    "stores": {"stores.trackingUri": "http://mlflow:5000", "stores.ledgerSecret.name": "ledger"},
    "model registry": {
        "stores.modelRegistry.url": "http://model-registry-service:8080",
        "stores.modelRegistry.audience": "model-registry",
    },
    "loops": {
        "serverImage.digest": "sha256:" + "b" * 64,
        "loops.env": [{"name": "AWS_REGION", "value": "eu-north-1"}],
        "loops.nodeSelector": {"kubernetes.io/hostname": "one"},
        "loops.feedbackSecret.name": "token",
        "loops.serviceAccountAnnotations": {"a/b": "c"},
    },
    "no network policy": {"networkPolicy.enabled": False},
    "network policy": {
        "networkPolicy.metricsFrom": {"kubernetes.io/metadata.name": "monitoring"},
        "networkPolicy.feedbackFrom": {"kubernetes.io/metadata.name": "apps"},
        "collector.enabled": True,
        "prometheus.serviceMonitor": True,
    },
    "monitors": {
        "prometheus.serviceMonitor": True,
        "prometheus.podMonitor": True,
        "prometheus.labels": {"release": "p"},
    },
    "rules": {"prometheus.rules": True, "prometheus.alerts.errorShare": 0.05},
    "dashboard": {"dashboard.enabled": True, "dashboard.labels": {"grafana": "yes"}},
}
WRONG_TRIMTAB: list[tuple[Json, str]] = [
    ({"operator.replica": 2}, "replica"),
    ({"operator.replicas": "two"}, "replicas"),
    ({"image.pullPolicy": "Sometimes"}, "IfNotPresent"),
    ({"image.digest": "latest"}, "digest"),
    ({"operator.namespaces": ["Not a name"]}, "namespaces"),
    ({"operator.namespaces": ["a"], "operator.clusterWide": True}, "exclude each other"),
    ({"serviceAccount.create": False}, "serviceAccount.name"),
    ({"prometheus.interval": "soon"}, "interval"),
    ({"collector.persistence.size": "big"}, "size"),
    ({"dashboard.labels": 3}, "dashboard"),
    ({"volume.accessMode": "ReadOnlyMany"}, "accessMode"),
    ({"loops.resources.server": {}}, "server"),
    ({"surprise": 1}, "surprise"),
    ({"operator.resources": None}, "operator.resources is null, but every pod has bounds"),
    ({"collector.enabled": True, "collector.resources": None}, "collector.resources is null"),
    ({"loops.resources": None}, "loops.resources is null"),
    ({"nameOverride": "Course"}, "choose another name for the release and nameOverride"),
    ({"router.kind": "istio"}, "gateway-api"),
    ({"router.gateways": "a/b"}, "gateways"),
    ({"router.gateway": "public"}, "gateway"),
    ({"router.metrics": "prometheus"}, "metrics"),
    (_without(GATEWAY, "router.gateway"), "router.gateway is empty: name the Gateway"),
    (_without(GATEWAY, "router.prometheusUrl"), "router.prometheusUrl is empty: give its URL"),
    ({"router.kind": "kserve-knative"}, "router.prometheusUrl is empty"),
    ({"kserve.payloadLogger": True}, "kserve.payloadLogger is set, but with router.kind envoy"),
    ({**GATEWAY, "kserve.payloadLogger": True}, "give gateway-api a kserve.storageUri"),
    ({"kserve.storageUri": "/models"}, "storageUri"),
    (_without(KUBEFLOW, "pipelines.url"), "pipelines.url is empty: give the URL of KFP's API"),
    (_without(KUBEFLOW, "stores.trackingUri"), "stores.trackingUri is empty: give the URL of an MLflow server"),
    (_without(KUBEFLOW, "stores.records"), "stores.records is empty: give the place of the logs"),
    ({"pipelines.url": "http://kfp"}, "choose pipelines.kind kubeflow, or leave them out"),
    ({"stores.records": "gs://bucket"}, "records"),
    ({"operator.namespaces": ["a"]}, "set volume.shared to true"),
    ({"operator.clusterWide": True}, "set volume.shared to true"),
    (
        {"operator.clusterWide": True, "volume.shared": True, "loops.serviceAccountAnnotations": {"a/b": "c"}},
        "list the namespaces in operator.namespaces",
    ),
    ({"operator.env": [{"name": "TRIMTAB_ROUTER", "value": "envoy"}]}, "operator.env sets TRIMTAB_ROUTER"),
    ({"collector.store": "bucket"}, "store"),
    ({"collector.spoolBytes": 1}, "spoolBytes"),
    ({"collector.persistence.accessMode": "ReadOnlyMany"}, "accessMode"),
]

SWITCHES = {"trimtab": TRIMTAB, "model-release": RELEASE, "drift-monitor": MONITOR}
WRONG = {"trimtab": WRONG_TRIMTAB, "model-release": WRONG_RELEASE, "drift-monitor": WRONG_MONITOR}
CASES = [(chart, name) for chart, cases in SWITCHES.items() for name in cases]
WRONG_CASES = [(chart, values, said) for chart, cases in WRONG.items() for values, said in cases]
