"""The operator with kopf, as threads and as processes, against the API server for tests."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("kopf", reason="kopf is not installed")

from fleet_process import operator
from operator_product import LOOPS, model_loop, with_definition

from trimtab.operator.main import Operator
from trimtab.testing.kubernetes.faults import Fault
from trimtab.testing.kubernetes.server import KubernetesApi
from trimtab.testing.kubernetes.widgets import until

MERGE = "application/merge-patch+json"


@pytest.fixture
def api() -> Iterator[KubernetesApi]:
    with with_definition(KubernetesApi()) as api:
        yield api


@contextlib.contextmanager
def running(api: KubernetesApi, identity: str = "one", **settings: Any) -> Iterator[Operator]:
    """An operator in threads of this process."""
    made = operator(api.url, "default", identity, **settings)
    thread = threading.Thread(target=made.run, name=f"operator-{identity}")
    thread.start()
    try:
        yield made
    finally:
        made.stop.set()
        thread.join(60)
        assert not thread.is_alive()


def status(api: KubernetesApi, name: str = "m") -> dict[str, Any]:
    return dict(api.request("GET", f"{LOOPS}/{name}").get("status") or {})


def phase(api: KubernetesApi, name: str, wanted: str) -> Callable[[], bool]:
    return lambda: status(api, name).get("phase") == wanted


def holder(api: KubernetesApi) -> str:
    leases = api.objects("/apis/coordination.k8s.io/v1/namespaces/default/leases")
    return str(leases[0]["spec"]["holderIdentity"]) if leases else ""


def test_loops_are_taken_up_edited_and_let_go(api: KubernetesApi) -> None:
    api.request("POST", LOOPS, model_loop())
    with running(api) as made:
        until(phase(api, "m", "Serving"))
        assert api.request("GET", f"{LOOPS}/m")["metadata"]["finalizers"] == ["trimtab.dev/operator"]
        api.request("PATCH", f"{LOOPS}/m", {"spec": {"retraining": {"cooldown": "5d"}}}, MERGE)
        until(lambda: status(api)["observedGeneration"] == 2, 5)  # at once: the next step was 30 s away
        api.request("POST", LOOPS, model_loop("later"))
        until(phase(api, "later", "Serving"))
        api.request("DELETE", f"{LOOPS}/m")
        until(lambda: [one["metadata"]["name"] for one in api.objects(LOOPS)] == ["later"])
        told = made.metrics.registry.get_sample_value
        assert told("trimtab_loop_phase", {"namespace": "default", "name": "later", "phase": "Serving"}) == 1
        assert told("trimtab_loop_phase", {"namespace": "default", "name": "m", "phase": "Serving"}) is None
        assert told("trimtab_operator_leader") == 1
    assert holder(api) == ""  # given up, so that the next one need not wait


def test_a_loop_that_hangs_or_breaks_or_is_refused_harms_no_other(api: KubernetesApi) -> None:
    api.request("POST", LOOPS, model_loop("broken"))
    spec = model_loop()["spec"]
    refused = {**spec, "monitoring": {"alarms": [{"metric": "recall", "min": 0.5}]}}
    api.request("POST", LOOPS, {**model_loop("refused"), "spec": refused})
    api.request("POST", LOOPS, model_loop("stuck"))
    stuck = api.faults.add(Fault(lambda call: call.name == "stuck-turns", "hang"))
    api.request("POST", LOOPS, model_loop("m"))
    with running(api, workers=2):
        until(lambda: stuck.happened > 0)
        until(phase(api, "m", "Serving"))
        assert stuck.happened == 1
        assert status(api, "stuck") == {}
        stuck.release()
        until(phase(api, "stuck", "Serving"), 60)
        until(phase(api, "broken", "Degraded"))
        until(phase(api, "refused", "Failed"))
        assert "spec.monitoring.alarms[0].metric" in status(api, "refused")["message"]


def test_a_document_that_changed_does_not_wait_for_the_turns_of_all_others(api: KubernetesApi) -> None:
    hang = Fault(lambda call: call.name == "other-turns", "hang")
    api.request("POST", LOOPS, model_loop())
    with running(api, workers=1):
        until(phase(api, "m", "Serving"))
        api.faults.add(hang)
        api.request("POST", LOOPS, model_loop("other"))
        until(lambda: hang.happened)  # the one thread there is for usual turns is taken
        api.request("PATCH", f"{LOOPS}/m", {"spec": {"retraining": {"cooldown": "5d"}}}, MERGE)
        until(lambda: status(api)["observedGeneration"] == 2, 10)
        hang.release()


@pytest.mark.parametrize("code", [409, 429, 500])
def test_an_api_server_that_errs_for_a_while_is_waited_out(api: KubernetesApi, code: int) -> None:
    api.request("POST", LOOPS, model_loop())
    fault = api.faults.add(Fault(lambda call: call.plural in ("configmaps", "events"), code=code, times=12))
    with running(api):
        until(lambda: fault.happened == 12, 60)
        until(phase(api, "m", "Serving"), 60)


def test_watches_that_expire_or_are_cut_are_opened_anew(api: KubernetesApi) -> None:
    api.request("POST", LOOPS, model_loop())
    with running(api):
        until(phase(api, "m", "Serving"))
        for generation in (2, 3):
            api.expire()
            api.cut()
            api.request("PATCH", f"{LOOPS}/m", {"spec": {"retraining": {"cooldown": f"{generation}h"}}}, MERGE)
            until(lambda wanted=generation: status(api)["observedGeneration"] == wanted, 60)  # type: ignore[misc]


def test_connections_that_break_at_every_third_call_stop_nothing(api: KubernetesApi) -> None:
    api.request("POST", LOOPS, model_loop())
    api.faults.add(
        Fault(lambda call: call.number % 3 == 0 and call.verb in ("create", "update", "patch"), "abort after")
    )
    with running(api):
        until(phase(api, "m", "Serving"), 60)
        events = api.objects("/api/v1/namespaces/default/events")
        assert len({one["message"] for one in events}) == len(events)


def test_the_second_operator_waits_and_takes_over(api: KubernetesApi) -> None:
    api.request("POST", LOOPS, model_loop())
    with running(api, "two", lease_seconds=1.0) as second:
        until(phase(api, "m", "Serving"))
        with running(api, "three", lease_seconds=1.0) as third:
            assert not third.ready.wait(2)
            assert holder(api) == "two"
            second.stop.set()
            until(lambda: holder(api) == "three")
            assert third.ready.wait(20)
            api.request("POST", LOOPS, model_loop("later"))
            until(phase(api, "later", "Serving"))


@pytest.mark.local
def test_a_killed_operator_is_succeeded_and_nothing_is_decided_twice(api: KubernetesApi) -> None:
    def start(identity: str) -> subprocess.Popen[bytes]:
        script = Path(__file__).parent / "fleet_process.py"
        return subprocess.Popen([sys.executable, str(script), api.url, "default", identity], env={**os.environ})

    api.request("POST", LOOPS, model_loop())
    first = start("first")
    second = None
    try:
        until(lambda: any(call.verb == "update" and call.plural == "configmaps" for call in api.calls), 90)
        first.send_signal(signal.SIGKILL)
        first.wait(10)
        second = start("second")
        until(lambda: holder(api) == "second", 60)
        until(phase(api, "m", "Serving"), 60)
        events = [one["reason"] for one in api.objects("/api/v1/namespaces/default/events")]
        assert sorted(events).count("Promote") == 1
        second.send_signal(signal.SIGTERM)
        assert second.wait(30) == 0
    finally:
        for process in (first, second):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
