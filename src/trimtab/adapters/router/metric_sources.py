"""Which metrics say how a version does: one table, a row a mesh or gateway.

| source  | requests and failures come from                          | copies come from               |
|---------|----------------------------------------------------------|--------------------------------|
| servers | our servers: trimtab_requests, trimtab_unanswered        | our servers, `shadow="true"`   |
| istio   | istio_requests of the client's proxy, by Service         | our servers                    |
| knative | queue-proxy: revision_app_request_count up to Knative    | none are sent                  |
|         | 1.18, kn_serving_invocation_duration since, by revision  |                                |

`servers` knows nothing of requests that never reached a server: a dead one is silent, which holds a release, and its
state ends it. Every source wants fresh news of each version from trimtab_model_info; `istio` wants it of a proxy too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

_STATUS = ("status", "response_code", "http_response_status_code")


@dataclass(frozen=True)
class Counter:
    """Series to add up. `by`: a version is known by its label `version`, its Service or its Knative revision."""

    query: str
    by: Literal["version", "service", "revision"]
    version_labels: tuple[str, ...]
    copies: bool = False  # only copies are counted here

    def selector(self, model: str, namespace: str, targets: Mapping[str, str]) -> str:
        """The PromQL selector."""
        names = "|".join(re.escape(_host(address)) for address in targets.values())
        return _filled(self.query, model, namespace, names)

    def is_of(self, labels: Mapping[str, str], version: str, address: str) -> bool:
        """Whether the series is about the version, which the address serves."""
        wanted = version if self.by == "version" else _host(address)
        return any(labels.get(name) == wanted for name in self.version_labels)

    def is_copy(self, labels: Mapping[str, str]) -> bool:
        """Whether copies are counted in the series."""
        return self.copies or labels.get("shadow") == "true"

    def failed(self, labels: Mapping[str, str]) -> bool:
        """Whether the series counts answers that were none: 5xx, or no HTTP status at all; a 4xx is the client's."""
        status = next((labels[name] for name in _STATUS if name in labels), "200")
        gone = "DC" in labels.get("response_flags", "").split(",")  # the client left before the answer
        return not gone and (status == "0" or status.startswith("5"))


@dataclass(frozen=True)
class Alive:
    """A gauge that is there as long as what it is about is being watched."""

    query: str
    by_version: bool = True

    def selector(self, model: str, namespace: str) -> str:
        """The PromQL selector."""
        return _filled(self.query, model, namespace, "")


@dataclass(frozen=True)
class Source:
    """Where counts come from, and what must be heard of for them to be believed."""

    name: str
    counters: tuple[Counter, ...]
    alive: tuple[Alive, ...]


_MODEL = Alive("trimtab_model_info{model=%(model)s,namespace=%(namespace)s}")
_SERVERS = (
    '{__name__=~"trimtab_requests_total|trimtab_unanswered_total",model=%(model)s,namespace=%(namespace)s}',
    'trimtab_requests_total{shadow="true",model=%(model)s,namespace=%(namespace)s}',
)
_ISTIO = (
    'istio_requests_total{reporter="source",destination_service_namespace=%(namespace)s,'
    "destination_service_name=~%(names)s}"
)
_KNATIVE = (
    '{__name__=~"revision_app_request_count|kn_serving_invocation_duration_seconds_count",namespace=%(namespace)s}'
)
SOURCES = {
    one.name: one
    for one in (
        Source("servers", (Counter(_SERVERS[0], "version", ("version",)),), (_MODEL,)),
        Source(
            "istio",
            (
                Counter(_ISTIO, "service", ("destination_service_name",)),
                Counter(_SERVERS[1], "version", ("version",), copies=True),
            ),
            (_MODEL, Alive('istio_build{component="proxy"}', by_version=False)),
        ),
        Source(
            "knative",
            (Counter(_KNATIVE, "revision", ("revision_name", "kn_revision_name")),),
            (_MODEL,),
        ),
    )
}


def _host(address: str) -> str:
    """The first label of the host: the name of a Service, or of a Knative revision."""
    return address.rpartition(":")[0].partition(".")[0] or address


def _filled(query: str, model: str, namespace: str, names: str) -> str:
    quoted = {"model": model, "namespace": namespace, "names": names}
    return query % {name: json.dumps(value) for name, value in quoted.items()}
