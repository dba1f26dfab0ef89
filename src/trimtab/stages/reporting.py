"""What a pipeline's run came to, said in MLflow under a key, where whoever started it can read it.

Kubeflow Pipelines shows nobody the output parameters of a run: its API (v2beta1) knows artifacts by number only. MLflow
is what both the pipeline and the loop reach anyway.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from trimtab.errors import TrimtabError
from trimtab.stages.register import connect

EXPERIMENT = "trimtab-outputs"
_TAG = "trimtab.outputs"
_LONGEST_TAG = 4000  # MLflow's own bound is 5000 or 8000 characters, by its version


def say(tracking_uri: str, key: str, outputs: Mapping[str, Any]) -> None:
    """Say the outputs of the run of this key; said again, the newest counts. Raises TrimtabError."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    text = json.dumps(dict(outputs))
    parts = [text[start : start + _LONGEST_TAG] for start in range(0, len(text), _LONGEST_TAG)]
    tags = {_TAG: _of(key), f"{_TAG}.parts": str(len(parts)), f"{_TAG}.key": key[:_LONGEST_TAG]}
    tags |= {f"{_TAG}.{number}": part for number, part in enumerate(parts)}
    try:
        client = connect(tracking_uri)
        known = client.get_experiment_by_name(EXPERIMENT)
        if known is None:
            try:
                client.create_experiment(EXPERIMENT)
            except MlflowException as error:  # another run's last task made it in this moment
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            known = client.get_experiment_by_name(EXPERIMENT)
        if known is None:
            raise TrimtabError(f"the experiment {EXPERIMENT} was deleted in MLflow in this moment. Try again")
        run = client.create_run(known.experiment_id, run_name=key[:200], tags=tags)  # all of it at once, or nothing
        client.set_terminated(run.info.run_id)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise TrimtabError(f"the outputs of {key} could not be said at {tracking_uri}: {error}") from error


def said(tracking_uri: str, key: str) -> dict[str, Any] | None:
    """What the run of this key said, or None; raises TrimtabError while MLflow cannot be asked."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        client = connect(tracking_uri)
        known = client.get_experiment_by_name(EXPERIMENT)
        if known is None:
            return None
        query = f"tags.`{_TAG}` = '{_of(key)}'"
        found = client.search_runs([known.experiment_id], query, order_by=["attributes.start_time DESC"], max_results=1)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise TrimtabError(f"the outputs of {key} could not be read at {tracking_uri}: {error}") from error
    if not found:
        return None
    tags = found[0].data.tags
    try:
        return dict(json.loads("".join(tags[f"{_TAG}.{number}"] for number in range(int(tags[f"{_TAG}.parts"])))))
    except (KeyError, ValueError) as error:
        raise TrimtabError(f"what {key} said at {tracking_uri} was changed by somebody: {error!r}") from error


def _of(key: str) -> str:
    """Keys may hold what a filter cannot."""
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()
