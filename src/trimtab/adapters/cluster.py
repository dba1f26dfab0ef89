"""The API server of a cluster, as the adapters and the operator use it: plain values in, plain values out.

What may be repeated is repeated a few times when the server is busy or silent; every call has a time-out, so that a
server which answers nothing holds up a turn and never a process.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from trimtab.errors import TrimtabError

Json = dict[str, Any]
MANAGER = "trimtab-operator"
_TIMEOUT_SECONDS = (5.0, 20.0)  # to connect, to answer
_PAUSES_SECONDS = (0.2, 0.6, 1.5)
_LONGEST_PAUSE_SECONDS = 5.0
_CONNECTIONS = 40


class ClusterError(TrimtabError):
    """The API server refused a call or did not answer. `code` is its status, 0 without an answer."""

    def __init__(self, message: str, code: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


class Conflict(ClusterError):
    """Somebody else changed the object first, or made one of this name."""


@dataclass(frozen=True)
class Resource:
    """A kind as its path names it."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """`group/version`, or `v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str, name: str = "", subresource: str = "") -> str:
        """The path of the list or of one object; `namespace` "" is all of them."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        space = f"/namespaces/{namespace}" if namespace else ""
        return "/".join(part for part in (f"{root}{space}/{self.plural}", name, subresource) if part)


MODEL_LOOPS = Resource("trimtab.dev", "v1alpha1", "modelloops", "ModelLoop")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
EVENTS = Resource("", "v1", "events", "Event")
PODS = Resource("", "v1", "pods", "Pod")
JOBS = Resource("batch", "v1", "jobs", "Job")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")


class Cluster:
    """Calls as one field manager. `pause` waits between tries (tests pass one that does not)."""

    def __init__(self, api: client.ApiClient, pause: Callable[[float], None] = time.sleep) -> None:
        self._api = api
        self._pause = pause

    @classmethod
    def connect(cls, kubeconfig: Path | str | None = None, url: str = "", context: str = "") -> Cluster:
        """By an address, by kubeconfig files (as KUBECONFIG names them), or from inside a pod; raises TrimtabError."""
        settings = client.Configuration()
        try:
            if url:
                settings.host = url
            elif kubeconfig is not None:
                config.load_kube_config(str(kubeconfig), context or None, client_configuration=settings)
            else:
                config.load_incluster_config(client_configuration=settings)
        except config.ConfigException as error:
            raise TrimtabError(f"no cluster to talk to: {error}. Run inside a pod, or set KUBECONFIG") from error
        settings.retries = False  # repeating is done here, where it is known what may be repeated
        settings.connection_pool_maxsize = _CONNECTIONS
        return cls(client.ApiClient(settings))

    def close(self) -> None:
        """Let the connections go."""
        self._api.rest_client.pool_manager.clear()

    def get(self, resource: Resource, namespace: str, name: str) -> Json | None:
        """The object, or None."""
        try:
            return self._object("GET", resource.path(namespace, name))
        except ClusterError as error:
            if error.code == 404:
                return None
            raise

    def list(self, resource: Resource, namespace: str, labels: str = "") -> list[Json]:
        """Objects whose labels match the selector."""
        found: list[Json] = []
        token = ""
        while True:
            query = {"limit": "500", "labelSelector": labels, "continue": token}
            page = self._call("GET", resource.path(namespace), {key: value for key, value in query.items() if value})
            found += page.get("items") or []
            token = page["metadata"].get("continue") or ""
            if not token:
                return found

    def create(self, resource: Resource, namespace: str, body: Json) -> Json:
        """A new object; raises Conflict if there is one of this name: perhaps from a try that went unanswered."""
        return self._object("POST", resource.path(namespace), _headed(resource, body))

    def replace(self, resource: Resource, namespace: str, body: Json) -> Json:
        """Write over the version that `body` was read as; raises Conflict, perhaps by a try that went unanswered."""
        path = resource.path(namespace, body["metadata"]["name"])
        return self._object("PUT", path, _headed(resource, body))

    def merge(self, resource: Resource, namespace: str, name: str, change: Json, status: bool = False) -> Json:
        """A merge patch, of the status if asked for."""
        path = resource.path(namespace, name, "status" if status else "")
        return self._object("PATCH", path, change, content_type="application/merge-patch+json")

    def apply(self, resource: Resource, namespace: str, body: Json) -> Json:
        """Server-side apply: these fields are ours, whoever wrote them before; other fields are left alone."""
        path = resource.path(namespace, body["metadata"]["name"])
        kind = "application/apply-patch+yaml"
        return self._object("PATCH", path, _headed(resource, body), query={"force": "true"}, content_type=kind)

    def delete(self, resource: Resource, namespace: str, name: str, policy: str = "Background") -> None:
        """Delete it; it being gone already is as good."""
        try:
            self._call("DELETE", resource.path(namespace, name), body={"propagationPolicy": policy})
        except ClusterError as error:
            if error.code != 404:
                raise

    def version(self) -> Json:
        """What the API server says of itself."""
        return self._object("GET", "/version")

    def text(self, path: str, query: Mapping[str, str]) -> str:
        """What is no object: the log of a pod."""
        return str(self._call("GET", path, query, kind="str"))

    def _object(self, method: str, path: str, body: Json | None = None, **given: Any) -> Json:
        """An answer that is an object."""
        return dict(self._call(method, path, body=body, **given))

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        content_type: str = "application/json",
        kind: str = "object",
    ) -> Any:
        given = dict(query or {})
        if method in ("POST", "PUT", "PATCH"):
            given["fieldManager"] = MANAGER
        for pause in (*_PAUSES_SECONDS, None):
            try:
                return self._api.call_api(
                    path,
                    method,
                    {},
                    list(given.items()),
                    {"Accept": "application/json, */*", "Content-Type": content_type},
                    body=body,
                    response_type=kind,
                    auth_settings=["BearerToken"],
                    _return_http_data_only=True,
                    _request_timeout=_TIMEOUT_SECONDS,
                )
            except ApiException as error:
                if pause is None or not _passes(error):
                    raise _told(method, path, error) from error
                self._pause(_wanted_pause(error, pause))
            except (urllib3.exceptions.HTTPError, OSError) as error:
                if pause is None or isinstance(error, urllib3.exceptions.ReadTimeoutError):
                    raise ClusterError(f"the API server does not answer ({method} {path}): {error}") from error
                self._pause(pause)
        raise AssertionError("the last try returns or raises")


def _headed(resource: Resource, body: Json) -> Json:
    return {"apiVersion": resource.api_version, "kind": resource.kind, **body}


def _passes(error: ApiException) -> bool:
    """Whether the server only asked to come again."""
    return error.status == 429 or (error.status or 0) >= 500


def _wanted_pause(error: ApiException, usual: float) -> float:
    asked = (error.headers or {}).get("retry-after") or (error.headers or {}).get("Retry-After") or ""
    return min(float(asked), _LONGEST_PAUSE_SECONDS) if str(asked).isdigit() else usual


def _told(method: str, path: str, error: ApiException) -> ClusterError:
    try:
        said = json.loads(error.body or "{}")
    except ValueError:
        said = {}
    said = said if isinstance(said, dict) else {}
    message, reason = str(said.get("message") or error.reason), str(said.get("reason") or "")
    text = f"the API server refused {method} {path} ({error.status}): {message}"
    if error.status == 403:
        text += ". Give the operator's service account this right (helm/trimtab makes the role)"
    return (Conflict if error.status == 409 else ClusterError)(text, error.status or 0, reason)
