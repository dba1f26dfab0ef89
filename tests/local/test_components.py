"""The components as KFP runs them: the compiled pipelines on the engine, on real files."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from commands import TRIMTAB, csv

from trimtab import wiring
from trimtab.components.reading import document, moment
from trimtab.decisions.monitoring import MonitoringVerdict
from trimtab.errors import DataRefused
from trimtab.stages.bundle import verify

pytestmark = pytest.mark.local


def _loop(folder: Path, **training: object) -> str:
    spec = {
        "scope": {"problem": "classification"},
        "data": {
            "source": {"path": str(csv(folder))},
            "id": "tag",
            "time": {"column": "caught"},
            "label": {"column": "genus"},
        },
        "training": {"estimator": "DecisionTreeClassifier", **training},
    }
    head = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "ModelLoop", "metadata": {"name": "rodents"}}
    return json.dumps({**head, "spec": spec})


def _run(folder: Path, pipeline: str, code: int, **parameters: str) -> dict[str, object]:
    arguments = [part for name, value in parameters.items() for part in ("-p", f"{name}={value}")]
    file = wiring.pipelines_folder() / f"{pipeline}.yaml"
    ended = subprocess.run(
        [*TRIMTAB, "pipeline", "run", str(file), *arguments, "--json", "--home", str(folder / "home")],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert ended.returncode == code, ended.stderr
    return dict(json.loads(ended.stdout))


def _training(folder: Path, loop: str, code: int = 0, **more: str) -> dict[str, object]:
    return _run(
        folder,
        "training-pipeline",
        code,
        loop=loop,
        tracking_uri=f"sqlite:///{folder / 'mlflow.db'}",
        artifact_root=str(folder / "artifacts"),
        **more,
    )


def test_training_then_monitoring_from_the_compiled_files(tmp_path: Path) -> None:
    loop = _loop(tmp_path)
    trained = _training(tmp_path, loop, as_of="2020-01-24T00:00:00+00:00")
    output = dict(trained["output"])  # type: ignore[call-overload]
    assert (output["version"], output["verdict"]) == ("1", "pass")
    manifest = verify(Path(output["bundle"]), output["digest"])
    assert manifest.as_of == "2020-01-24T00:00:00+00:00"
    again = _training(tmp_path, loop, as_of="2020-01-25T00:00:00+00:00", champion=output["bundle"],
                      champion_digest=output["digest"])  # fmt: skip
    second = dict(again["output"])  # type: ignore[call-overload]
    assert second["version"] == "2"
    assert json.loads(second["evidence"])["champion"] is not None
    watched = _run(
        tmp_path,
        "monitoring-pipeline",
        0,
        loop=loop,
        now="2020-02-01",
        predictions=str(tmp_path / "predictions"),
        labels=str(tmp_path / "labels"),
        bundle=output["bundle"],
        digest=output["digest"],
    )
    verdict = MonitoringVerdict.from_json(str(watched["output"]["verdict"]))  # type: ignore[index]
    assert (verdict.verdict, verdict.rows) == ("insufficient evidence", 0)


def test_a_champion_of_another_digest_is_not_unpickled_and_not_compared_with(tmp_path: Path) -> None:
    loop = _loop(tmp_path)
    trained = dict(_training(tmp_path, loop)["output"])  # type: ignore[call-overload]
    alone = _training(tmp_path, loop, champion=trained["bundle"], champion_digest=f"sha256:{'0' * 64}")
    evidence = json.loads(alone["output"]["evidence"])  # type: ignore[index]
    assert evidence["champion"] == {}
    assert "no comparison: the champion's bundle cannot be read" in evidence["reasons"][-1]
    assert "Restore the bundle" in evidence["reasons"][-1]


def test_a_training_that_takes_longer_than_allowed_is_stopped_and_says_so(tmp_path: Path) -> None:
    failed = _training(tmp_path, _loop(tmp_path, estimator="HistGradientBoostingClassifier",
                                       parameters={"max_iter": 100_000}, timeout="1s"), code=1)  # fmt: skip
    train = next(task for task in failed["tasks"] if task["path"] == "train")  # type: ignore[attr-defined]
    assert "training.timeout allows 1s" in train["exit_reason"]


def test_a_source_with_nothing_known_yet_is_refused_with_the_reason(tmp_path: Path) -> None:
    failed = _training(tmp_path, _loop(tmp_path), code=1, as_of="2019-01-01")
    ingest = next(task for task in failed["tasks"] if task["path"] == "ingest")  # type: ignore[attr-defined]
    assert "exit code 1: refused: " in ingest["exit_reason"]


def test_a_time_is_read_with_or_without_an_offset() -> None:
    assert moment("2020-01-01") == moment("2020-01-01T01:00:00+01:00")
    assert moment("").utcoffset() == timedelta(0)
    with pytest.raises(DataRefused, match="'yesterday'"):
        moment("yesterday")


def test_a_document_that_is_wrong_is_refused_by_a_component_too(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"spec\.bogus"):
        document(_loop(tmp_path).replace('"training"', '"bogus": 1, "training"'))


def test_components_name_one_image() -> None:
    found = subprocess.run(
        ["grep", "-ho", "image: .*", *map(str, sorted(wiring.pipelines_folder().glob("*.yaml")))],
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(set(found.stdout.split("\n")) - {""}) == 1
    assert sys.version_info >= (3, 11)
