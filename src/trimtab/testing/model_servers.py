"""What every ModelServers must do; subclass it and give a `servers` fixture, `kill` and `breaks`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trimtab.ports.servers import ModelServers, ServerRequest, ServerView
from trimtab.testing.envoy_world import until


def ready(servers: ModelServers, *requests: ServerRequest, seconds: float = 60.0) -> Mapping[str, ServerView]:
    """Look until every version is ready; the last views."""
    views: dict[str, ServerView] = {}

    def all_ready() -> bool:
        views.update(servers.ensure(requests))
        return all(views[request.version].state == "ready" for request in requests)

    until(all_ready, seconds)
    return views


def request(folder: Path, version: str, fault: str = "") -> ServerRequest:
    """A version whose bundle holds a `fault` for the fake server ("" is none)."""
    bundle = folder / "bundles" / version
    bundle.mkdir(parents=True, exist_ok=True)
    (bundle / "fault").write_text(fault)
    return ServerRequest(version, bundle, "sha256:" + version * 8)


class ModelServersSuite:
    """Starting, restarting, failing and stopping."""

    def kill(self, servers: Any, view: ServerView) -> None:
        """kill -9 the version's process."""
        raise NotImplementedError

    def breaks(self, servers: Any, version: str) -> None:
        """Let the version be one that never starts; the process adapter gets that from its bundle."""

    def test_nothing_wanted_is_nothing_run(self, servers: Any) -> None:
        assert servers.ensure([]) == {}

    def test_versions_become_ready_at_addresses_of_their_own(self, servers: Any, tmp_path: Path) -> None:
        wanted = [request(tmp_path, "1"), request(tmp_path, "2")]
        assert {view.state for view in servers.ensure(wanted).values()} == {"starting"}
        views = ready(servers, *wanted)
        assert set(views) == {"1", "2"}
        assert len({views["1"].address, views["2"].address, ""}) == 3
        assert all(view.pid and not view.restarts and not view.reason for view in views.values())

    def test_looking_again_changes_nothing(self, servers: Any, tmp_path: Path) -> None:
        wanted = request(tmp_path, "1")
        assert ready(servers, wanted) == servers.ensure([wanted]) == servers.ensure([wanted])

    def test_a_killed_server_is_started_again_and_counted(self, servers: Any, tmp_path: Path) -> None:
        wanted = request(tmp_path, "1")
        before = ready(servers, wanted)["1"]
        self.kill(servers, before)
        until(lambda: servers.ensure([wanted])["1"].pid != before.pid)
        after = ready(servers, wanted)["1"]
        assert (after.restarts, after.state) == (1, "ready")
        assert after.pid not in (0, before.pid)

    def test_a_version_that_cannot_start_fails_with_a_reason_and_harms_no_other(
        self, servers: Any, tmp_path: Path
    ) -> None:
        good, bad = request(tmp_path, "1"), request(tmp_path, "2", "die")
        self.breaks(servers, "2")
        until(lambda: servers.ensure([good, bad])["2"].state == "failed", 30)
        view = servers.ensure([good, bad])["2"]
        assert "digest" in view.reason
        assert (view.address, view.pid) == ("", 0)
        assert ready(servers, good)["1"].state == "ready"

    def test_a_version_wanted_no_more_is_not_shown_and_can_come_back(self, servers: Any, tmp_path: Path) -> None:
        one, two = request(tmp_path, "1"), request(tmp_path, "2")
        ready(servers, one, two)
        assert set(servers.ensure([two])) == {"2"}
        assert set(ready(servers, one, two)) == {"1", "2"}

    def test_closing_twice_is_no_error(self, servers: Any, tmp_path: Path) -> None:
        ready(servers, request(tmp_path, "1"))
        servers.close()
        servers.close()
