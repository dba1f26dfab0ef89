"""What the Envoy of a pod tells over its statistics listener."""

from __future__ import annotations

import http.client
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from prometheus_client.parser import text_string_to_metric_families

from trimtab.adapters.router.envoy_in_pod import COUNTER, SCOPE
from trimtab.adapters.router.envoy_log import verdict
from trimtab.errors import EvidenceMissing

Json = dict[str, Any]
Counts = Mapping[str, int]  # by `VERSION KIND`
_CLUSTERS = "cluster_manager.cds.version_text"
_ROUTES = "http.ingress.rds.routes.version_text"
_WARMING = "cluster_manager.warming_clusters"
_COPIES = "envoy_cluster_upstream_rq_completed"
_ENDED = "envoy_cluster_upstream_rq_xx"
_MOST_BYTES = 16 << 20


def statistic_name(cluster: str) -> str:
    """A cluster's name in statistics: dots would be separators there."""
    return cluster.replace(".", "_")


def editions(place: str) -> tuple[str, str, bool]:
    """(edition of the clusters in force, of the routes, whether all clusters are warm); raises EvidenceMissing."""
    pattern = "|".join(f"^{name}$".replace(".", "[.]") for name in (_CLUSTERS, _ROUTES, _WARMING))
    answer = json.loads(_get(place, f"/stats?format=json&filter={quote(pattern)}"))
    found = {one["name"]: one["value"] for one in answer.get("stats", []) if "name" in one}
    return str(found.get(_CLUSTERS, "")), str(found.get(_ROUTES, "")), found.get(_WARMING) == 0


def counts(place: str, mirrors: Mapping[str, str]) -> Counts:
    """What was counted since this Envoy started; `mirrors`: version by the statistic name of the cluster of its copies.

    Raises EvidenceMissing.
    """
    pattern = f"^{SCOPE}[.]|^cluster[.]mirror-.*[.]upstream_rq_(completed|5xx)$"
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(_get(place, f"/stats/prometheus?filter={quote(pattern)}")):
        for sample in family.samples:
            labels, value = sample.labels, round(sample.value)
            name = sample.name.removesuffix("_total")
            version = mirrors.get(labels.get("envoy_cluster_name", ""))
            if name == f"envoy_{SCOPE}_{COUNTER}":
                _add_asked(found, labels, value)
            elif version is not None and name == _COPIES:
                found[f"{version} mirrored"] += value
            elif version is not None and name == _ENDED and labels.get("envoy_response_code_class") == "5":
                found[f"{version} mirror_failures"] += value
    return found


def _add_asked(found: Counter[str], labels: Mapping[str, str], value: int) -> None:
    """As the access log's lines are judged."""
    grpc = labels.get("grpc", "")
    line = {
        "picked": None if labels.get("picked") in ("", "-") else labels.get("picked"),
        "route": labels.get("route"),
        "served": None if labels.get("served") in ("", "-") else labels.get("served"),
        "status": int(labels.get("status") or 0),
        "grpc": int(grpc) if grpc.isdigit() else None,
        "flags": labels.get("flags"),
    }
    judged = verdict(line)
    if judged is not None:
        found[f"{judged[0]} requests"] += value
        found[f"{judged[0]} failures"] += value * judged[1]


def _get(place: str, path: str) -> str:
    connection = http.client.HTTPConnection(place, timeout=3)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read(_MOST_BYTES).decode()
    except (OSError, http.client.HTTPException) as error:
        raise EvidenceMissing(
            f"the router at {place} does not tell its statistics ({error}): may the operator reach that port "
            "(helm value networkPolicy)?"
        ) from error
    finally:
        connection.close()
    if answer.status != 200:
        raise EvidenceMissing(f"the router at {place} answers {answer.status} to {path}: {body[:200]}")
    return body
