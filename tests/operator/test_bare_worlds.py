"""What of a document and of the operator's environment is refused on a bare cluster, and with which words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from operator_product import SPEC

from trimtab.adapters.cluster import Cluster
from trimtab.adapters.pipelines.job import REFUSED
from trimtab.adapters.records.bucket import SpooledLog
from trimtab.adapters.records.parquet import RecordFolder
from trimtab.adapters.registry.mirror import MirroredRegistry, publisher_from_environment
from trimtab.cli.pipeline_job import main
from trimtab.decisions.state import Cause, LoopState, Training
from trimtab.errors import Refused, TrimtabError
from trimtab.operator.accepting import LoopObject
from trimtab.operator.bare import BareSettings, from_environment
from trimtab.operator.platforms import Platform
from trimtab.operator.status import Seen, status_of
from trimtab.operator.worlds import ClusterWorlds, refuse_source
from trimtab.ports.turns import Turn
from trimtab.spec.document import ModelLoop
from trimtab.spec.read import loads
from trimtab.testing.kubernetes.server import KubernetesApi


def document(**source: str) -> ModelLoop:
    data = {**SPEC["data"], "source": source}  # type: ignore[dict-item]
    head = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "ModelLoop", "metadata": {"name": "m"}}
    return loads(json.dumps({**head, "spec": {**SPEC, "data": data}}))


def settings(volume: Path) -> BareSettings:
    return BareSettings(image="i:1", claim="disk", namespace="models", volume=volume)


NOW = datetime(2026, 1, 1, tzinfo=UTC)
ABOUT = LoopObject("models", "m", "uid")


@pytest.mark.parametrize(
    "path", ["../other/rows.csv", "a/../../x.csv", "/etc/passwd", "/var/lib/trimtab/models/x/r.csv"]
)
def test_files_outside_the_loops_folder_are_refused(path: str, tmp_path: Path) -> None:
    place = settings(tmp_path).place(ABOUT)
    with pytest.raises(Refused, match="nothing but its folder"):
        refuse_source(document(path=path), place, lambda: True)


def test_missing_rows_are_named_with_the_command_and_stop_nothing_that_serves(tmp_path: Path) -> None:
    place = settings(tmp_path).place(ABOUT)
    for path in ("rows.csv", "in/*.csv", str(place.home / "rows.csv")):
        with pytest.raises(TrimtabError, match=r"kubectl -n models cp .*csv OPERATOR-POD:/"):
            refuse_source(document(path=path), place, lambda: False)
        refuse_source(document(path=path), place, lambda: True)
    (place.home / "in").mkdir(parents=True)
    (place.home / "in/a.csv").touch()
    refuse_source(document(path="in/*.csv"), place, lambda: False)
    refuse_source(document(path="s3://rows/a.csv"), place, lambda: False)
    refuse_source(document(query="SELECT 1", url="duckdb://"), place, lambda: False)


def test_a_loop_elsewhere_than_its_volume_is_refused(tmp_path: Path) -> None:
    worlds = ClusterWorlds(None, settings(tmp_path))  # type: ignore[arg-type]
    with pytest.raises(Refused, match="namespace other"):
        worlds(document(path="rows.csv"), LoopObject("other", "m", "uid"))


def test_a_volume_that_is_shared_lets_loops_be_in_other_namespaces(tmp_path: Path, cluster: Cluster) -> None:
    shared = replace(settings(tmp_path), shared=True)
    world = ClusterWorlds(cluster, shared)(document(query="SELECT 1", url="duckdb://"), LoopObject("other", "m", "uid"))
    assert world.predictions_folder == tmp_path / "other/m/predictions"


def test_every_loop_has_a_place_of_its_own_in_the_store_of_logs(tmp_path: Path, cluster: Cluster) -> None:
    told = {"TRIMTAB_IMAGE": "i", "TRIMTAB_CLAIM": "c", "POD_NAMESPACE": "models", "TRIMTAB_VOLUME": str(tmp_path)}
    found = from_environment({**told, "TRIMTAB_RECORD_STORE": "s3://logs/all/"})
    for name in ("m", "n"):
        place = found.place(LoopObject("models", name, "uid"))
        assert {"name": "TRIMTAB_RECORD_STORE", "value": f"s3://logs/all/models/{name}"} in place.environment
    world = ClusterWorlds(cluster, found)(document(query="SELECT 1", url="duckdb://"), ABOUT)
    assert isinstance(world.predictions, SpooledLog)
    plain = ClusterWorlds(cluster, from_environment(told))(document(query="SELECT 1", url="duckdb://"), ABOUT)
    assert isinstance(plain.predictions, RecordFolder)
    with pytest.raises(Refused, match="names no bucket"):
        from_environment({**told, "TRIMTAB_RECORD_STORE": "/logs"})


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with KubernetesApi() as api:
        api.request("POST", "/api/v1/namespaces", {"metadata": {"name": "models"}})
        yield Cluster.connect(url=api.url)


@pytest.mark.parametrize(
    ("platform", "parts"),
    [
        (Platform(), ("JobRunner", "DeploymentServers", "EnvoyDeployment")),
        (
            Platform(router="gateway-api", gateway="infra/door", prometheus_url="http://p"),
            ("JobRunner", "DeploymentServers", "GatewayApiRouter"),
        ),
        (
            Platform(
                router="kserve-standard",
                prometheus_url="http://p",
                storage_uri="pvc://disk",
                pipelines="kubeflow",
                kfp_url="http://k",
            ),
            ("KubeflowRunner", "KServeStandard", "KServeStandard"),
        ),
    ],
)
def test_the_environment_says_whose_parts_are_used(
    tmp_path: Path, cluster: Cluster, platform: Platform, parts: tuple[str, ...]
) -> None:
    place = settings(tmp_path).place(ABOUT)
    place.home.mkdir(parents=True)
    (place.home / "rows.csv").touch()
    reachable = replace(settings(tmp_path), tracking_uri="http://mlflow", record_store="s3://bucket/logs")
    kubeflow = platform.pipelines == "kubeflow"
    source = "s3://bucket/rows.csv" if kubeflow else "rows.csv"
    plain = document(path=source).model_dump(mode="json", by_alias=True, exclude_none=True)
    plain["spec"]["release"] |= {"shadow": False}
    worlds = ClusterWorlds(cluster, reachable if kubeflow else settings(tmp_path), platform)
    world = worlds(loads(json.dumps(plain)), ABOUT)
    assert tuple(type(part).__name__ for part in (world.runner, world.servers, world.router)) == parts


def test_versions_are_shown_in_a_second_registry_where_the_environment_names_one(
    tmp_path: Path, cluster: Cluster
) -> None:
    assert publisher_from_environment({}) is None
    publisher = publisher_from_environment({"TRIMTAB_MODEL_REGISTRY_URL": "http://127.0.0.1:1"})
    assert publisher is not None
    folder = settings(tmp_path).place(ABOUT).home
    folder.mkdir(parents=True)
    (folder / "rows.csv").touch()
    world = ClusterWorlds(cluster, settings(tmp_path), None, publisher)(document(path="rows.csv"), ABOUT)
    assert isinstance(world.registry, MirroredRegistry)
    assert world.remark() == ""
    publisher.point("m", "champion", "1")
    assert not publisher.bring()
    assert "Kubeflow Model Registry at http://127.0.0.1:1" in world.remark()
    seen = Seen(1, NOW, document(path="rows.csv"), remark=world.remark())
    told = {one["type"]: one for one in status_of(seen, ())["conditions"]}
    assert (told["Degraded"]["reason"], told["Degraded"]["message"]) == ("Behind", world.remark())


@pytest.mark.parametrize("url", ["registry:8080", "ftp://registry", "http://", "http://me:hush@registry"])
def test_a_second_registry_that_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(Refused, match="TRIMTAB_MODEL_REGISTRY_URL must be a URL") as refused:
        publisher_from_environment({"TRIMTAB_MODEL_REGISTRY_URL": url})
    assert "hush" not in str(refused.value)


def test_a_release_that_the_router_cannot_do_is_refused_when_the_loop_is_taken_up(
    tmp_path: Path, cluster: Cluster
) -> None:
    platform = Platform(router="kserve-standard", prometheus_url="http://p", storage_uri="pvc://disk")
    with pytest.raises(Refused, match="shadow"):
        ClusterWorlds(cluster, settings(tmp_path), platform)(document(query="SELECT 1", url="duckdb://"), ABOUT)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("TRIMTAB_IMAGE", "", "TRIMTAB_IMAGE"),
        ("TRIMTAB_CLAIM", "", "TRIMTAB_CLAIM"),
        ("TRIMTAB_RESOURCES", "[]", "TRIMTAB_RESOURCES must be JSON"),
        ("TRIMTAB_POD_ENV", "{", "TRIMTAB_POD_ENV must be JSON"),
        ("TRIMTAB_JOB_SECONDS", "soon", "TRIMTAB_JOB_SECONDS must be a number"),
        ("TRIMTAB_DRAIN_SECONDS", "0", "above 0"),
    ],
)
def test_an_environment_that_says_too_little_or_nonsense_is_refused(name: str, value: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        from_environment({"TRIMTAB_IMAGE": "i", "TRIMTAB_CLAIM": "c", name: value})


def test_a_secret_without_a_key_is_refused() -> None:
    found = from_environment({"TRIMTAB_IMAGE": "i", "TRIMTAB_CLAIM": "c", "TRIMTAB_LEDGER_SECRET": "ledger"})
    with pytest.raises(Refused, match="NAME/KEY"):
        found.place(ABOUT)


def test_a_run_whose_pod_cannot_start_says_so_in_the_condition() -> None:
    cause = Cause("first", "first", "first", "Training starts: there is no version that serves yet.")
    state = LoopState(training=Training("first", cause, NOW))
    observed = {"training": {"state": "RUNNING", "reason": "ImagePullBackOff: no such image"}}
    turn = Turn(1, NOW, state.to_json(), observed)
    told = status_of(Seen(1, NOW, document(path="rows.csv"), turn=turn), ())
    (progressing,) = [one for one in told["conditions"] if one["type"] == "Progressing"]
    assert progressing["message"] == f"{cause.sentence} It waits: ImagePullBackOff: no such image"


def test_a_pod_that_does_not_find_its_run_is_refused_for_good(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--home", str(tmp_path), "--run", "r"]) == REFUSED
    assert "what run r is asked for cannot be read" in capsys.readouterr().err
