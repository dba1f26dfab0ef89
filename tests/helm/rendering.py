"""Rendering charts with every helm that is here, and judging what came out."""

from __future__ import annotations

import functools
import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from release_switches import UPGRADE

Json = dict[str, Any]
ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "tests" / "contracts" / "published"  # what is always here
CRDS = ROOT.parent / "shared" / "crds"
TOOLS = Path(sys.prefix) / "helm"  # of the virtual environment
CHARTS = ("trimtab", "model-release", "drift-monitor")
NO_HELM = f"no helm on PATH or in {TOOLS}: .ci/kubernetes-tools {sys.executable} {TOOLS}"
NAMESPACE = "models"


@functools.cache
def helms() -> tuple[str, ...]:
    """Helm 3 and Helm 4 from their wheels, or else the one on PATH."""
    found = [str(path) for path in sorted(TOOLS.glob("[34]/helm"))]
    on_path = shutil.which("helm")
    return tuple(found or ([on_path] if on_path else []))


def helm(executable: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    # KUBECONFIG: a chart must not look at whatever cluster a person happens to be logged in to.
    environment = {**os.environ, "KUBECONFIG": "/dev/null"}
    return subprocess.run(
        [executable, *arguments], capture_output=True, text=True, timeout=60, env=environment, check=False
    )


def template(executable: str, chart: str, values: Json, version: str = "1.30.0") -> subprocess.CompletedProcess[str]:
    """`helm template` with the values as JSON, so that their types are kept; with UPGRADE the release is there."""
    given = [f"--set-json={key}={json.dumps(value)}" for key, value in values.items() if key != UPGRADE]
    given += ["--is-upgrade"] if values.get(UPGRADE) else []
    return helm(
        executable,
        *("template", "r", str(ROOT / "helm" / chart), "--namespace", NAMESPACE, "--kube-version", version),
        *("--include-crds", *given),
    )


@functools.cache
def _rendered(executable: str, chart: str, values: str) -> tuple[Json, ...]:
    done = template(executable, chart, json.loads(values))
    assert done.returncode == 0, done.stderr
    return tuple(one for one in yaml.safe_load_all(done.stdout) if one)


def rendered(executable: str, chart: str, values: Json) -> tuple[Json, ...]:
    """The objects of the chart."""
    return _rendered(executable, chart, json.dumps(values, sort_keys=True))


def by_name(objects: tuple[Json, ...]) -> dict[tuple[str, str, str], Json]:
    return {(one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]): one for one in objects}


def refusal(executable: str, chart: str, values: Json) -> str:
    """What helm says when it refuses the values."""
    done = template(executable, chart, values)
    assert done.returncode != 0, "these values were taken"
    return done.stderr


def of_kind(objects: tuple[Json, ...], kind: str) -> list[Json]:
    return [one for one in objects if one["kind"] == kind]


def pod_specs(objects: tuple[Json, ...]) -> Iterator[tuple[str, Json]]:
    """Every pod that the objects make: (what makes it, its spec)."""
    for one in objects:
        name, spec = f"{one['kind']}/{one['metadata']['name']}", one.get("spec", {})
        if one["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield name, spec["template"]["spec"]
        if one["kind"] == "CronJob":
            yield name, spec["jobTemplate"]["spec"]["template"]["spec"]
        if one["kind"] == "Pod":
            yield name, spec
        if one["kind"] == "SeldonDeployment":
            for predictor in spec["predictors"]:
                yield from ((name, component["spec"]) for component in predictor["componentSpecs"])
        # The pods below are KServe's, which decides on their environment.
        if one["kind"] in ("ServingRuntime", "ClusterServingRuntime"):
            yield name, {"enableServiceLinks": False, **spec}
        if one["kind"] == "InferenceService":
            for predictor in (spec["predictor"], *(canary["predictor"] for canary in spec.get("canary", []))):
                model = [predictor["model"]] if "model" in predictor else predictor["containers"]
                yield name, {"enableServiceLinks": False, **predictor, "containers": model}


def unrestricted(pod: Json) -> list[str]:
    """What Pod Security `restricted` (v1.30) would refuse, and what this project wants beyond it."""
    wrong = [key for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)]
    allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected"}
    wrong += [
        f"volume {one['name']}" for one in pod.get("volumes", []) if not set(one) - {"name"} <= allowed | {"secret"}
    ]
    if pod.get("enableServiceLinks") is not False:
        # A Service `trimtab-metrics` becomes TRIMTAB_METRICS_PORT=tcp://..., over what a pod was told.
        wrong.append("variables for every Service of the namespace")
    shared = pod.get("securityContext", {})
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        own = container.get("securityContext", {})
        name = container.get("name", "model")
        if not own.get("runAsNonRoot", shared.get("runAsNonRoot")):
            wrong.append(f"{name}: may run as root")
        if own.get("runAsUser", shared.get("runAsUser")) != 65532:
            wrong.append(f"{name}: not the user 65532")
        if own.get("seccompProfile", shared.get("seccompProfile")) != {"type": "RuntimeDefault"}:
            wrong.append(f"{name}: seccomp")
        if own.get("allowPrivilegeEscalation") is not False:
            wrong.append(f"{name}: privilege escalation")
        if own.get("capabilities") != {"drop": ["ALL"]}:
            wrong.append(f"{name}: capabilities")
        if not own.get("readOnlyRootFilesystem"):
            wrong.append(f"{name}: writable root")
        if "resources" not in container or not {"requests", "limits"} <= set(container["resources"]):
            wrong.append(f"{name}: no bounds on what it takes")
        wrong += [f"{name}: host port" for port in container.get("ports", []) if port.get("hostPort")]
    return wrong


@functools.cache
def custom_schemas() -> dict[tuple[str, str], Json]:
    """(apiVersion, kind) to structural schema, of every CRD here."""
    from trimtab.spec import crd

    found = [json.loads(path.read_text()) for path in CRDS.glob("*.json")] if CRDS.is_dir() else []
    found += [json.loads(gzip.decompress(path.read_bytes())) for path in PUBLISHED.glob("*.json.gz")]
    schemas = {}
    for one in [*found, crd.definition()]:
        for version in one["spec"]["versions"]:
            key = (f"{one['spec']['group']}/{version['name']}", one["spec"]["names"]["kind"])
            schemas[key] = version.get("schema", {}).get("openAPIV3Schema", {})
    return schemas


def invalid(one: Json, version: str) -> list[str]:
    """Why an API server of this version would refuse the object, unknown fields among it."""
    return list(_invalid(json.dumps(one, sort_keys=True), version))


@functools.cache
def _invalid(text: str, version: str) -> tuple[str, ...]:
    import kubernetes_validate

    one: Json = json.loads(text)
    if one["kind"] == "CustomResourceDefinition":
        return ()  # tests/crd judges it
    schema = custom_schemas().get((one["apiVersion"], one["kind"]))
    if schema is not None:
        errors = [error.message for error in jsonschema.Draft4Validator(schema).iter_errors(one)]
        return (*errors, *(f"unknown field {path}" for path in _unknown(one, schema)))
    if "." in one["apiVersion"].partition("/")[0] and not one["apiVersion"].partition("/")[0].endswith(".k8s.io"):
        pytest.skip(f"the schema of {one['kind']} is not here ({CRDS})")
    try:
        kubernetes_validate.validate(one, version, strict=True)
    except (kubernetes_validate.ValidationError, kubernetes_validate.InvalidSchemaError) as error:
        return (str(error),)
    return ()


def _unknown(value: Any, schema: Json, path: str = "") -> Iterator[str]:
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    if isinstance(value, dict):
        for name, child in value.items():
            if path == "" and name in ("apiVersion", "kind", "metadata"):
                continue
            inner = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            if inner is None:
                yield f"{path}.{name}"
            elif isinstance(inner, dict):
                yield from _unknown(child, inner, f"{path}.{name}")
    if isinstance(value, list):
        for index, child in enumerate(value):
            yield from _unknown(child, schema.get("items", {}), f"{path}[{index}]")
