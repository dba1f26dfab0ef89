"""Every switch of the chart model-release, and what it must refuse."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
A, B, C = ("sha256:" + letter * 64 for letter in "abc")
UPGRADE = "(upgrade)"  # no value: the release is there already
CHAMPION: Json = {"champion.version": "1", "champion.uri": "s3://models/orders/1", "champion.digest": A}
CHALLENGER: Json = {"challenger.version": "2", "challenger.uri": "pvc://claim/orders/2", "challenger.digest": B}
SHADOW: Json = {"shadow.version": "3", "shadow.uri": "pvc://claim", "shadow.digest": C}
BOTH: Json = {**CHAMPION, **CHALLENGER}
SPLIT: Json = {**BOTH, "trafficPercent": 25}
STANDARD: Json = {"router": "kserve-standard"}
KNATIVE: Json = {"router": "kserve-knative"}
GATEWAY: Json = {"router": "gateway-api", "gateway.name": "istio-system/public"}
SELDON: Json = {**SPLIT, "runtime": "seldon", "image.repository": "registry/orders", "image.tag": "7"}
RUNTIMES = ("kserve", "triton", "torchserve", "mlserver", "seldon", "tensorflow-serving")
ROUTERS: dict[str, Json] = {
    "envoy": {},
    "gateway-api": GATEWAY,
    "kserve-standard": STANDARD,
    "kserve-knative": {**KNATIVE, UPGRADE: True},
}

RELEASE: dict[str, Json] = {
    "champion": CHAMPION,
    "a number as version": {**CHAMPION, "champion.version": 1},
    "dark": BOTH,
    "split": SPLIT,
    "all": {**BOTH, "trafficPercent": 100},
    "shadow": {**CHAMPION, **SHADOW},
    "shadow and challenger": {**SPLIT, **SHADOW, "shadowPercent": 10, "collector": "trimtab-collector:8080"},
    "no shadow percent": {**CHAMPION, **SHADOW, "shadowPercent": 0},
    "no grpc": {**SPLIT, "envoy.grpc": False},
    "envoy": {
        **CHAMPION,
        "envoy.image": "registry/envoy:v1.40.0",
        "envoy.replicas": 1,
        "envoy.concurrency": 4,
        "envoy.resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}},
    },
    "names": {**CHAMPION, "nameOverride": "course", "model": "Orders.2"},
    "image": {**CHAMPION, "image.repository": "r/x", "image.digest": A, "imagePullSecrets": ["registry"]},
    "image tag": {**CHAMPION, "image.tag": "0.1.1", "image.pullPolicy": "Always"},
    "replicas": {**SPLIT, "champion.replicas": 3, "challenger.replicas": 2, "drainSeconds": 60},
    "autoscaling": {**SPLIT, "autoscaling.enabled": True, "autoscaling.maxReplicas": 9, "autoscaling.cpuPercent": 50},
    "gpu": {**CHAMPION, "runtime": "triton", "gpu.count": 1},
    "another gpu": {**CHAMPION, "runtime": "triton", "gpu.count": 2, "gpu.resource": "amd.com/gpu"},
    "limits": {**SPLIT, "limits.timeoutSeconds": 30, "limits.maxBodyBytes": 1048576},
    "env and args": {**CHAMPION, "env": [{"name": "OMP_NUM_THREADS", "value": "2"}], "args": ["--no-scores"]},
    "secret": {**CHAMPION, "storage.secret": "s3", "storage.endpoint": "http://minio:9000", "storage.region": "eu"},
    "initializer": {**CHAMPION, "storage.initializer": "registry/fetch:1"},
    "account": {**CHAMPION, "serviceAccount.name": "reader"},
    "account's identity": {**CHAMPION, "serviceAccount.annotations": {"eks.amazonaws.com/role-arn": "arn"}},
    "log on a claim": {**CHAMPION, "predictionLog.claim": "logs"},
    "log in a folder of a claim": {**CHAMPION, "predictionLog.claim": "disk", "predictionLog.path": "models/orders"},
    "log in the pod": {**CHAMPION, "predictionLog.size": "512Mi"},
    "torchserve, v2": {**CHAMPION, "runtime": "torchserve", "protocol": "v2"},
    "no network policy": {**SPLIT, "networkPolicy.enabled": False},
    "network policy": {
        **SPLIT,
        "networkPolicy.clientsFrom": {"kubernetes.io/metadata.name": "apps"},
        "networkPolicy.metricsFrom": {"kubernetes.io/metadata.name": "monitoring"},
        "networkPolicy.storagePorts": [443],
    },
    "no disruption budget": {**SPLIT, "podDisruptionBudget.enabled": False},
    "disruption budget": {**SPLIT, "podDisruptionBudget.maxUnavailable": 2},
    "placement": {
        **CHAMPION,
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "resources": {"requests": {"cpu": "2"}, "limits": {"memory": "2Gi"}},
    },
    "a listener and hosts": {
        **SPLIT,
        "router": "gateway-api",
        "gateway.name": "istio-system/public/https",
        "gateway.hostnames": ["orders.example.com"],
        "collector": "trimtab-collector.ops.svc:8080",
    },
    "gateway, shadow": {**CHAMPION, **SHADOW, **GATEWAY, "gateway.marksCopies": True, "shadowPercent": 20},
    "standard, champion": {**CHAMPION, **STANDARD},
    "standard, more": {
        **SPLIT,
        **STANDARD,
        "autoscaling.enabled": True,
        "storage.secret": "s3",
        "predictionLog.claim": "logs",
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "imagePullSecrets": ["registry"],
        "networkPolicy.enabled": False,
    },
    "standard, a runtime that is there": {**SPLIT, **STANDARD, "kserve.servingRuntime": "trimtab-kserve"},
    "standard, arguments": {**CHAMPION, **STANDARD, "kserve.servingRuntime": "trimtab-kserve", "args": ["--no-scores"]},
    "standard, its image": {**SPLIT, **STANDARD, "kserve.servingRuntime": "trimtab-kserve", "image.tag": "0.2.0"},
    "standard, sklearn": {**SPLIT, **STANDARD, "runtime": "mlserver", "kserve.format": "sklearn"},
    "knative, champion": {**CHAMPION, **KNATIVE},
    "knative, autoscaling": {**CHAMPION, **KNATIVE, "autoscaling.enabled": True},
    "seldon, its own router": {**SELDON, **SHADOW, "router": "seldon"},
    "seldon, autoscaling": {**SELDON, "router": "seldon", "autoscaling.enabled": True},
    **{
        f"{runtime} by {router}": {**SELDON, **more, "runtime": runtime}
        for runtime in RUNTIMES
        for router, more in ROUTERS.items()
    },
}
WRONG_RELEASE: list[tuple[Json, str]] = [
    ({}, "champion.version is empty"),
    ({"champion.version": "1"}, "champion.uri is empty"),
    ({**CHAMPION, "predictionLog.path": "models/orders"}, "predictionLog.claim is empty: name the claim"),
    ({**CHAMPION, "predictionLog.claim": "c", "predictionLog.path": "../x"}, "path"),
    ({"champion.version": "1", "champion.uri": "s3://m/1"}, "champion.digest is empty"),
    ({**CHAMPION, "champion.version": "V 1"}, "version"),
    ({**CHAMPION, "champion.uri": "/mnt/models"}, "uri"),
    ({**CHAMPION, "champion.digest": "latest"}, "digest"),
    ({**CHAMPION, "trafficPercent": 10}, "there is no challenger"),
    ({**SPLIT, "trafficPercent": 101}, "trafficPercent"),
    ({**BOTH, "challenger.version": "1"}, "which is another role's too"),
    ({**CHAMPION, "runtime": "sklearn"}, "tensorflow-serving"),
    ({**CHAMPION, "router": "istio"}, "kserve-standard"),
    ({**CHAMPION, "runtime": "seldon"}, "image.repository is empty"),
    ({**CHAMPION, "runtime": "triton", "protocol": "v1"}, "triton does not speak"),
    ({**CHAMPION, "gpu.count": 1}, "use no GPU"),
    ({**CHAMPION, "autoscaling.enabled": True, "autoscaling.minReplicas": 5}, "more than autoscaling.maxReplicas"),
    ({**CHAMPION, **SHADOW, **STANDARD}, "cannot send copies"),
    ({**CHAMPION, **SHADOW, **KNATIVE}, "cannot send copies"),
    ({**CHAMPION, **STANDARD, "collector": "c:8080"}, "routes no labels"),
    ({**CHAMPION, **STANDARD, "storage.endpoint": "http://minio"}, "serving.kserve.io/s3-endpoint"),
    ({**SPLIT, **KNATIVE}, "install with the champion alone"),
    ({**CHAMPION, "router": "gateway-api"}, "gateway.name is empty"),
    ({**CHAMPION, **SHADOW, **GATEWAY}, "gateway.marksCopies"),
    ({**CHAMPION, "router": "seldon"}, "serves the runtime seldon only"),
    ({**CHAMPION, "predictionLog.size": "big"}, "size"),
    ({**CHAMPION, "collector": "http://c"}, "collector"),
    ({**CHAMPION, "envoy.replica": 3}, "replica"),
    ({**CHAMPION, "resources": None}, "resources is null, but every pod has bounds"),
    ({**CHAMPION, **STANDARD, "resources": None}, "resources is null, but every pod has bounds"),
    ({**CHAMPION, "envoy.resources": None}, "envoy.resources is null"),
    ({**CHAMPION, "surprise": 1}, "surprise"),
]
