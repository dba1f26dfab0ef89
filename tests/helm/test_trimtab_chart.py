"""The chart of the operator: rights, names that the operator goes by, metrics that are really there."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from rendering import NAMESPACE, ROOT, invalid, of_kind, rendered, unrestricted

from trimtab.adapters.workloads import pod_template
from trimtab.operator.accepting import LoopObject
from trimtab.operator.bare import from_environment
from trimtab.spec.crd import GROUP, PLURAL

_METRIC = re.compile(r"\b(trimtab_[a-z0-9_]+|envoy_[a-z_]+)\b")
_LABELS = {"envoy_cluster_name", "envoy_response_code_class"}


def _container(objects: tuple[dict[str, Any], ...], name: str) -> dict[str, Any]:
    return next(
        container
        for one in of_kind(objects, "Deployment")
        for container in one["spec"]["template"]["spec"]["containers"]
        if container["name"] == name
    )


def _environment(container: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one.get("value") for one in container["env"]}


def _rights(objects: tuple[dict[str, Any], ...], *kinds: str) -> list[dict[str, Any]]:
    return [rule for one in objects if one["kind"] in kinds for rule in one["rules"]]


def test_by_default_nothing_is_cluster_wide(executable: str) -> None:
    objects = rendered(executable, "trimtab", {})
    assert not of_kind(objects, "ClusterRole")
    assert not of_kind(objects, "ClusterRoleBinding")
    assert {one["metadata"]["namespace"] for one in of_kind(objects, "Role")} == {NAMESPACE}
    assert _environment(_container(objects, "operator"))["TRIMTAB_NAMESPACES"] == NAMESPACE


def test_rights_reach_the_namespaces_that_are_watched_and_no_others(executable: str) -> None:
    objects = rendered(executable, "trimtab", {"operator.namespaces": ["a", "b"], "volume.shared": True})
    assert _environment(_container(objects, "operator"))["TRIMTAB_NAMESPACES"] == "a,b"
    ours = [one for one in of_kind(objects, "Role") if not one["metadata"]["name"].endswith("-leader")]
    assert {one["metadata"]["namespace"] for one in ours} == {"a", "b"}
    subjects = [subject for one in of_kind(objects, "RoleBinding") for subject in one["subjects"]]
    assert {(one["namespace"], one["name"]) for one in subjects} == {(NAMESPACE, "r-trimtab")}
    accounts = {(one["metadata"]["namespace"], one["metadata"]["name"]) for one in of_kind(objects, "ServiceAccount")}
    assert accounts >= {("a", "r-trimtab-loops"), ("b", "r-trimtab-loops")}


def test_cluster_wide_is_told_to_the_operator_as_an_empty_list(executable: str) -> None:
    objects = rendered(executable, "trimtab", {"operator.clusterWide": True, "volume.shared": True})
    assert _environment(_container(objects, "operator"))["TRIMTAB_NAMESPACES"] == ""
    assert len(of_kind(objects, "ClusterRole")) == 1


def test_the_rights_are_the_least(executable: str) -> None:
    everything = {"operator.clusterWide": True, "volume.shared": True, "rbac.kserve": True, "rbac.gatewayApi": True}
    for rule in _rights(rendered(executable, "trimtab", everything), "Role", "ClusterRole"):
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        assert not {"secrets", "roles", "rolebindings", "clusterroles", "pods/exec", "nodes"} & set(rule["resources"])
        assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])
    plain = _rights(rendered(executable, "trimtab", {}), "Role")
    assert not [rule for rule in plain if {"serving.kserve.io", "gateway.networking.k8s.io"} & set(rule["apiGroups"])]


def test_the_operator_may_do_what_its_code_asks_for(executable: str) -> None:
    """Groups and plurals are those of the resources that trimtab.adapters.cluster names."""
    cluster = pytest.importorskip("trimtab.adapters.cluster")
    asked = {(one.group, one.plural) for one in vars(cluster).values() if isinstance(one, cluster.Resource)}
    objects = rendered(executable, "trimtab", {"rbac.kserve": True, "rbac.gatewayApi": True})
    may = {
        (group, plural)
        for rule in _rights(objects, "Role")
        for group in rule["apiGroups"]
        for plural in rule["resources"]
    }
    assert asked
    assert asked <= may
    assert (GROUP, PLURAL) in may
    assert (GROUP, f"{PLURAL}/status") in may


def test_the_operator_is_told_only_what_it_reads(executable: str) -> None:
    settings = ROOT / "src/trimtab/operator"
    if not settings.is_dir():
        pytest.skip("the operator is not here")
    code = "".join(path.read_text() for path in (ROOT / "src/trimtab").rglob("*.py"))
    told = _environment(_container(rendered(executable, "trimtab", {}), "operator"))
    assert [name for name in told if name not in code] == []


def test_the_ports_are_told_as_they_are_exposed(executable: str) -> None:
    """A Service trimtab-metrics would otherwise tell TRIMTAB_METRICS_PORT=tcp://..., where no operator starts."""
    operator = _container(rendered(executable, "trimtab", {}), "operator")
    told = _environment(operator)
    ports = {one["name"]: one["containerPort"] for one in operator["ports"]}
    assert (told["TRIMTAB_METRICS_PORT"], told["TRIMTAB_HEALTH_PORT"]) == (str(ports["metrics"]), str(ports["health"]))


def test_the_shipped_crd_goes_along(executable: str) -> None:
    (found,) = of_kind(rendered(executable, "trimtab", {}), "CustomResourceDefinition")
    assert found == yaml.safe_load((ROOT / "helm/trimtab/crds/modelloops.trimtab.dev.yaml").read_text())


def test_no_volume_goes_with_the_release(executable: str) -> None:
    claims = of_kind(rendered(executable, "trimtab", {"collector.enabled": True}), "PersistentVolumeClaim")
    assert len(claims) == 2
    assert all(claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for claim in claims)


def test_the_operator_mounts_the_volume_that_it_gives_to_its_pods(executable: str) -> None:
    for values, name in (({}, "r-trimtab"), ({"volume.existingClaim": "disk"}, "disk")):
        objects = rendered(executable, "trimtab", values)
        operator = _container(objects, "operator")
        told = _environment(operator)
        assert told["TRIMTAB_CLAIM"] == name
        assert {"name": "home", "mountPath": told["TRIMTAB_VOLUME"]} in operator["volumeMounts"]
        (pod,) = [one["spec"]["template"]["spec"] for one in of_kind(objects, "Deployment")]
        assert {"name": "home", "persistentVolumeClaim": {"claimName": name}} in pod["volumes"]
        accounts = {one["metadata"]["name"]: one for one in of_kind(objects, "ServiceAccount")}
        assert accounts[told["TRIMTAB_POD_ACCOUNT"]]["automountServiceAccountToken"] is False


def test_what_the_operator_is_told_makes_pods_that_kubernetes_takes(executable: str) -> None:
    """From the values to the objects that the operator makes, without an operator."""
    values = {
        "loops.env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
        "loops.nodeSelector": {"disk": "here"},
        "stores.ledgerSecret.name": "ledger",
        "loops.feedbackSecret.name": "token",
        "imagePullSecrets": ["registry"],
    }
    container = _container(rendered(executable, "trimtab", values), "operator")
    told = {name: value for name, value in _environment(container).items() if value is not None}
    settings = from_environment({**told, "POD_NAMESPACE": NAMESPACE})
    place = settings.place(LoopObject(NAMESPACE, "m", "uid"))
    template = pod_template(place, "job", {"name": "run", "image": place.image})
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "m"}, "spec": template["spec"]}
    for version in ("1.25", "1.37"):
        assert invalid(pod, version) == []
    assert unrestricted(template["spec"]) == []
    (made,) = template["spec"]["containers"]
    assert made["resources"]["requests"] == {"cpu": "250m", "memory": "768Mi"}
    assert {one["name"] for one in made["env"]} == {"POD_IP", "HTTPS_PROXY", "TRIMTAB_LEDGER_URL"}
    assert template["spec"]["nodeSelector"] == {"disk": "here"}
    assert template["spec"]["imagePullSecrets"] == [{"name": "registry"}]


def _exported() -> set[str]:
    """Names that our processes export, as Prometheus sees them: a counter ends with _total."""
    sources = ("serving/kserve/metrics.py", "serving/logs.py", "src/trimtab/operator/metrics.py")
    found = set()
    for source in sources:
        path = ROOT / source
        text = path.read_text() if path.is_file() else ""
        for kind, name in re.findall(r"(Counter|Gauge|Histogram)\(\s*\"(trimtab_[a-z0-9_]+)\"", text):
            suffixes = {"Counter": ("_total",), "Gauge": ("",), "Histogram": ("_bucket", "_sum", "_count")}[kind]
            found |= {name.removesuffix("_total") + suffix for suffix in suffixes}
    return found


def test_alerts_and_dashboard_read_metrics_that_somebody_exports(executable: str) -> None:
    objects = rendered(executable, "trimtab", {"prometheus.rules": True, "dashboard.enabled": True})
    (rules,) = of_kind(objects, "PrometheusRule")
    asked = [rule["expr"] for group in rules["spec"]["groups"] for rule in group["rules"]]
    (shown,) = [one for one in of_kind(objects, "ConfigMap") if "trimtab.json" in one["data"]]
    board = json.loads(shown["data"]["trimtab.json"])
    asked += [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    asked += [one["query"]["query"] for one in board["templating"]["list"] if isinstance(one["query"], dict)]
    known = _exported() | {"envoy_cluster_upstream_rq_xx", "envoy_cluster_upstream_rq_time_bucket"}
    read = {name for expr in asked for name in _METRIC.findall(expr)} - _LABELS
    assert len(read) > 12
    assert read <= known


def test_the_dashboard_is_fresh_and_no_panel_hides_another() -> None:
    import runpy

    made = runpy.run_path(str(ROOT / "helm/dashboard.py"))["dashboard"]()
    assert json.loads((ROOT / "helm/trimtab/files/dashboard.json").read_text()) == made
    taken: set[tuple[int, int]] = set()
    for panel in made["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
        assert panel["type"] == "row" or panel["description"].endswith("."), panel["title"]


def test_panels_show_the_namespaces_that_were_chosen(a_helm: str) -> None:
    """Models, routers and collectors too; the operator's own row is about all that it turns."""
    objects = rendered(a_helm, "trimtab", {"dashboard.enabled": True})
    (shown,) = [one for one in of_kind(objects, "ConfigMap") if "trimtab.json" in one["data"]]
    row, seen = "", []
    for panel in json.loads(shown["data"]["trimtab.json"])["panels"]:
        row = panel["title"] if panel["type"] == "row" else row
        for target in panel.get("targets", []):
            if "operator" not in row:
                assert all('namespace=~"$namespace"' in one for one in re.findall(r"\{[^{}]*\}", target["expr"]))
                bare = [
                    one for one in _METRIC.findall(re.sub(r"\{[^{}]*\}", "{}", target["expr"])) if one not in _LABELS
                ]
                assert target["expr"].count("{") == len(bare), target["expr"]
        seen.append(panel["title"])
    assert {"Drift", "Quality on matured labels", "Phase", "Alarms", "Refused by collectors"} <= set(seen)


def test_the_collector_is_one_writer(executable: str) -> None:
    collector = next(
        one
        for one in of_kind(rendered(executable, "trimtab", {"collector.enabled": True}), "Deployment")
        if one["metadata"]["name"].endswith("-collector")
    )
    assert collector["spec"]["replicas"] == 1
    assert collector["spec"]["strategy"] == {"type": "Recreate"}
