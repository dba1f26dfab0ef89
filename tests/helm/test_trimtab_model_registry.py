"""The chart of the operator: with `stores.modelRegistry` versions are shown in Kubeflow Model Registry."""

from __future__ import annotations

from typing import Any

import pytest
from rendering import of_kind, rendered, template

from trimtab.adapters.registry.mirror import publisher_from_environment

Json = dict[str, Any]
URL = "http://model-registry-service.kubeflow.svc:8080"
SHOWN: Json = {"stores.modelRegistry.url": URL, "stores.modelRegistry.audience": "model-registry"}


def _operator(executable: str, values: Json) -> tuple[Json, dict[str, str], tuple[Json, ...]]:
    """Pod, environment and everything else."""
    objects = rendered(executable, "trimtab", values)
    (found,) = [one for one in of_kind(objects, "Deployment") if one["metadata"]["name"] == "r-trimtab"]
    pod: Json = found["spec"]["template"]["spec"]
    return pod, {one["name"]: one.get("value", "") for one in pod["containers"][0]["env"]}, objects


def test_by_default_versions_are_shown_nowhere_else(executable: str) -> None:
    pod, told, _ = _operator(executable, {})
    assert not [name for name in told if "MODEL_REGISTRY" in name]
    assert publisher_from_environment(told) is None
    assert not [one for one in pod["volumes"] if one["name"] == "model-registry"]


def test_the_url_is_told_its_port_is_open_and_the_token_is_a_projected_one(executable: str) -> None:
    pod, told, objects = _operator(executable, SHOWN)
    assert publisher_from_environment(told) is not None
    (volume,) = [one for one in pod["volumes"] if one["name"] == "model-registry"]
    (source,) = volume["projected"]["sources"]
    assert source["serviceAccountToken"]["audience"] == "model-registry"
    (mount,) = [one for one in pod["containers"][0]["volumeMounts"] if one["name"] == "model-registry"]
    file = f"{mount['mountPath']}/{source['serviceAccountToken']['path']}"
    assert told["TRIMTAB_MODEL_REGISTRY_TOKEN_FILE"] == file
    (policy,) = [one for one in of_kind(objects, "NetworkPolicy") if one["metadata"]["name"] == "r-trimtab"]
    assert 8080 in [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]]


def test_without_an_audience_no_token_is_sent(executable: str) -> None:
    pod, told, _ = _operator(executable, {"stores.modelRegistry.url": URL})
    assert told["TRIMTAB_MODEL_REGISTRY_URL"] == URL
    assert "TRIMTAB_MODEL_REGISTRY_TOKEN_FILE" not in told
    assert "model-registry" not in [one["name"] for one in pod["volumes"]]


@pytest.mark.parametrize(("name", "value"), [("url", "model-registry:8080"), ("token", "x"), ("audience", 3)])
def test_a_wrong_value_is_refused(executable: str, name: str, value: Any) -> None:
    done = template(executable, "trimtab", {f"stores.modelRegistry.{name}": value})
    assert done.returncode != 0
    assert name in done.stderr
