"""The chart model-release: what a change of role or share touches, and that it says what trimtab's own adapters say."""

from __future__ import annotations

import runpy
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from release_switches import (
    BOTH,
    CHALLENGER,
    CHAMPION,
    GATEWAY,
    KNATIVE,
    RELEASE,
    RUNTIMES,
    SELDON,
    SHADOW,
    SPLIT,
    STANDARD,
    UPGRADE,
    A,
)
from rendering import NAMESPACE, ROOT, of_kind, pod_specs, rendered

from trimtab.adapters import kserve
from trimtab.adapters.router import envoy_routes
from trimtab.adapters.router.http_route import Place, http_route
from trimtab.ports.router import Routes, Target
from trimtab.ports.servers import ServerRequest
from trimtab.serving.kserve.arguments import parse

Json = dict[str, Any]
CHART = "model-release"
PROMOTED = {key.replace("challenger", "champion"): value for key, value in CHALLENGER.items()}


def _release(executable: str, values: Json) -> tuple[Json, ...]:
    return rendered(executable, CHART, {**values, UPGRADE: True})


def _changed(executable: str, before: Json, after: Json) -> set[str]:
    """What `helm upgrade` from one to the other changes, makes or removes."""
    seen = [
        {f"{one['kind']}/{one['metadata']['name']}": one for one in _release(executable, values)}
        for values in (before, after)
    ]
    return {name for name in seen[0] | seen[1] if seen[0].get(name) != seen[1].get(name)}


def _named(objects: tuple[Json, ...], kind: str, name: str) -> Json:
    (found,) = [one for one in of_kind(objects, kind) if one["metadata"]["name"] == name]
    return found


def _server(executable: str, values: Json) -> Json:
    pod = _named(_release(executable, values), "Deployment", "r-v1")["spec"]["template"]["spec"]
    return dict(pod["containers"][0])


@pytest.mark.parametrize(
    ("router", "touched"),
    [
        ({}, {"ConfigMap/r-router"}),
        (GATEWAY, {"HTTPRoute/r"}),
        (STANDARD, {"InferenceService/r"}),
        (KNATIVE, {"InferenceService/r"}),
    ],
)
def test_another_share_touches_the_router_only(executable: str, router: Json, touched: set[str]) -> None:
    assert _changed(executable, {**SPLIT, **router}, {**SPLIT, **router, "trafficPercent": 60}) == touched


@pytest.mark.parametrize("router", [{}, GATEWAY])
def test_a_promotion_starts_no_pod_anew(executable: str, router: Json) -> None:
    before, after = (_release(executable, {**values, **router}) for values in (BOTH, PROMOTED))
    assert (
        _named(before, "Deployment", "r-v2")["spec"]["template"]
        == _named(after, "Deployment", "r-v2")["spec"]["template"]
    )
    if not router:
        assert _named(before, "Deployment", "r-router") == _named(after, "Deployment", "r-router")


def test_a_promotion_by_kserve_keeps_the_predictor(executable: str) -> None:
    """KServe: the predictor's name is the Deployment's; Knative: another predictor would be another revision."""
    counts = ("minReplicas", "maxReplicas", "canaryTrafficPercent")
    for router in (STANDARD, KNATIVE):
        before, after = (
            _named(_release(executable, {**values, **router}), "InferenceService", "r")["spec"]
            for values in (SPLIT, PROMOTED)
        )
        challenger = before["canary"][0]["predictor"] if before.get("canary") else before["predictor"]
        kept = [
            {key: value for key, value in one.items() if key not in counts} for one in (challenger, after["predictor"])
        ]
        assert kept[0] == kept[1]


def test_the_routes_are_those_of_the_adapter(executable: str) -> None:
    values = {**SPLIT, **SHADOW, **GATEWAY, "model": "orders", "gateway.marksCopies": True, "shadowPercent": 40}
    values |= {"collector": f"collector.{NAMESPACE}.svc:8080", "gateway.hostnames": ["a.example.com"]}
    found = _named(_release(executable, values), "HTTPRoute", "r")["spec"]
    one, two, three = (Target(version, f"r-v{version}.{NAMESPACE}.svc:8080") for version in "123")
    place = Place("r", NAMESPACE, "orders", "istio-system/public", ("a.example.com",))
    split = http_route(Routes(one, two, 25, 0, values["collector"]), place)["spec"]
    (copies,) = [
        one
        for rule in http_route(Routes(one, three, 0, 40), place)["spec"]["rules"]
        for one in rule.get("filters", ())
        if one["type"] == "RequestMirror"
    ]
    split["rules"][2]["filters"].append(copies)
    assert found == split


def test_the_paths_of_our_server_are_those_of_our_router(executable: str) -> None:
    known = yaml.safe_load((ROOT / "helm/model-release/files/runtimes.yaml").read_text())
    assert set(known) == set(RUNTIMES)
    assert known["kserve"]["predict"] == envoy_routes._PREDICT
    assert known["kserve"]["about"] == envoy_routes._ABOUT


def test_our_server_takes_its_arguments(executable: str) -> None:
    values = {**CHAMPION, "model": "orders", "limits.maxBodyBytes": 2_000_000, "args": ["--no-scores"]}
    container = _server(executable, values)
    environment = {one["name"]: one["value"] for one in container["env"]}
    given = [
        one.replace("$(TRIMTAB_VERSION)", environment["TRIMTAB_VERSION"]).replace(
            "$(TRIMTAB_DIGEST)", environment["TRIMTAB_DIGEST"]
        )
        for one in container["args"]
    ]
    found = parse(given)
    assert (found.name, found.version, found.digest, found.http_port) == ("orders", "1", A, 8080)
    assert (found.bundle, found.max_body_bytes, found.no_scores) == (Path("/mnt/models"), 2_000_000, True)


def test_the_predictor_says_what_the_adapter_says(executable: str) -> None:
    values = {**SPLIT, **STANDARD, "kserve.servingRuntime": "trimtab-kserve", "serviceAccount.name": "reader"}
    found = _named(_release(executable, values), "InferenceService", "r")["spec"]["predictor"]
    settings = kserve.Settings("r", NAMESPACE, Path("/m"), "s3://models/orders", service_account="reader")
    wanted = kserve.predictor(settings, ServerRequest("1", Path("/m/1"), A), named=True)
    for name in ("name", "labels", "serviceAccountName"):
        assert found[name] == wanted[name]
    for name in ("name", "modelFormat", "runtime", "storageUri", "args"):
        assert found["model"][name] == wanted["model"][name], name
    assert all(one in found["model"]["env"] for one in wanted["model"]["env"])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_metrics_are_where_the_pod_monitor_looks(executable: str, runtime: str) -> None:
    """The chart trimtab's PodMonitor reads ports `metrics` and `stats` of pods with a label."""
    objects = _release(executable, {**SELDON, "runtime": runtime})
    for one in of_kind(objects, "Deployment"):
        template = one["spec"]["template"]
        wanted = {"model": "metrics", "router": "stats"}[template["metadata"]["labels"]["trimtab.dev/metrics"]]
        ports = template["spec"]["containers"][0]["ports"]
        assert wanted in {port["name"] for port in ports}
        numbers = [port["containerPort"] for port in ports]
        assert len(set(numbers)) == len(numbers), "server-side apply refuses a port that is there twice"


def test_knative_is_given_one_port_and_nothing_that_it_refuses(executable: str) -> None:
    (runtime,) = of_kind(_release(executable, {**SPLIT, **KNATIVE}), "ServingRuntime")
    (container,) = runtime["spec"]["containers"]
    assert len(container["ports"]) == 1
    assert "lifecycle" not in container


def test_gpus_are_requested_and_limited(executable: str) -> None:
    for router in ({}, STANDARD):
        values = {**CHAMPION, **router, "runtime": "triton", "gpu.count": 2}
        for name, pod in pod_specs(_release(executable, values)):
            if "router" in name:
                continue
            found = pod["containers"][0]["resources"]
            assert (found["requests"]["nvidia.com/gpu"], found["limits"]["nvidia.com/gpu"]) == (2, 2)


def test_files_come_from_the_volume_or_are_fetched(executable: str) -> None:
    values = {**SPLIT, "storage.secret": "s3", "storage.endpoint": "http://minio:9000"}
    objects = _release(executable, values)
    fetched = _named(objects, "Deployment", "r-v1")["spec"]["template"]["spec"]
    assert fetched["initContainers"][0]["args"] == ["s3://models/orders/1", "/mnt/models"]
    assert {one["name"] for one in fetched["initContainers"][0]["env"]} >= {"AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL"}
    mounted = _named(objects, "Deployment", "r-v2")["spec"]["template"]["spec"]
    assert "initContainers" not in mounted
    assert {"name": "model", "persistentVolumeClaim": {"claimName": "claim", "readOnly": True}} in mounted["volumes"]
    (mount,) = [one for one in mounted["containers"][0]["volumeMounts"] if one["name"] == "model"]
    assert (mount["subPath"], mount["readOnly"]) == ("orders/2", True)


def test_servers_are_reached_through_the_router_only_and_call_nobody(executable: str) -> None:
    on_volumes = {**CHAMPION, "champion.uri": "pvc://claim/1"}
    policy = _named(_release(executable, on_volumes), "NetworkPolicy", "r-servers")["spec"]
    assert policy["egress"] == []
    (peer,) = policy["ingress"][0]["from"]
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "router"
    fetching = _named(_release(executable, CHAMPION), "NetworkPolicy", "r-servers")["spec"]
    assert {port["port"] for rule in fetching["egress"] for port in rule["ports"]} == {53, 443, 9000}


def test_every_runtime_is_probed_on_its_port_and_has_a_place_to_write(executable: str) -> None:
    for runtime in RUNTIMES:
        container = _server(executable, {**SELDON, "runtime": runtime})
        asked = [
            container[probe]["httpGet"]
            for probe in ("livenessProbe", "readinessProbe")
            if "exec" not in container[probe]
        ]
        assert {one["port"] for one in asked} == {8080}
        run = container["readinessProbe"].get("exec", {}).get("command", [])
        assert bool(run) == (runtime == "torchserve")
        assert {"name": "scratch", "mountPath": "/tmp"} in container["volumeMounts"]
        assert "@" not in shlex.join([*container.get("args", ()), *run, *(one["path"] for one in asked)])


def test_no_switch_of_another_runtime_or_router_is_left_over(executable: str) -> None:
    """Of KServe's and Seldon's objects nothing is made for another router, and no Deployment for theirs."""
    kinds = {"ServingRuntime", "InferenceService", "HTTPRoute", "SeldonDeployment", "Deployment"}
    wanted = {
        "envoy": {"Deployment"},
        "gateway-api": {"Deployment", "HTTPRoute"},
        "kserve-standard": {"ServingRuntime", "InferenceService"},
        "kserve-knative": {"ServingRuntime", "InferenceService"},
        "seldon": {"SeldonDeployment"},
    }
    for name, values in RELEASE.items():
        found = {one["kind"] for one in rendered(executable, CHART, values)} & kinds
        expected = wanted[values.get("router", "envoy")]
        assert found == expected - ({"ServingRuntime"} if "kserve.servingRuntime" in values else set()), name


@pytest.mark.parametrize("router", [GATEWAY, STANDARD, KNATIVE])
def test_the_rules_of_published_kinds_are_kept(executable: str, router: Json) -> None:
    """The CEL rules too, which a schema alone does not judge."""
    judge = runpy.run_path(str(ROOT / "tests/contracts/published_crds.py"))
    name = judge["HTTP_ROUTES"] if router is GATEWAY else judge["INFERENCE_SERVICES"]
    kind = "HTTPRoute" if router is GATEWAY else "InferenceService"
    for values in (CHAMPION, BOTH, SPLIT):
        assert judge["broken"](_named(_release(executable, {**values, **router}), kind, "r"), name) == []
