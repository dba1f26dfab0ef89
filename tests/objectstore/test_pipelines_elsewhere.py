"""A loop of the operator whose pipelines run on Kubeflow Pipelines, where no pod sees the operator's volume.

Rows and logs are in a real S3 server, versions in a real MLflow server. KFP's API is the double; what it is asked to
run is really run: by `trimtab pipeline run` in an empty folder, with the parameters that KFP was sent and nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from s3_process import S3Server

from trimtab.adapters.cluster import Cluster
from trimtab.adapters.records.bucket import Shipper
from trimtab.adapters.records.journal import Journal
from trimtab.adapters.records.parquet import RecordFolder
from trimtab.adapters.records.schema import LABELS, PREDICTIONS
from trimtab.errors import Refused
from trimtab.loop.turn import Loop
from trimtab.operator.accepting import LoopObject
from trimtab.operator.bare import from_environment
from trimtab.operator.platforms import platform_from_environment
from trimtab.operator.worlds import ClusterWorlds
from trimtab.spec.document import ModelLoop
from trimtab.testing.bundles import rows
from trimtab.testing.kfp_api import KfpApi
from trimtab.testing.kubernetes.server import KubernetesApi
from trimtab.testing.mlflow_server import MlflowServer

pytestmark = [pytest.mark.local, pytest.mark.slow]
T0 = datetime(2020, 1, 26, tzinfo=UTC)
ABOUT = LoopObject("models", "rodents", "4711")


def document(bucket: str) -> ModelLoop:
    spec: dict[str, Any] = {
        "scope": {"problem": "classification", "metrics": [{"name": "accuracy", "min": 0.6}]},
        "data": {
            "source": {"path": f"s3://{bucket}/in/*.csv"},
            "time": {"column": "caught"},
            "label": {"column": "genus", "delay": "1h"},
            "id": "tag",
        },
        "training": {"estimator": "DecisionTreeClassifier"},
        "monitoring": {"every": "1d", "window": "2d", "leastLabels": 20},
        "retraining": {"cooldown": "1h"},
    }
    return ModelLoop.model_validate(
        {"apiVersion": "trimtab.dev/v1alpha1", "kind": "ModelLoop", "metadata": {"name": "rodents"}, "spec": spec}
    )


class Elsewhere:
    """Runs what KFP is asked to run: each run a process in a folder of its own."""

    def __init__(self, api: KfpApi, folder: Path) -> None:
        self.api, self.folder = api, folder
        self.asked: list[dict[str, Any]] = []
        api.on_run = self.asked.append

    def work(self) -> None:
        """Run what was asked."""
        for run in self.asked:
            version = self.api.versions[run["pipeline_version_reference"]["pipeline_version_id"]]
            home = self.folder / run["run_id"]
            home.mkdir(parents=True)
            (home / "pipeline.yaml").write_text(yaml.safe_dump(version["pipeline_spec"]))
            parameters = run["runtime_config"]["parameters"]
            told = [part for name, value in parameters.items() for part in ("-p", f"{name}={value}")]
            command = [sys.executable, "-m", "trimtab.cli.main", "pipeline", "run", "pipeline.yaml", *told, "--json"]
            environment = {**os.environ, "TMPDIR": str(home)}  # another machine keeps no bundles of this one
            ended = subprocess.run(
                [*command, "--home", str(home / "state")],
                cwd=home,
                env=environment,
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
            )
            assert ended.returncode == 0, ended.stderr + ended.stdout
            self.api.finish(run["run_id"])
        self.asked.clear()


@pytest.fixture
def mlflow(tmp_path: Path) -> Iterator[MlflowServer]:
    made = MlflowServer(tmp_path)
    yield made
    made.close()


def environment(tmp_path: Path, bucket: str, **more: str) -> dict[str, str]:
    return {
        "TRIMTAB_IMAGE": "trimtab:1",
        "TRIMTAB_CLAIM": "disk",
        "POD_NAMESPACE": "models",
        "TRIMTAB_VOLUME": str(tmp_path / "volume"),
        "TRIMTAB_RECORD_STORE": f"s3://{bucket}/logs",
        **more,
    }


def test_a_version_is_trained_and_watched_where_no_pod_sees_the_volume(
    s3: S3Server, bucket: str, tmp_path: Path, mlflow: MlflowServer
) -> None:
    table = rows(600).drop(columns=["_id", "_time"])
    s3.put(f"{bucket}/in/1.csv", table.to_csv(index=False).encode())
    with KubernetesApi() as api, KfpApi() as kfp:
        api.request("POST", "/api/v1/namespaces", {"metadata": {"name": "models"}})
        told = environment(tmp_path, bucket, TRIMTAB_TRACKING_URI=mlflow.url)
        told |= {"TRIMTAB_PIPELINES": "kubeflow", "TRIMTAB_KFP_URL": kfp.url}
        cluster = Cluster.connect(url=api.url)
        found = document(bucket)
        world = ClusterWorlds(cluster, from_environment(told), platform_from_environment(told))(found, ABOUT)
        elsewhere, loop = Elsewhere(kfp, tmp_path / "elsewhere"), Loop(found, world)

        loop.turn(T0)
        assert len(elsewhere.asked) == 1
        parameters = elsewhere.asked[0]["runtime_config"]["parameters"]
        assert str(tmp_path) not in json.dumps(parameters)
        elsewhere.work()
        loop.turn(T0)
        assert loop.state().champion == "1"
        version = world.registry.version("rodents", "1")
        assert version.uri.startswith("mlflow-artifacts:/")
        assert version.bundle.is_relative_to(tmp_path / "volume/models/rodents")

        _live(tmp_path / "volume/models/rodents", f"s3://{bucket}/logs/models/rodents", table.tail(60))
        now = T0 + timedelta(days=1, hours=1)
        loop.turn(now)
        elsewhere.work()
        turn = loop.turn(now)
        assert turn.observed["monitoring"] is not None
        assert turn.observed["counts"]["labels"] == 60
        # The next training compares with this champion, which it has to fetch.
        loop.world.turns.wish(now, "retrain", {})
        loop.turn(now)
        (asked,) = elsewhere.asked
        assert asked["runtime_config"]["parameters"]["champion"] == version.uri
        elsewhere.work()
        loop.turn(now)
        second = world.registry.version("rodents", "2")
        assert second.evidence["champion"] is not None
        cluster.close()


def _live(home: Path, store: str, asked: Any) -> None:
    """Sixty answered requests and their labels, in the store as the collector ships them."""
    predictions, labels = Journal(home / "predictions", "t"), Journal(home / "labels", "t")
    for number, (_, row) in enumerate(asked.iterrows()):
        at = T0 + timedelta(minutes=number)
        features = {name: row[name] for name in ("weight", "hindfoot", "sex", "plot")}
        record = {"id": f"r{number}", "time": at.isoformat(), "version": "1", "shadow": False, "attempt": 1}
        said = {"protocol": "v1", "features": orjson.dumps(features).decode(), "scores": None, "latency_ms": 1.0}
        predictions.append([{**record, **said, "prediction": row["genus"]}])
        labels.append([{"id": f"r{number}", "label": row["genus"], "time": at.isoformat(), "source": "file"}])
    for journal, name, schema in ((predictions, "predictions", PREDICTIONS), (labels, "labels", LABELS)):
        journal.close()
        RecordFolder(home / name, schema).compact()
        assert list(Shipper(home / name, f"{store}/{name}").ship())
        assert not list((home / name).glob("day=*/*.parquet"))


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ({"TRIMTAB_TRACKING_URI": ""}, "stores.trackingUri"),
        ({"TRIMTAB_TRACKING_URI": "sqlite:////x.db"}, "stores.trackingUri"),
        ({"TRIMTAB_RECORD_STORE": ""}, "stores.records"),
    ],
)
def test_what_pods_elsewhere_could_not_reach_is_refused_when_the_operator_starts(
    missing: dict[str, str], said: str, tmp_path: Path
) -> None:
    told = environment(tmp_path, "bucket", TRIMTAB_TRACKING_URI="http://mlflow:5000", TRIMTAB_PIPELINES="kubeflow")
    told |= {"TRIMTAB_KFP_URL": "http://kfp"} | missing
    with pytest.raises(Refused, match=said):
        ClusterWorlds(None, from_environment(told), platform_from_environment(told))  # type: ignore[arg-type]


def test_a_file_on_the_volume_is_refused_where_pipelines_do_not_see_it(tmp_path: Path) -> None:
    told = environment(tmp_path, "bucket", TRIMTAB_TRACKING_URI="http://mlflow:5000", TRIMTAB_PIPELINES="kubeflow")
    told |= {"TRIMTAB_KFP_URL": "http://kfp"}
    text = document("bucket").model_dump(mode="json", by_alias=True, exclude_none=True)
    text["spec"]["data"]["source"] = {"path": "rows.csv"}
    with KubernetesApi() as api:
        cluster = Cluster.connect(url=api.url)
        worlds = ClusterWorlds(cluster, from_environment(told), platform_from_environment(told))
        with pytest.raises(Refused, match="Give an s3:// URI, or a query"):
            worlds(ModelLoop.model_validate(text), ABOUT)
        cluster.close()
