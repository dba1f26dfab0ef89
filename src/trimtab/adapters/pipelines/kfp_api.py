"""The calls of Kubeflow Pipelines' API (v2beta1) that running a pipeline takes: plain values in, plain values out.

Paths and fields are those of backend/api/v2beta1 (run.proto, pipeline.proto, experiment.proto) and of the upload
handler, which is in no swagger file. kfp's own client is not used: it prints, waits half a minute for a server that is
away, and cannot say whether a call that failed may have taken effect.
"""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trimtab.errors import TrimtabError

Json = dict[str, Any]
TOKEN = Path(os.environ.get("KF_PIPELINES_SA_TOKEN_PATH", "/var/run/secrets/kubeflow/pipelines/token"))
_MOST_BYTES = 64 * 1024 * 1024


class KfpError(TrimtabError):
    """The API refused a call (`code` is its status) or did not answer (0): then the call may have taken effect."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code

    @property
    def silent(self) -> bool:
        """Whether it may well do better later: no answer, or one that says that something behind it is away."""
        return self.code in (0, 429) or self.code >= 500


class KfpClient:
    """`namespace` is the profile's, of a multi-user installation; `token_file` is read at each call: it is renewed."""

    def __init__(
        self, url: str, namespace: str = "", token_file: Path | None = None, timeout_seconds: float = 20.0
    ) -> None:
        self._url, self.namespace, self._timeout_seconds = url.rstrip("/"), namespace, timeout_seconds
        self._token_file = token_file if token_file is not None else (TOKEN if TOKEN.is_file() else None)

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Json | None:
        """The object, or None."""
        try:
            return self._call("GET", path, query)
        except KfpError as error:
            if error.code == 404:
                return None
            raise

    def named(self, path: str, kind: str, name: str, query: Mapping[str, str] | None = None) -> list[Json]:
        """Every item of a list whose display name is this one, oldest first."""
        predicate = {"operation": "EQUALS", "key": "display_name", "string_value": name}
        asked = {**(query or {}), "filter": json.dumps({"predicates": [predicate]}), "page_size": "100"}
        found: list[Json] = []
        while True:
            page = self._call("GET", path, asked)
            # An old server that does not know the key must not make everything match.
            found += [one for one in page.get(kind) or () if name in (one.get("display_name"), one.get("name"))]
            token = page.get("next_page_token") or ""
            if not token:
                return sorted(found, key=lambda one: (str(one.get("created_at", "")), str(one.get("run_id", ""))))
            asked["page_token"] = token

    def post(self, path: str, body: Any = None, query: Mapping[str, str] | None = None) -> Json:
        """Make or do something."""
        return self._call("POST", path, query, json.dumps(body or {}).encode(), "application/json")

    def upload(self, path: str, query: Mapping[str, str], name: str, content: bytes) -> Json:
        """Send a file as a form does."""
        border = uuid.uuid4().hex
        head = f'--{border}\r\nContent-Disposition: form-data; name="uploadfile"; filename="{name}"\r\n'
        form = (
            f"{head}Content-Type: application/octet-stream\r\n\r\n".encode()
            + content
            + f"\r\n--{border}--\r\n".encode()
        )
        return self._call("POST", path, query, form, f"multipart/form-data; boundary={border}")

    def _call(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: bytes | None = None, kind: str = ""
    ) -> Json:
        url = f"{self._url}/apis/v2beta1/{path}"
        if query:
            url += "?" + urllib.parse.urlencode(query)
        request = urllib.request.Request(url, body, method=method)  # noqa: S310 - the operator's own setting
        if kind:
            request.add_header("content-type", kind)
        try:
            if self._token_file is not None:
                request.add_header("authorization", f"Bearer {self._token_file.read_text(encoding='utf-8').strip()}")
            with urllib.request.urlopen(request, timeout=self._timeout_seconds) as answer:  # noqa: S310
                found = json.loads(answer.read(_MOST_BYTES) or b"{}")
        except urllib.error.HTTPError as error:
            raise _told(method, url, error) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise KfpError(f"Kubeflow Pipelines at {self._url} does not answer ({method} {path}): {reason}") from error
        except ValueError as error:
            raise KfpError(f"{url} does not answer in JSON: is that the URL of a KFP 2 API?") from error
        if not isinstance(found, dict):
            raise KfpError(f"{url} does not answer as KFP 2 does: is that the URL of its API?")
        return found


def _told(method: str, url: str, error: urllib.error.HTTPError) -> KfpError:
    text = error.read(4000).decode("utf-8", "replace")
    try:
        found = json.loads(text)
        said = str(found.get("message") or found.get("error_message") or found.get("error") or text)
    except (ValueError, AttributeError):
        said = text.strip() or error.reason
    advice = ""
    if error.code in (401, 403):
        advice = ". Give the operator a token for KFP (audience pipelines.kubeflow.org) and the right to its namespace"
    return KfpError(f"Kubeflow Pipelines refused {method} {url} ({error.code}): {said}{advice}", error.code)
