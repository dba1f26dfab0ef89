"""Compiled pipelines on Kubeflow Pipelines: one run a key, whatever happens to KFP, to its answers or to the operator.

KFP lets any number of runs have one name. So a run is named by its key, it is looked for before it is created, a
creation that was not answered is not repeated before it had time to show, and of several runs of one name the oldest
is the run and the others are ended.

KFP's API shows artifacts of a task by number and its output parameters not at all (PipelineTaskDetail in run.proto), so
the pipelines' last task says the outputs where the operator can read them: `outputs` is asked for them by the key.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trimtab.adapters.json_api import Json
from trimtab.adapters.pipelines.kfp_api import KfpClient, KfpError
from trimtab.adapters.pipelines.kfp_uploads import Compiled, Uploads, read
from trimtab.errors import PipelineRefused, TrimtabError
from trimtab.ports.pipelines import RunRequest, RunState, RunView

REPORT_AS = "report_as"  # the pipeline's parameter that takes the key under which it says its outputs
GRACE_SECONDS = 90.0  # a creation that nobody answered may show this much later
_STATES: dict[str, tuple[RunState, str]] = {
    "": ("RUNNING", ""),
    "RUNTIME_STATE_UNSPECIFIED": ("RUNNING", ""),
    "PENDING": ("RUNNING", ""),
    "RUNNING": ("RUNNING", ""),
    "CANCELING": ("RUNNING", "it is being cancelled in Kubeflow Pipelines"),
    "PAUSED": ("RUNNING", "it is paused in Kubeflow Pipelines: a person must resume or terminate it there"),
    "SUCCEEDED": ("SUCCEEDED", ""),
    "SKIPPED": ("FAILED", "Kubeflow Pipelines skipped it, so it did nothing"),
    "FAILED": ("FAILED", "it failed in Kubeflow Pipelines"),
    "CANCELED": ("FAILED", "somebody cancelled it in Kubeflow Pipelines"),
}
Outputs = Callable[[str], Mapping[str, Any] | None]


class KubeflowRunner:
    """`scope` keeps the keys of different loops apart (namespace, name, uid); `experiment` is where people look.

    `outputs` gives what the run of a key said at its end, None if it said nothing; it raises TrimtabError while nobody
    can know.
    """

    def __init__(
        self,
        client: KfpClient,
        scope: str,
        experiment: str,
        outputs: Outputs,
        service_account: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._scope, self._experiment, self._outputs = client, scope, experiment, outputs
        self._service_account, self._clock = service_account, clock
        self._uploads = Uploads(client)
        self._unanswered: dict[str, float] = {}  # keys whose creation may have taken effect, and when it was tried
        self._ended: dict[str, RunView] = {}

    def start(self, request: RunRequest) -> RunView:
        """Create the run, or return it as it stands; RUNNING with a reason while KFP is away.

        Raises PipelineRefused, and KfpError for what KFP forbids.
        """
        compiled = read(Path(request.pipeline))
        if compiled.outputs and REPORT_AS not in compiled.parameters:
            raise PipelineRefused(
                f"{request.pipeline} has outputs, but no parameter {REPORT_AS}: nobody could read them from KFP. Let "
                "its last task say them, as pipelines/training.py does"
            )
        known = self.look(request.key)
        if known is not None:
            return known
        tried = self._unanswered.get(request.key)
        if tried is not None and self._clock() - tried < GRACE_SECONDS:
            return _unknown(request.key, "Kubeflow Pipelines did not answer when the run was created; it may yet show")
        try:
            body = self._body(request, compiled)
        except KfpError as error:
            if error.silent:
                return _unknown(request.key, str(error))
            raise
        return self._create(request.key, body)

    def look(self, key: str) -> RunView | None:
        """How the run stands; RUNNING with a reason while nobody can know; None if there is none."""
        if key not in self._ended:
            try:
                found = self._client.named("runs", "runs", self._name(key), self._client.space)
                if not found:
                    return self._after_all(key)
                self._unanswered.pop(key, None)
                for other in found[1:]:
                    self._end(other)
                return self._keep(self._view(key, found[0]))
            except KfpError as error:  # other parts of the loop go on, and this is said in its status
                return _unknown(key, str(error))
        return self._ended[key]

    def close(self) -> None:
        """Nothing: runs are KFP's, and another operator finds them."""

    def _name(self, key: str) -> str:
        """Readable, and different for keys that only look the same."""
        digest = hashlib.sha256(f"{self._scope}\n{key}".encode()).hexdigest()[:16]
        readable = re.sub(r"[^A-Za-z0-9.-]+", "-", key).strip("-")[:60]
        return f"{self._experiment} {readable} {digest}"

    def report_key(self, key: str) -> str:
        """The key under which the run says its outputs: this scope's."""
        return f"{self._scope}/{key}"

    def _body(self, request: RunRequest, compiled: Compiled) -> Json:
        parameters = dict(request.parameters)
        if REPORT_AS in compiled.parameters:
            parameters[REPORT_AS] = self.report_key(request.key)
        unknown = sorted(set(parameters) - compiled.parameters)
        if unknown:
            known = ", ".join(sorted(compiled.parameters)) or "none"
            raise PipelineRefused(f"{request.pipeline} takes no parameter {', '.join(unknown)}; it takes {known}")
        body: Json = {
            "display_name": self._name(request.key),
            "description": f"{request.key} of {self._scope}, started by trimtab",
            "experiment_id": self._client.experiment(self._experiment),
            "pipeline_version_reference": self._uploads.reference(compiled),
            "runtime_config": {"parameters": parameters},
        }
        return {**body, "service_account": self._service_account} if self._service_account else body

    def _create(self, key: str, body: Json) -> RunView:
        self._unanswered[key] = self._clock()
        try:
            found = self._client.post("runs", body)
        except KfpError as error:
            if error.silent:
                return self.look(key) or _unknown(key, str(error))
            self._unanswered.pop(key, None)
            if error.code == 400:
                raise PipelineRefused(f"KFP does not run this: {error}") from error
            raise
        # Somebody else may have created it at the same moment: the oldest of both is the run.
        return self.look(key) or self._view(key, found)

    def _after_all(self, key: str) -> RunView | None:
        """KFP has no such run: it was never created, or it was deleted after it had said its outputs."""
        try:
            said = self._outputs(self.report_key(key))
        except TrimtabError as error:
            return _unknown(key, str(error))
        return None if said is None else self._keep(RunView(key, "deleted", "SUCCEEDED", dict(said)))

    def _view(self, key: str, run: Json) -> RunView:
        run_id, told = str(run["run_id"]), str(run.get("state") or "")
        state, reason = _STATES.get(told, ("RUNNING", f"Kubeflow Pipelines says {told}, which trimtab does not know"))
        if state == "FAILED":
            return RunView(key, run_id, state, reason=self._why(run_id, run, reason))
        silent = REPORT_AS not in ((run.get("runtime_config") or {}).get("parameters") or {})
        if state != "SUCCEEDED" or silent:  # it was not asked to say outputs, so it has none
            return RunView(key, run_id, state, reason=reason)
        try:
            said = self._outputs(self.report_key(key))
        except TrimtabError as error:
            return RunView(key, run_id, "RUNNING", reason=f"it has ended, but nobody can read its outputs now: {error}")
        if said is None:
            reason = "it succeeded in Kubeflow Pipelines but said no outputs: its last task reports them to MLflow"
            return RunView(key, run_id, "FAILED", reason=reason)
        return RunView(key, run_id, "SUCCEEDED", dict(said))

    def _why(self, run_id: str, run: Json, reason: str) -> str:
        """What KFP says of the tasks that failed."""
        whole = self._client.get(f"runs/{run_id}") or run
        tasks = (whole.get("run_details") or {}).get("task_details") or []
        failed = [one for one in tasks if one.get("state") == "FAILED"]
        told = [f"{one.get('display_name')}: {(one.get('error') or {}).get('message') or 'failed'}" for one in failed]
        own = (whole.get("error") or {}).get("message")
        return "; ".join([reason, *([own] if own else []), *dict.fromkeys(told)])

    def _end(self, run: Json) -> None:
        """A second run of one key, by two operators at once: it must not go on."""
        told = str(run.get("state") or "")
        if told != "CANCELING" and _STATES.get(told, ("RUNNING", ""))[0] == "RUNNING":
            self._client.post(f"runs/{run['run_id']}:terminate")

    def _keep(self, view: RunView) -> RunView:
        if view.state in ("SUCCEEDED", "FAILED"):
            self._ended[view.key] = view
        return view


def _unknown(key: str, reason: str) -> RunView:
    return RunView(key, "", "RUNNING", reason=reason)
