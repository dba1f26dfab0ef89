"""What KServe serves is remembered: by the servers' own log in the loop's folder, or by KServe's logger."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from published_crds import HTTP_ROUTES, INFERENCE_SERVICES, broken, with_definitions
from test_kserve import SETTINGS, request

from trimtab.adapters.cluster import Cluster
from trimtab.adapters.kserve import INFERENCE_SERVICES as OBJECTS
from trimtab.adapters.kserve import predictor
from trimtab.adapters.servers.collector_deployment import CollectorDeployment, address
from trimtab.adapters.servers.kserve import KServeServers
from trimtab.adapters.workloads import DEPLOYMENTS, SERVICES
from trimtab.operator.accepting import LoopObject
from trimtab.operator.bare import BareSettings
from trimtab.operator.platforms import Platform, serving_parts
from trimtab.serving.kserve.arguments import parse
from trimtab.spec.document import ModelLoop
from trimtab.testing.kubernetes.server import KubernetesApi

RUNTIME = Path(__file__).parents[2] / "serving/kserve/runtime.yaml"
ABOUT = LoopObject("shop", "rodents", "4711")
PLACE = BareSettings(image="i:1", claim="disk", namespace="shop", volume=Path("/volume")).place(ABOUT)
KSERVE = Platform(router="gateway-api", gateway="a/b", prometheus_url="http://p", storage_uri="pvc://disk")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with KubernetesApi() as api:
        with_definitions(api, HTTP_ROUTES, INFERENCE_SERVICES)
        made = Cluster.connect(url=api.url)
        yield made
        made.close()


def written(cluster: Cluster, platform: Platform) -> dict[str, Any]:
    """The InferenceService of version 1 as the operator writes it."""
    document = ModelLoop.model_validate(
        {
            "apiVersion": "trimtab.dev/v1alpha1",
            "kind": "ModelLoop",
            "metadata": {"name": "rodents"},
            "spec": {
                "scope": {"problem": "classification"},
                "data": {"source": {"path": "r.csv"}, "time": {"column": "t"}, "label": {"column": "y"}},
                "release": {"shadow": False},
            },
        }
    )
    servers, _ = serving_parts(cluster, document, PLACE, ABOUT, platform)
    assert isinstance(servers, KServeServers)
    servers.ensure([replace(request("1"), bundle=Path("/volume/shop/rodents/artifacts/1"))])
    (found,) = cluster.list(OBJECTS, "shop", "trimtab.dev/loop=rodents")
    assert broken(found, INFERENCE_SERVICES) == []
    return dict(found["spec"]["predictor"])


def test_the_servers_write_their_log_into_the_loops_own_folder(cluster: Cluster) -> None:
    found = written(cluster, replace(KSERVE, storage_root="/volume"))
    (volume,), (mount,) = found["volumes"], found["model"]["volumeMounts"]
    assert volume == {"name": mount["name"], "persistentVolumeClaim": {"claimName": "disk"}}
    assert mount["subPath"] == "shop/rodents/predictions"
    assert "logger" not in found
    # KServe puts the predictor's arguments behind the runtime's, and adds the mounts of both.
    container = yaml.safe_load(RUNTIME.read_text())["spec"]["containers"][0]
    values = {"{{.Name}}": "x", "$(TRIMTAB_VERSION)": "1", "$(TRIMTAB_DIGEST)": f"sha256:{'a' * 64}"}
    given = [*container["args"], *found["model"]["args"]]
    for name, value in values.items():
        given = [text.replace(name, value) for text in given]
    assert str(parse(given).log_dir) == mount["mountPath"]
    assert mount["name"] not in {one["name"] for one in container["volumeMounts"]}
    assert mount["mountPath"] not in {one["mountPath"] for one in container["volumeMounts"]}


def test_or_kserves_logger_tells_the_collector_of_each_call(cluster: Cluster) -> None:
    found = written(cluster, replace(KSERVE, storage_root="/volume", payload_logger=True))
    assert found["logger"] == {
        "mode": "all",
        "url": "http://rodents-collector.shop.svc:8080/v1/payloads",
        "metadataHeaders": ["X-Request-Id"],
    }
    assert "volumes" not in found
    assert not [text for text in found["model"]["args"] if "log-dir" in text]


def test_without_either_nothing_is_added() -> None:
    found = predictor(SETTINGS, request("1"), named=False)
    assert not {"logger", "volumes", "securityContext"} & set(found)


@pytest.mark.parametrize(("payloads", "told"), [(True, ["--payloads=rodents"]), (False, [])])
def test_the_collector_takes_the_logger_s_events_of_its_loop_only_where_they_are_sent(
    cluster: Cluster, payloads: bool, told: list[str]
) -> None:
    collector = CollectorDeployment(cluster, PLACE, payloads=payloads)
    collector.ensure()
    (found,) = cluster.list(DEPLOYMENTS, "shop", "trimtab.dev/role=collector")
    (container,) = found["spec"]["template"]["spec"]["containers"]
    assert [text for text in container["args"] if "payloads" in text] == told
    (service,) = cluster.list(SERVICES, "shop", "trimtab.dev/role=collector")
    name, port = service["metadata"]["name"], service["spec"]["ports"][0]["port"]
    assert address(PLACE) == f"{name}.shop.svc:{port}"
