"""Clusters: the servers behind Envoy, how their health is watched, and who is tried after whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab.adapters.router.envoy_config import Json, typed
from trimtab.adapters.router.envoy_members import Chain, Member, Paths, chain_name, feedback_name
from trimtab.ports.router import Routes

# Envoy's default allows 3 retries at once, so a version that dies under load would cost answers.
_BREAKERS = {"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096, "max_retries": 4096}
_PROTOCOL = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_HEALTH_CHECK = {
    "timeout": "2s",
    "interval": "1s",
    "unhealthy_interval": "0.25s",
    "no_traffic_interval": "1s",
    "unhealthy_threshold": 2,
    "healthy_threshold": 1,
    "http_health_check": {"path": "/v2/health/ready"},
}
# Only the candidate is ejected: there is another version to answer. The stable one ejected for five requests that it
# cannot answer would be an outage for everybody else's.
_EJECTION = {
    "consecutive_5xx": 5,
    "interval": "1s",
    "base_ejection_time": "30s",
    "max_ejection_percent": 100,
    "successful_active_health_check_uneject_host": False,
}


def clusters(routes: Routes) -> dict[str, Json]:
    """Every cluster that `route_table` names, by name."""
    made = {}
    for grpc in (False, True):
        paths = Paths.of(routes, grpc)
        for member in (paths.stable, paths.candidate, paths.mirror):
            if member:
                made[member.cluster] = _server(member)
        for chain in (*(chain for chain, _ in paths.shares), paths.tracked):
            if len(chain) > 1:
                made[chain_name(chain)] = _aggregate(chain)
    if routes.feedback:
        made[feedback_name(routes)] = _plain(feedback_name(routes), routes.feedback)
    return made


def _plain(name: str, address: str, metadata: Mapping[str, Any] | None = None) -> Json:
    host, _, port = address.rpartition(":")
    endpoint: Json = {"address": {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}}
    locality = {"lb_endpoints": [{"endpoint": endpoint, **({"metadata": metadata} if metadata else {})}]}
    return {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [locality]},
        "circuit_breakers": {"thresholds": [_BREAKERS]},
        # Shorter than the 5 s after which uvicorn closes an idle connection: it never closes under a request.
        "typed_extension_protocol_options": {_PROTOCOL: _protocol(grpc=False)},
    }


def _protocol(grpc: bool) -> Json:
    explicit: Json = {"http2_protocol_options": {}} if grpc else {"http_protocol_options": {}}
    return typed(
        "upstreams.http.v3.HttpProtocolOptions",
        common_http_protocol_options={"idle_timeout": "4s"},
        explicit_http_config=explicit,
    )


def _server(member: Member) -> Json:
    cluster = _plain(
        member.cluster, member.address, {"filter_metadata": {"trimtab": {"version": member.target.version}}}
    )
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    endpoint["health_check_config"] = {"port_value": int(member.target.address.rpartition(":")[2])}
    cluster["typed_extension_protocol_options"] = {_PROTOCOL: _protocol(member.grpc)}
    cluster["health_checks"] = [_HEALTH_CHECK]
    if member.role != "stable":
        # An unhealthy candidate gets nothing. The stable one is tried all the same when nobody else is left: a machine
        # so busy that health checks come too late can still answer.
        cluster["common_lb_config"] = {"healthy_panic_threshold": {"value": 0}}
    if member.role == "candidate":
        cluster["outlier_detection"] = _EJECTION
    return cluster


def _aggregate(chain: Chain) -> Json:
    members = [member.cluster for member in chain]
    return {
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": chain_name(chain),
        "connect_timeout": "1s",
        "lb_policy": "CLUSTER_PROVIDED",
        "circuit_breakers": {"thresholds": [_BREAKERS]},
        "cluster_type": {
            "name": "envoy.clusters.aggregate",
            "typed_config": typed("clusters.aggregate.v3.ClusterConfig", clusters=members),
        },
    }
