"""Hostile documents applied to the cluster: the API server or the operator refuses them in words, and others go on."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("kopf", reason="kopf is not installed")

import kopf
from operator_product import LOOPS, SPEC, model_loop, with_definition

from trimtab.adapters.cluster import Cluster
from trimtab.operator.bare import BareSettings
from trimtab.operator.main import Operator
from trimtab.operator.settings import Settings
from trimtab.operator.worlds import ClusterWorlds
from trimtab.testing.kubernetes.refusal import ApiRefused
from trimtab.testing.kubernetes.server import KubernetesApi
from trimtab.testing.kubernetes.widgets import until

KUBECTL = os.environ.get("TRIMTAB_KUBECTL") or shutil.which("kubectl")
EVIL = "evil-4711"
INJECTED = f"{{{{ .Values.{EVIL} }}}} $(touch /tmp/{EVIL}) `{EVIL}` '\"\n- name: {EVIL}\n  value: ${{{EVIL}}}"


def deep(levels: int) -> Any:
    found: Any = 1
    for _ in range(levels):
        found = {"a": found}
    return found


def source(path: str) -> dict[str, Any]:
    return {"data": {**SPEC["data"], "source": {"path": path}}}  # type: ignore[dict-item]


HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "many-values": ({"training": {"parameters": {"a": list(range(30_000))}}}, "more than 20000 values"),
    "huge-text": ({"training": {"parameters": {"a": "x" * 1_200_000}}}, "expected at most 1048576"),
    "deep": ({"training": {"parameters": deep(60)}}, "nested more than 32 deep"),
    "dots": (source("../../../etc/passwd"), "nothing but its folder"),
    "absolute": (source("/etc/passwd"), "nothing but its folder"),
    "of-another-loop": (source("/VOLUME/default/m/rows.csv"), "nothing but its folder"),
}


@pytest.fixture
def api() -> Iterator[KubernetesApi]:
    with with_definition(KubernetesApi()) as server:
        yield server


@contextlib.contextmanager
def operating(api: KubernetesApi, volume: Path) -> Iterator[None]:
    """The operator as it is on a bare cluster, in threads."""
    cluster = Cluster.connect(url=api.url)
    settings = Settings(("default",), "default", "one", None, None, busy_seconds=0.2, idle_seconds=30)
    worlds = ClusterWorlds(cluster, BareSettings("image:1", "claim", "default", volume=volume))
    made = Operator(cluster, worlds, settings, lambda **_: kopf.ConnectionInfo(server=api.url))
    thread = threading.Thread(target=made.run)
    thread.start()
    try:
        yield
    finally:
        made.stop.set()
        thread.join(60)
        assert not thread.is_alive()


def rows(volume: Path, loop: str) -> None:
    folder = volume / "default" / loop
    folder.mkdir(parents=True)
    (folder / "rows.csv").write_text("t,x,y\n2026-01-01,1,a\n")


def status(api: KubernetesApi, name: str) -> dict[str, Any]:
    return dict(api.request("GET", f"{LOOPS}/{name}").get("status") or {})


def test_each_is_refused_in_words_and_the_next_loop_trains(api: KubernetesApi, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    rows(volume, "m")
    refused = {}
    for name, (change, _) in HOSTILE.items():
        text = json.dumps(model_loop(name, **change)).replace("/VOLUME", str(volume))
        try:
            api.request("POST", LOOPS, json.loads(text))
        except ApiRefused as error:
            refused[name] = str(error)
    api.request("POST", LOOPS, model_loop("m"))
    with operating(api, volume):
        until(lambda: status(api, "m").get("phase") == "Training", 60)
        for name, (_, said) in HOSTILE.items():
            if name not in refused:
                until(lambda name=name: bool(status(api, name).get("message")), 60)  # type: ignore[misc]
                refused[name] = status(api, name)["message"]
            assert said in refused[name], refused[name]
            assert "Traceback" not in refused[name]
    jobs = api.objects("/apis/batch/v1/jobs")
    assert [one["metadata"]["labels"]["trimtab.dev/loop"] for one in jobs] == ["m"]


def test_no_text_of_a_document_reaches_a_manifest(api: KubernetesApi, tmp_path: Path) -> None:
    """Templates, expansions of the kubelet (`$(VAR)`), new lines that would be YAML."""
    volume = tmp_path / "volume"
    rows(volume, "sly")
    scope = {**SPEC["scope"], "statement": INJECTED, "owner": INJECTED}  # type: ignore[dict-item]
    data = {**SPEC["data"], "label": {"column": f"y{INJECTED}"}, "ignore": [INJECTED]}  # type: ignore[dict-item]
    loop = model_loop("sly", scope=scope, data=data, training={"estimator": "Ridge", "parameters": {"a": INJECTED}})
    loop["metadata"]["annotations"] = {"note": INJECTED}
    api.request("POST", LOOPS, loop)
    with operating(api, volume):
        until(lambda: bool(api.objects("/apis/batch/v1/jobs")) or "message" in status(api, "sly"), 60)
        until(lambda: status(api, "sly").get("phase") in ("Training", "Failed"), 60)
    made = [
        *api.objects("/apis/batch/v1/jobs"),
        *api.objects("/apis/apps/v1/deployments"),
        *api.objects("/api/v1/services"),
    ]
    assert made
    assert EVIL not in json.dumps(made)
    assert "$(touch" not in json.dumps(made)


@pytest.mark.skipif(not KUBECTL, reason="no kubectl: put one on PATH or name it in TRIMTAB_KUBECTL")
def test_a_billion_laughs_make_no_object(api: KubernetesApi, tmp_path: Path) -> None:
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    head = "apiVersion: trimtab.dev/v1alpha1\nkind: ModelLoop\nmetadata: {name: laughs}\nspec:\n  training:\n"
    body = "    parameters:\n" + "\n".join(f"      {line}" for line in lines) + "\n"
    (tmp_path / "laughs.yaml").write_text(head + body)
    began = time.monotonic()
    done = subprocess.run(
        [str(KUBECTL), "apply", "-f", str(tmp_path / "laughs.yaml")],
        env={**os.environ, "KUBECONFIG": str(api.kubeconfig(tmp_path / "config")), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "excessive aliasing" in done.stderr
    assert time.monotonic() - began < 30
    assert api.objects(LOOPS) == []
