"""Every switch of the chart drift-monitor, and what it must refuse."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
DIGEST = "sha256:" + "a" * 64
DOCUMENT = "apiVersion: trimtab.dev/v1alpha1\nkind: ModelLoop\nmetadata: {name: orders}\n"
WATCHED: Json = {
    "loop.document": DOCUMENT,
    "champion.version": "1",
    "champion.uri": "pvc://claim/orders/1",
    "champion.digest": DIGEST,
    "logs.claim": "trimtab-collector",
}
KFP: Json = {**WATCHED, "trigger.kind": "kfp", "trigger.kfp.host": "http://ml-pipeline.kubeflow.svc:8888"}
WISH: Json = {**WATCHED, "trigger.kind": "operator", "trigger.operator.loop": "orders"}
HOOK: Json = {**WATCHED, "trigger.kind": "webhook", "trigger.webhook.url": "https://ci.example.com/retrain"}

MONITOR: dict[str, Json] = {
    "watched": WATCHED,
    "a number as version": {**WATCHED, "champion.version": 1},
    "loop in a config map": {**WATCHED, "loop.document": "", "loop.configMap": "loops", "loop.key": "orders.yaml"},
    "fetched": {**WATCHED, "champion.uri": "s3://models/orders/1"},
    "fetched with a secret": {
        **WATCHED,
        "champion.uri": "s3://models/orders/1",
        "storage.secret": "s3",
        "storage.endpoint": "https://minio:9000",
        "storage.region": "eu",
        "storage.initializer": "registry/fetch:1",
    },
    "a whole claim": {**WATCHED, "champion.uri": "pvc://claim"},
    "other folders": {**WATCHED, "logs.predictions": "a/predictions", "logs.labels": "a/labels"},
    "anywhere": {**WATCHED, "logs.besideCollector": False},
    "daily in Oslo": {**WATCHED, "schedule": "5 3 * * *", "timeZone": "Europe/Oslo"},
    "suspended": {**WATCHED, "suspend": True},
    "kfp": {**KFP, "trigger.kfp.trackingUri": "http://mlflow:5000"},
    "operator": WISH,
    "operator, no role": {**WISH, "rbac": False, "serviceAccount.name": "steersman"},
    "webhook": HOOK,
    "webhook with a token": {
        **HOOK,
        "trigger.webhook.tokenSecret.name": "hook",
        "trigger.webhook.tokenSecret.key": "bearer",
    },
    "reports": {**WATCHED, "reports.keep": 7, "reports.size": "512Mi", "reports.storageClass": "fast"},
    "reports' claim": {**WATCHED, "reports.existingClaim": "reports"},
    "no reports": {**WATCHED, "reports.persistent": False},
    "image": {**WATCHED, "image.digest": DIGEST, "image.repository": "r/x", "imagePullSecrets": ["registry"]},
    "image tag": {**WATCHED, "image.tag": "0.2.0", "image.pullPolicy": "Always"},
    "names": {**WATCHED, "nameOverride": "watch", "serviceAccount.annotations": {"a/b": "c"}},
    "schedule": {**WATCHED, "schedule": "*/15 0-5,22 1,15 jan-JUN mon-fri/2"},
    "schedule by name": {**WATCHED, "schedule": "@daily"},
    "bounds": {**WATCHED, "deadlineSeconds": 60, "retries": 0, "history": 1},
    "placement": {
        **WATCHED,
        "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "4Gi"}},
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "ml", "operator": "Exists"}],
        "env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    },
    "network policy": {**KFP, "networkPolicy.egressPorts": [8888]},
    "no network policy": {**WATCHED, "networkPolicy.enabled": False},
}
WRONG_MONITOR: list[tuple[Json, str]] = [
    ({}, "loop.document is empty"),
    ({**WATCHED, "loop.configMap": "loops"}, "leave one of them out"),
    ({**WATCHED, "loop.document": "kind: Pod"}, "not ModelLoop"),
    ({**WATCHED, "loop.document": "loop.yaml"}, "--set-file"),
    ({**WATCHED, "champion.digest": ""}, "champion.digest is empty"),
    ({**WATCHED, "champion.uri": ""}, "champion.uri is empty"),
    ({**WATCHED, "champion.version": ""}, "champion.version is empty"),
    ({**WATCHED, "logs.claim": ""}, "logs.claim is empty"),
    ({**WATCHED, "trigger.kind": "kfp"}, "trigger.kfp.host is empty"),
    ({**WATCHED, "trigger.kind": "webhook"}, "trigger.webhook.url is empty"),
    ({**HOOK, "reports.persistent": False}, "reports.persistent is false"),
    ({**WATCHED, "trigger.kind": "email"}, "webhook"),
    ({**HOOK, "trigger.webhook.url": "https://user:secret@x"}, "url"),
    ({**WATCHED, "resources": None}, "resources is null, but every pod has bounds"),
    ({**WATCHED, "schedule": "hourly"}, "schedule"),
    ({**WATCHED, "schedule": "99 99 99 99 99"}, "schedule"),
    ({**WATCHED, "schedule": "0 24 * * *"}, "schedule"),
    ({**WATCHED, "schedule": "0 0 * * 7"}, "schedule"),
    ({**WATCHED, "schedule": "* * * *"}, "schedule"),
    ({**WATCHED, "reports.size": "big"}, "size"),
    ({**WATCHED, "reports.keep": 0}, "keep"),
    ({**WATCHED, "logs.labels": "../secrets"}, "labels"),
    ({**WATCHED, "loop.key": "a: b"}, "key"),
    ({**WATCHED, "surprise": 1}, "surprise"),
]
