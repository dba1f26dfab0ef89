"""Registering a judged bundle in MLflow: run, parameters, metrics, artifacts, version, and what vouches for it."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.errors import TrimtabError
from trimtab.stages.bundle import Manifest
from trimtab.stages.objects import store_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient

DIGEST_TAG = "trimtab.digest"
BUNDLE = "bundle"
_LONGEST_PARAMETER = 500
_LONGEST_TAG = 5000  # characters: what MLflow promises to keep
_IMPORTING = threading.Lock()


def register(
    folder: Path,
    digest: str,
    manifest: Manifest,
    evaluation: Mapping[str, Any],
    parameters: Mapping[str, Any],
    tracking_uri: str,
    artifact_root: str,
) -> str:
    """Store the bundle and make it a model version; returns the version. The same digest again is the same version.

    Of several that register one digest at the same time, all return the version that came first. Raises TrimtabError
    when the store cannot be reached or written.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    failures: tuple[type[Exception], ...] = (MlflowException, SQLAlchemyError, *store_errors())
    try:
        client = connect(tracking_uri)
        known = find(client, manifest.name, digest)
        if known is not None:
            return known
        version = _store(client, folder, digest, manifest, evaluation, parameters, artifact_root)
        first = find(client, manifest.name, digest)
        if first is not None and first != version:  # somebody else registered it in the meantime
            client.delete_model_version(manifest.name, version)
            return first
    except failures as error:
        raise TrimtabError(f"{manifest.name} could not be registered at {tracking_uri}: {error}") from error
    return version


def _store(
    client: MlflowClient,
    folder: Path,
    digest: str,
    manifest: Manifest,
    evaluation: Mapping[str, Any],
    parameters: Mapping[str, Any],
    artifact_root: str,
) -> str:
    run = client.create_run(
        _experiment(client, manifest.name, artifact_root), run_name=f"{manifest.name} as of {manifest.as_of}"
    )
    run_id = run.info.run_id
    for name, item in parameters.items():
        client.log_param(run_id, name, str(item)[:_LONGEST_PARAMETER])
    for name, estimate in evaluation["metrics"].items():
        if estimate["value"] is not None:
            client.log_metric(run_id, name, estimate["value"])
    client.log_artifacts(run_id, str(folder), BUNDLE)
    source = f"{run.info.artifact_uri}/{BUNDLE}"
    tags = {
        DIGEST_TAG: digest,
        "trimtab.data_version": manifest.data_version,
        "trimtab.code_version": manifest.code_version,
        "trimtab.as_of": manifest.as_of,
        "trimtab.verdict": str(evaluation["verdict"]),
        "trimtab.evidence": json.dumps(short(evaluation)),
    }
    made = client.create_model_version(manifest.name, source, run_id=run_id, tags=tags)
    client.set_terminated(run_id)
    return str(made.version)


def connect(tracking_uri: str) -> MlflowClient:
    """MLflow's client; nothing is sent to anybody but the tracking store."""
    bring_mlflow()
    from mlflow import MlflowClient

    with made_by_one(tracking_uri):
        client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
        client.search_experiments(max_results=1)  # makes the tracking store's tables, and the next line the registry's
        client.search_registered_models(max_results=1)
    return client


@contextmanager
def made_by_one(tracking_uri: str) -> Iterator[None]:
    """Two processes that migrate a new SQLite store at once fail with what looks like a circular dependency."""
    kind, _, path = tracking_uri.partition(":///")
    if kind != "sqlite" or not path:
        yield
        return
    file = Path(path).with_name(Path(path).name + ".lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def bring_mlflow() -> None:
    """Import MLflow, once and for all threads: two that import it at the same time break it for the whole process.

    Nobody is told that it is used; and of its own words the warnings are enough (Alembic tells every migration).
    """
    with _IMPORTING:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("DO_NOT_TRACK", "1")
        for name in ("alembic", "mlflow"):
            logging.getLogger(name).setLevel(logging.WARNING)
        import_module("mlflow.tracking")
        import_module("mlflow.store.model_registry.sqlalchemy_store")


def find(client: MlflowClient, name: str, digest: str) -> str | None:
    """The first version of this digest, or None; a model that is not there is made."""
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        _unless_there(lambda: client.create_registered_model(name))
    found = client.search_model_versions(f"name = '{name}' and tag.`{DIGEST_TAG}` = '{digest}'")
    return str(min(int(one.version) for one in found)) if found else None


def _experiment(client: MlflowClient, name: str, artifact_root: str) -> str:
    known = client.get_experiment_by_name(name)
    if known is None:
        # As a URL: in a plain path MLflow takes %20 for a space and # for the end.
        local = artifact_root and "://" not in artifact_root
        location = Path(artifact_root).absolute().as_uri() if local else artifact_root or None
        _unless_there(lambda: client.create_experiment(name, artifact_location=location))
        known = client.get_experiment_by_name(name)
    if known is None:
        raise TrimtabError(f"the experiment {name} was deleted in MLflow while a version was registered. Try again")
    return str(known.experiment_id)


def _unless_there(make: Callable[[], object]) -> None:
    """Somebody else may make it in the same moment."""
    from mlflow.exceptions import MlflowException

    try:
        make()
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def short(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """What decisions need of the evidence; the whole of it is in the bundle (a tag holds 5000 characters).

    Classes that do not fit are left out, all of them: then live traffic counts, in metrics in which every class weighs
    the same, those that the version said lately and those of `retraining.newClassLeast` labels.
    """
    told = {
        "verdict": evaluation["verdict"],
        "n": evaluation["n"],
        "metrics": evaluation["metrics"],
        "champion": evaluation["champion"],
    }
    classes = evaluation.get("classes") or (evaluation.get("confusion") or {}).get("labels")
    if not classes:
        return told
    whole = {**told, "classes": list(classes)}
    return whole if len(json.dumps(whole)) <= _LONGEST_TAG else told
