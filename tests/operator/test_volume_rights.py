"""A volume that the operator's user may not write to: said in a sentence, with the folder, the user and the command."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import tempfile
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from operator_product import LOOPS, model_loop, with_definition

from trimtab.adapters.cluster import Cluster
from trimtab.operator.bare import BareSettings
from trimtab.operator.keeper import Keeper
from trimtab.operator.metrics import Metrics
from trimtab.operator.settings import Settings
from trimtab.operator.worlds import ClusterWorlds
from trimtab.testing.kubernetes.server import KubernetesApi

USER = 65532


def _step(url: str, volume: Path, body: dict[str, object], tell: Connection) -> None:
    """A step of the operator, as the user of its image; first a step as root, who can import what both need."""
    cluster = Cluster.connect(url=url)
    worlds = ClusterWorlds(cluster, BareSettings("i:1", "disk", "default", volume=volume.parent / "roots"))
    Keeper(cluster, worlds, Settings(), Metrics()).step(body, datetime.now(UTC))
    os.setgid(USER)
    os.setuid(USER)
    cluster = Cluster.connect(url=url)
    worlds = ClusterWorlds(cluster, BareSettings("i:1", "disk", "default", volume=volume))
    Keeper(cluster, worlds, Settings(), Metrics()).step(body, datetime.now(UTC))
    tell.send("stepped")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_status_names_folder_user_and_command() -> None:
    # Whatever folder tests are given, no other user may look into those above it.
    with tempfile.TemporaryDirectory(prefix="trimtab-") as made:
        Path(made).chmod(0o755)
        _said_in(Path(made))


def _said_in(folder: Path) -> None:
    volume = folder / "volume"
    volume.mkdir(mode=0o755)  # as a hostPath is that kubelet made
    with with_definition(KubernetesApi()) as api:
        body = api.request("POST", LOOPS, model_loop())
        ours, theirs = multiprocessing.Pipe()
        child = multiprocessing.get_context("fork").Process(target=_step, args=(api.url, volume, body, theirs))
        child.start()
        assert ours.poll(60)
        child.join(20)
        status = api.request("GET", f"{LOOPS}/m")["status"]
    assert status["phase"] == "Degraded"
    said = status["message"]
    assert re.search(r"this is user 65532, group 65532, and \S+/volume belongs to user 0, group 0, mode 0755", said)
    assert "sudo chown -R 65532:65532 FOLDER (docs/kubernetes.md, The volume)" in said
    assert "Traceback" not in json.dumps(status)


def test_the_page_names_the_same_user_and_volume() -> None:
    page = (Path(__file__).parents[2] / "docs/kubernetes.md").read_text()
    section = page.split("## The volume")[1].split("## ")[0]
    assert f"install -d -o {USER} -g {USER} -m 0770 /srv/trimtab" in section
    assert "path: /srv/trimtab" in (Path(__file__).parents[2] / "manifests/volume/one-node.yaml").read_text()
