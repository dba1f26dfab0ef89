"""Envoy's configuration as plain JSON values: what is fixed at its start. Routes and clusters: envoy_routes.py.

Field names are those of Envoy's v3 API (https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/api).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

PICKED = "x-trimtab-picked"  # request header, set by the route: the version that the split chose
UNSERVED = "unserved"  # name of the rules that answer predictions while no version is there to do so
ROUTES_FILE = "routes.json"
CLUSTERS_FILE = "clusters.json"
ADMIN_SOCKET = "admin.sock"
ACCESS_LOG = "access.jsonl"
SERVED = "%UPSTREAM_METADATA(trimtab:version)%"  # the version whose server answered, from the endpoint's metadata

_EXTENSION = "type.googleapis.com/envoy.extensions."
_HTTP = f"{_EXTENSION}filters.network.http_connection_manager.v3.HttpConnectionManager"


@dataclass(frozen=True)
class Bounds:
    """What a request may ask of the router: seconds a version may take, bytes of a body."""

    timeout_seconds: float
    max_body_bytes: int


def typed(name: str, **fields: Any) -> Json:
    """A `typed_config` of the extension type `name`."""
    return {"@type": _EXTENSION + name, **fields}


def bootstrap(ip: str, port: int, bounds: Bounds) -> Json:
    """Everything that stays as it is while Envoy runs; paths are relative to its working directory."""
    return {
        "node": {"id": "trimtab", "cluster": "trimtab"},
        # A control endpoint: only the owner of the folder can open the socket (mode 0600).
        "admin": {"address": {"pipe": {"path": ADMIN_SOCKET, "mode": 0o600}}},
        "dynamic_resources": {"cds_config": _watched(CLUSTERS_FILE)},
        "static_resources": {"listeners": [_listener(ip, port, bounds)]},
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": typed(
                        "resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                        max_active_downstream_connections=10_000,
                    ),
                }
            ]
        },
    }


def discovery(version: str, resources: list[Json]) -> Json:
    """A file that Envoy watches: the answer a discovery service would give."""
    return {"version_info": version, "resources": resources}


def _watched(file: str) -> Json:
    return {"resource_api_version": "V3", "path_config_source": {"path": f"./{file}"}}


def _listener(ip: str, port: int, bounds: Bounds) -> Json:
    return {
        "name": "ingress",
        "address": {"socket_address": {"address": ip, "port_value": port}},
        # With SO_REUSEPORT a second router could share the port in silence and take half of the requests.
        "enable_reuse_port": False,
        "per_connection_buffer_limit_bytes": bounds.max_body_bytes + 65536,
        "filter_chains": [
            {"filters": [{"name": "http", "typed_config": {"@type": _HTTP, **_connection_manager(bounds)}}]}
        ],
    }


def _connection_manager(bounds: Bounds) -> Json:
    return {
        "stat_prefix": "ingress",
        "codec_type": "AUTO",
        "server_name": "trimtab",
        "rds": {"route_config_name": "routes", "config_source": _watched(ROUTES_FILE)},
        # Every client counts as external, so its x-envoy-* headers (time-outs, retries) are not obeyed.
        "use_remote_address": True,
        # No list at all would mean: the loopback and private addresses.
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]},
        "skip_xff_append": True,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "preserve_external_request_id": True,
        "always_set_request_id_in_response": True,
        "request_id_extension": {
            "typed_config": typed(
                "request_id.uuid.v3.UuidRequestIdConfig",
                pack_trace_reason=False,  # true would change a digit of the client's own id
                use_request_id_for_trace_sampling=False,
            )
        },
        "request_headers_timeout": "10s",
        "request_timeout": "60s",
        "common_http_protocol_options": {"idle_timeout": "300s"},
        "http2_protocol_options": {"max_concurrent_streams": 1000},
        "local_reply_config": _local_replies(),
        "access_log": [_access_log()],
        "http_filters": [
            {
                "name": "envoy.filters.http.buffer",
                "typed_config": typed("filters.http.buffer.v3.Buffer", max_request_bytes=bounds.max_body_bytes),
            },
            {"name": "envoy.filters.http.router", "typed_config": typed("filters.http.router.v3.Router")},
        ],
    }


def _local_replies() -> Json:
    """What Envoy itself answers is JSON with a sentence, as the servers' answers are."""

    def when(status: int, sentence: str, *more: Json) -> Json:
        matches = {"comparison": {"op": "EQ", "value": {"default_value": status, "runtime_key": f"reply.{status}"}}}
        filters: list[Json] = [{"status_code_filter": matches}, *more]
        return {
            "filter": {"and_filter": {"filters": filters}} if more else filters[0],
            "body_format_override": {"json_format": {"error": sentence, "detail": "%RESPONSE_CODE_DETAILS%"}},
        }

    failed: Json = {"response_flag_filter": {}}  # Envoy's own failure, not a sentence that a route gives
    return {
        "mappers": [
            when(413, "the request body is larger than serving.limits.maxBodyBytes allows; send fewer rows at once"),
            when(503, "no server of this model is answering just now; send the request again in a moment", failed),
            when(504, "no server of this model answered within serving.limits.timeout; send the request again", failed),
        ],
        "body_format": {"json_format": {"error": "%LOCAL_REPLY_BODY%", "detail": "%RESPONSE_CODE_DETAILS%"}},
    }


def _access_log() -> Json:
    fields = {
        "time": "%START_TIME(%s.%3f)%",
        "id": "%REQ(X-REQUEST-ID):64%",
        "path": "%REQ(:PATH):100%",
        "picked": f"%REQ({PICKED})%",
        "route": "%ROUTE_NAME%",
        "served": SERVED,
        "status": "%RESPONSE_CODE%",
        "grpc": "%GRPC_STATUS_NUMBER%",
        "flags": "%RESPONSE_FLAGS%",
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        "ms": "%DURATION%",
    }
    config = typed("access_loggers.file.v3.FileAccessLog", path=ACCESS_LOG, log_format={"json_format": fields})
    return {"name": "envoy.access_loggers.file", "typed_config": config}
