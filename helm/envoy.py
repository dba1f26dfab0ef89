"""`python helm/envoy.py [--check]`: files/envoy.json of model-release, by the code that configures Envoy elsewhere.

For each way in which versions take part the code writes the rules that it would write on one machine; the templates
choose among them and put the chart's names, addresses and numbers where `@...@` stands.

One thing differs. Routes and clusters are two files of one ConfigMap and change at the same moment, in whatever order
Envoy reads them, and Envoy answers 503 for a route whose cluster is new and not warm yet. So routes name roles, which
are clusters of clusters that are always there and change at once, and these name versions, which keep their cluster
whatever their role: a promoted version is warm already, a new one is passed over until it is.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from trimtab.adapters.router import envoy_clusters, envoy_config, envoy_routes
from trimtab.adapters.router.envoy_config import Bounds, Json
from trimtab.ports.router import Routes, Target

FILE = Path(__file__).parent / "model-release/files/envoy.json"
FOLDER = "/etc/trimtab"  # where the ConfigMap is mounted
PORTS = {"rest": 8080, "grpc": 8081, "admin": 9901, "stats": 9902}
_SECONDS, _BYTES, _PERCENT, _MIRROR, _COLLECTOR = 7.0, 7654321, 37, 41, 7070
_CLUSTER = re.compile(r"(stable|candidate|mirror)-(rest|grpc)-@[A-Z]+@-[a-z]+_\d+|(feedback)-collector_7070")
_STATISTICS = ("/ready", "/stats/prometheus")
# What stands for a number or a name, and the name that the templates fill in.
_FILLED = {
    f'"{_SECONDS:.3f}s"': '"@SECONDS@s"',
    f'"{2 * _SECONDS + 1:.3f}s"': '"@BOTH_SECONDS@s"',
    str(_BYTES + 65536): '"@BUFFER@"',
    str(_BYTES): '"@BYTES@"',
    f'"weight": {_PERCENT}': '"weight": "@PERCENT@"',
    f'"weight": {100 - _PERCENT}': '"weight": "@REST@"',
    f'"numerator": {_MIRROR}': '"numerator": "@MIRROR@"',
    f'"port_value": {_COLLECTOR}': '"port_value": "@COLLECTOR_PORT@"',
    json.dumps(envoy_routes._PREDICT): '"@PREDICT@"',
    json.dumps(envoy_routes._ABOUT): '"@ABOUT@"',
    '"/v2/health/ready"': '"@HEALTH@"',
    "serving.limits.": "limits.",  # the chart's values, not loop.yaml's keys
    json.dumps(envoy_routes._UNKNOWN): '"this model has no such path"',
}


def pieces() -> Json:
    """What the templates put together."""
    champion, other = (
        Target(f"@{name}@", f"{name.lower()}:{PORTS['rest']}", f"{name.lower()}:{PORTS['grpc']}")
        for name in ("CHAMPION", "CHALLENGER")
    )
    ways = {
        "champion": Routes(champion),
        "dark": Routes(champion, other),
        "split": Routes(champion, other, _PERCENT, _MIRROR, "collector:7070"),
        "all": Routes(champion, other, 100),
    }
    tables = {way: _rules(routes) for way, routes in ways.items()}
    made = {
        "bootstrap": _bootstrap(),
        "rules": {protocol: {way: _of(rules, protocol) for way, rules in tables.items()} for protocol in _PROTOCOLS},
        "mirrors": {protocol: _mirrors(tables["split"], protocol) for protocol in _PROTOCOLS},
        "labels": {"on": tables["split"][0], "off": tables["champion"][0]},
        "unknown": tables["champion"][-1],
        "clusters": [_in_cluster(one) for one in envoy_clusters.clusters(ways["split"]).values()],
    }
    found = _filled(made)
    found["clusters"] = _by_version(found["clusters"])
    for protocol, rules in found["rules"].items():
        # With no challenger a role of one version, and for the moment of a promotion the way to the one that comes.
        stable = f'"name": "stable-{protocol}"'
        text = json.dumps(rules["champion"]).replace(stable, f'"name": "stable-{protocol}-then-candidate-{protocol}"')
        rules["champion"] = json.loads(text)
    return found


def _by_version(found: list[Json]) -> list[Json]:
    """Clusters of versions by their names, and roles as clusters of these."""
    text = json.dumps(found)
    for protocol in _PROTOCOLS:
        for role, version in (("stable", "CHAMPION"), ("candidate", "CHALLENGER")):
            text = text.replace(f'"{role}-{protocol}"', f'"{protocol}-v@{version}@"')
    made = list(json.loads(text))
    for protocol in _PROTOCOLS:
        (chain,) = [one for one in made if one["name"] == f"stable-{protocol}-then-candidate-{protocol}"]
        alone = json.loads(json.dumps({**chain, "name": f"stable-{protocol}"}))
        alone["cluster_type"]["typed_config"]["clusters"] = [f"{protocol}-v@CHAMPION@"]
        made.append(alone)
    return made


_PROTOCOLS = {"rest": False, "grpc": True}


def _rules(routes: Routes) -> list[Json]:
    table = envoy_routes.route_table(routes, Bounds(_SECONDS, _BYTES))
    return list(table["virtual_hosts"][0]["routes"])


def _of(rules: list[Json], protocol: str) -> list[Json]:
    """The rules of a protocol; where copies belong they have a name to fill in."""
    found = []
    for rule in rules:
        regex = rule["match"].get("safe_regex", {}).get("regex", "")
        if not regex or regex.startswith(r"/inference\.") != _PROTOCOLS[protocol]:
            continue
        if regex in (envoy_routes._PREDICT, envoy_routes._GRPC_PREDICT) and "headers" not in rule["match"]:
            copies = {"request_mirror_policies": f"@MIRRORS_{protocol.upper()}@"}
            rule = {**rule, "route": {**rule["route"], **copies}}  # noqa: PLW2901 - a copy with one more key
        found.append(rule)
    return found


def _mirrors(rules: list[Json], protocol: str) -> list[Json]:
    (found,) = [
        rule["route"]["request_mirror_policies"]
        for rule in rules
        if "request_mirror_policies" in rule.get("route", {})
        and rule["match"]["safe_regex"]["regex"].startswith(r"/inference\.") == _PROTOCOLS[protocol]
    ]
    return list(found)


def _filled(made: Json) -> Json:
    text = _CLUSTER.sub(lambda found: found[3] or f"{found[1]}-{found[2]}", json.dumps(made))
    for value, name in _FILLED.items():
        text = text.replace(value, name)
    # A shadow is a version of its own here.
    shadow = json.dumps([one for one in json.loads(text)["clusters"] if one["name"].startswith("mirror-")])
    for one in json.loads(shadow):
        text = text.replace(json.dumps(one), json.dumps(one).replace("CHALLENGER", "SHADOW"))
    return dict(json.loads(text))


def _bootstrap() -> Json:
    made = envoy_config.bootstrap("0.0.0.0", PORTS["rest"], Bounds(_SECONDS, _BYTES))  # noqa: S104 - in a pod
    # Only processes of the pod reach its loopback; a socket file could not be asked by the shell that drains Envoy.
    made["admin"] = {"address": _address("127.0.0.1", PORTS["admin"])}
    made["static_resources"]["clusters"] = [_admin()]
    listeners = made["static_resources"]["listeners"]
    listeners.append(_statistics())
    # With several workers the kernel must share connections out among them; nobody else listens in a pod.
    listeners[0]["enable_reuse_port"] = True
    manager = listeners[0]["filter_chains"][0]["filters"][0]["typed_config"]
    line = manager["access_log"][0]["typed_config"]["log_format"]
    stdout = envoy_config.typed("access_loggers.stream.v3.StdoutAccessLog", log_format=line)
    manager["access_log"] = [{"name": "envoy.access_loggers.stdout", "typed_config": stdout}]
    manager["rds"]["config_source"] = _watched(envoy_config.ROUTES_FILE)
    made["dynamic_resources"]["cds_config"] = _watched(envoy_config.CLUSTERS_FILE)
    return made


def _watched(file: str) -> Json:
    # A ConfigMap changes by the move of a link, which only a watch of its folder sees.
    source = {"path": f"{FOLDER}/{file}", "watched_directory": {"path": FOLDER}}
    return {"resource_api_version": "V3", "path_config_source": source}


def _address(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}


def _admin() -> Json:
    endpoint = {"endpoint": {"address": _address("127.0.0.1", PORTS["admin"])}}
    assignment = {"cluster_name": "admin", "endpoints": [{"lb_endpoints": [endpoint]}]}
    return {"name": "admin", "type": "STATIC", "connect_timeout": "1s", "load_assignment": assignment}


def _statistics() -> Json:
    """Of the admin interface, only what Prometheus and the kubelet read is let out."""
    routes = [{"match": {"path": path}, "route": {"cluster": "admin"}} for path in _STATISTICS]
    router = {"name": "envoy.filters.http.router", "typed_config": envoy_config.typed("filters.http.router.v3.Router")}
    manager = envoy_config.typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="statistics",
        route_config={"virtual_hosts": [{"name": "statistics", "domains": ["*"], "routes": routes}]},
        http_filters=[router],
    )
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    return {"name": "statistics", "address": _address("0.0.0.0", PORTS["stats"]), "filter_chains": [chain]}  # noqa: S104


def _in_cluster(cluster: Json) -> Json:
    """Addresses are names of headless Services: each pod behind one is an endpoint of its own."""
    if cluster.get("type") != "STATIC":
        return cluster
    dns: dict[str, Any] = {"type": "STRICT_DNS", "dns_refresh_rate": "5s", "dns_lookup_family": "V4_PREFERRED"}
    text = json.dumps({**cluster, **dns})
    for name in ("champion", "challenger", "collector"):
        text = text.replace(f'"address": "{name}"', f'"address": "@{name.upper()}_HOST@"')
    return dict(json.loads(text))


def main(arguments: list[str]) -> int:
    """Write the file, or with `--check` say that it is stale; returns the exit code."""
    text = json.dumps(pieces(), indent=1) + "\n"
    if FILE.is_file() and FILE.read_text(encoding="utf-8") == text:
        return 0
    print(f"{'stale' if '--check' in arguments else 'wrote'}: {FILE.relative_to(Path(__file__).parents[1])}")
    if "--check" not in arguments:
        FILE.write_text(text, encoding="utf-8")
    return int("--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
