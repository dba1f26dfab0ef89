"""Every switch of every chart, and what it must show."""

from __future__ import annotations

from typing import Any

from monitor_switches import MONITOR, WRONG_MONITOR
from release_switches import RELEASE, WRONG_RELEASE

Json = dict[str, Any]

TRIMTAB: dict[str, Json] = {
    "defaults": {},
    "digest": {"image.digest": "sha256:" + "a" * 64, "imagePullSecrets": ["registry"]},
    "names": {"nameOverride": "course", "serviceAccount.name": "steersman", "serviceAccount.annotations": {"a/b": "c"}},
    "own account": {"serviceAccount.create": False, "serviceAccount.name": "steersman"},
    "two operators": {"operator.replicas": 2},
    "no disruption budget": {"operator.replicas": 2, "podDisruptionBudget.enabled": False},
    "namespaces": {"operator.namespaces": ["a", "b"]},
    "cluster-wide": {"operator.clusterWide": True, "prometheus.podMonitor": True},
    "no rights": {"rbac.create": False},
    "kserve": {"rbac.kserve": True},
    "gateway": {"rbac.gatewayApi": True},
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
    "storage class": {"collector.enabled": True, "collector.persistence.storageClass": "fast"},
    "volume": {"volume.accessMode": "ReadWriteMany", "volume.storageClass": "nfs", "volume.size": "100Gi"},
    "own volume": {"volume.existingClaim": "disk"},
    "stores": {"stores.trackingUri": "http://mlflow:5000", "stores.ledgerSecret.name": "ledger"},
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
]

SWITCHES = {"trimtab": TRIMTAB, "model-release": RELEASE, "drift-monitor": MONITOR}
WRONG = {"trimtab": WRONG_TRIMTAB, "model-release": WRONG_RELEASE, "drift-monitor": WRONG_MONITOR}
CASES = [(chart, name) for chart, cases in SWITCHES.items() for name in cases]
WRONG_CASES = [(chart, values, said) for chart, cases in WRONG.items() for values, said in cases]
