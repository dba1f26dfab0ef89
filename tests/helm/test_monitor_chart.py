"""The chart drift-monitor: its pod's command really runs, and it may do no more than its trigger needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from monitor_switches import HOOK, KFP, WATCHED, WISH
from rendering import NAMESPACE, of_kind, rendered
from typer.testing import CliRunner

from trimtab.adapters.turns.configmap import ConfigMapTurns
from trimtab.cli.main import app
from trimtab.cli.monitoring import STATE
from trimtab.testing import bundles

Json = dict[str, Any]
CHART = "drift-monitor"


def _pod(a_helm: str, values: Json) -> Json:
    (job,) = of_kind(rendered(a_helm, CHART, values), "CronJob")
    return dict(job["spec"]["jobTemplate"]["spec"]["template"]["spec"])


def _arguments(a_helm: str, values: Json) -> list[str]:
    return list(_pod(a_helm, values)["containers"][0]["args"])


@pytest.mark.local
def test_the_pods_command_runs(a_helm: str, tmp_path: Path) -> None:
    made = bundles.make(tmp_path / "bundle")
    document = made.document.model_dump_json(by_alias=True, exclude_none=True)
    values = {**WATCHED, "champion.digest": made.digest, "loop.document": document, "reports.keep": 3}
    objects = rendered(a_helm, CHART, values)
    (loop,) = of_kind(objects, "ConfigMap")
    (tmp_path / "loop.yaml").write_text(loop["data"]["loop.yaml"])
    mounted = {"/etc/trimtab": tmp_path, "/var/lib/trimtab": tmp_path / "state", "/mnt/models": made.folder}
    container = _pod(a_helm, values)["containers"][0]
    assert {one["mountPath"] for one in container["volumeMounts"]} == {*mounted, "/mnt/logs", "/tmp"}
    given = container["args"]
    for path, here in {**mounted, "/mnt/logs": tmp_path / "logs"}.items():
        given = [one.replace(path, str(here)) for one in given]
    done = CliRunner().invoke(app, [*container["command"][1:], *given, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout[done.stdout.index("{\n") :])
    assert told["verdict"] == "insufficient evidence"
    assert Path(told["report"]).parent == tmp_path / "state/reports"
    assert json.loads((tmp_path / "state" / STATE).read_text())["champion"] == "1"


def test_each_trigger_is_one_option(a_helm: str) -> None:
    kinds = ("--submit", "--wish", "--webhook")
    for values, wanted in (
        (WATCHED, []),
        (KFP, ["--submit=http://ml-pipeline.kubeflow.svc:8888"]),
        (WISH, [f"--wish={NAMESPACE}/orders"]),
        (HOOK, ["--webhook=https://ci.example.com/retrain"]),
    ):
        assert [one for one in _arguments(a_helm, values) if one.startswith(kinds)] == wanted


def test_only_a_wish_goes_through_the_api_server(a_helm: str) -> None:
    for values in (WATCHED, KFP, HOOK):
        assert _pod(a_helm, values)["automountServiceAccountToken"] is False
        assert not of_kind(rendered(a_helm, CHART, values), "Role")
    assert _pod(a_helm, WISH)["automountServiceAccountToken"] is True
    (role,) = of_kind(rendered(a_helm, CHART, WISH), "Role")
    name = ConfigMapTurns(None, NAMESPACE, "orders").name  # type: ignore[arg-type]
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [name], "verbs": ["get", "update"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]},
    ]


def test_it_calls_nobody_unless_it_must(a_helm: str) -> None:
    def egress(values: Json) -> Any:
        (policy,) = of_kind(rendered(a_helm, CHART, values), "NetworkPolicy")
        assert policy["spec"]["ingress"] == []
        return policy["spec"]["egress"]

    assert egress(WATCHED) == []
    assert egress({**WATCHED, "champion.uri": "s3://m/1"}) != []
    assert egress(KFP) != []


def test_it_runs_beside_the_collector_of_the_chart_trimtab(a_helm: str) -> None:
    (term,) = _pod(a_helm, WATCHED)["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    wanted = term["labelSelector"]["matchLabels"].items()
    chart = rendered(a_helm, "trimtab", {"collector.enabled": True})
    pods = {
        one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"] for one in of_kind(chart, "Deployment")
    }
    assert [name for name, labels in pods.items() if wanted <= labels.items()] == ["r-trimtab-collector"]
    # The claim that logs.claim's sentence names.
    assert "r-trimtab-collector" in [one["metadata"]["name"] for one in of_kind(chart, "PersistentVolumeClaim")]


def test_logs_and_bundle_are_only_read(a_helm: str) -> None:
    mounts = {one["name"]: one for one in _pod(a_helm, WATCHED)["containers"][0]["volumeMounts"]}
    assert mounts["bundle"]["subPath"] == "orders/1"
    assert all(mounts[name]["readOnly"] for name in ("bundle", "logs", "loop"))


def test_reports_stay_when_the_release_goes(a_helm: str) -> None:
    (claim,) = of_kind(rendered(a_helm, CHART, WATCHED), "PersistentVolumeClaim")
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
