"""A bare cluster for the contracts of its adapters: an API server, a node, and a loop's place on it."""

import contextlib
from pathlib import Path
from typing import Any

from trimtab.adapters.cluster import Cluster
from trimtab.adapters.workloads import Place
from trimtab.loop.home import Home
from trimtab.testing.kubernetes.node import Node
from trimtab.testing.kubernetes.server import KubernetesApi

IMAGE = "trimtab:test"
JOBS = "/apis/batch/v1/namespaces/default/jobs"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


class Bare:
    """An API server, a node, and a loop's place on it."""

    def __init__(self, folder: Path) -> None:
        self.stack = contextlib.ExitStack()
        self.api = self.stack.enter_context(KubernetesApi())
        root = folder / "volume"
        self.node = Node(self.api, folder / "node", {"claim": root}, images={IMAGE})
        self.stack.enter_context(self.node)
        self.cluster = Cluster.connect(url=self.api.url)
        self.stack.callback(self.cluster.close)
        self.home = Home(root / "default" / "m").make()
        self.place = Place("m", "default", root, self.home.root, "claim", IMAGE, server_image=IMAGE, listen="$(POD_IP)")

    def pods(self) -> list[dict[str, Any]]:
        return self.api.objects(PODS)
