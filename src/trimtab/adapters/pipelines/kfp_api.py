"""The calls of Kubeflow Pipelines' API (v2beta1) that running a pipeline takes: plain values in, plain values out.

Paths and fields are those of backend/api/v2beta1 (run.proto, recurring_run.proto, pipeline.proto, experiment.proto) and
of the upload handler, which is in no swagger file. kfp's own client is not used: it prints, waits half a minute for a
server that is away, and cannot say whether a call that failed may have taken effect.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path

from trimtab.adapters.json_api import ApiError, Json, JsonApi

TOKEN = Path(os.environ.get("KF_PIPELINES_SA_TOKEN_PATH", "/var/run/secrets/kubeflow/pipelines/token"))


class KfpError(ApiError):
    """What KFP refused, or did not answer."""


class KfpClient(JsonApi):
    """`namespace` is the profile's, of a multi-user installation; `token_file` is read at each call: it is renewed."""

    who, product, error = "Kubeflow Pipelines", "a KFP 2 API", KfpError
    advice = "Give a token for KFP (audience pipelines.kubeflow.org) that has the right to its namespace"

    def __init__(
        self, url: str, namespace: str = "", token_file: Path | None = None, timeout_seconds: float = 20.0
    ) -> None:
        found = token_file if token_file is not None else (TOKEN if TOKEN.is_file() else None)
        super().__init__(f"{url.rstrip('/')}/apis/v2beta1", found, timeout_seconds)
        self.namespace = namespace

    @property
    def space(self) -> dict[str, str]:
        """What a call says of the profile: nothing where there are none."""
        return {"namespace": self.namespace} if self.namespace else {}

    def named(self, path: str, kind: str, name: str, query: Mapping[str, str] | None = None) -> list[Json]:
        """Every item of a list whose display name is this one, oldest first."""
        predicate = {"operation": "EQUALS", "key": "display_name", "string_value": name}
        asked = {**(query or {}), "filter": json.dumps({"predicates": [predicate]}), "page_size": "100"}
        found: list[Json] = []
        while True:
            page = self.call("GET", path, asked)
            # An old server that does not know the key must not make everything match.
            found += [one for one in page.get(kind) or () if name in (one.get("display_name"), one.get("name"))]
            token = page.get("next_page_token") or ""
            if not token:
                return sorted(found, key=lambda one: (str(one.get("created_at", "")), str(one.get("run_id", ""))))
            asked["page_token"] = token

    def find_experiment(self, name: str) -> str | None:
        """The id of the profile's experiment of this name, or None."""
        found = self.named("experiments", "experiments", name, self.space)
        return str(found[0]["experiment_id"]) if found else None

    def experiment(self, name: str) -> str:
        """The same, made if it is not there."""
        found = self.find_experiment(name)
        if found is None:
            try:
                found = str(self.post("experiments", {"display_name": name, **self.space})["experiment_id"])
            except KfpError as error:
                found = self.find_experiment(name) if error.code == 409 else None  # another made it in this moment
                if found is None:
                    raise
        return found

    def upload(self, path: str, query: Mapping[str, str], name: str, content: bytes) -> Json:
        """Send a file as a form does."""
        border = uuid.uuid4().hex
        head = f'--{border}\r\nContent-Disposition: form-data; name="uploadfile"; filename="{name}"\r\n'
        form = (
            f"{head}Content-Type: application/octet-stream\r\n\r\n".encode()
            + content
            + f"\r\n--{border}--\r\n".encode()
        )
        return self.call("POST", path, query, form, f"multipart/form-data; boundary={border}")
