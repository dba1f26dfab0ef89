"""`trimtab submit --every`: the recurring run that is there afterwards, whatever was there before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from trimtab.adapters.pipelines import cron
from trimtab.cli.main import app
from trimtab.errors import Refused, TrimtabError
from trimtab.spec.generate import SMALLEST
from trimtab.spec.read import loads
from trimtab.testing.kfp_api import KfpApi

pytestmark = pytest.mark.local
NIGHTLY = "0 0 2 * * *"


class Bench:
    """A loop.yaml and a server."""

    def __init__(self, loop: Path, api: KfpApi) -> None:
        self.loop, self.api = loop, api

    def submit(self, *options: str) -> Any:
        """What the command prints as JSON; raises its error."""
        ended = CliRunner().invoke(app, ["submit", str(self.loop), "--host", self.api.url, "--json", *options])
        if ended.exception is not None:
            raise ended.exception
        return json.loads(ended.stdout)

    @property
    def only(self) -> dict[str, Any]:
        (found,) = self.api.recurring_runs.values()
        return found


@pytest.fixture(params=["one user", "profiles"])
def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    loop = tmp_path / "loop.yaml"
    loop.write_text(SMALLEST)
    with KfpApi(multi_user=request.param == "profiles") as api:
        found = Bench(loop, api)
        if api.multi_user:
            whole = found.submit
            monkeypatch.setattr(found, "submit", lambda *options: whole("--namespace", "team-a", *options))
        yield found


def test_it_is_made_with_everything_that_kfp_needs(bench: Bench) -> None:
    told = bench.submit("--every", f"  {NIGHTLY} ", "--tracking-uri", "http://mlflow:5000")
    assert (told["change"], told["every"], told["enabled"]) == ("made", NIGHTLY, True)
    found = bench.only
    assert told["recurring_run"] == found["recurring_run_id"]
    assert told["url"].endswith(f"/#/recurringrun/details/{found['recurring_run_id']}")
    assert found["trigger"] == {"cron_schedule": {"cron": NIGHTLY}}
    assert (found["mode"], found["max_concurrency"], found["no_catchup"]) == ("ENABLE", "1", True)
    (version,), (experiment,) = bench.api.versions.values(), bench.api.experiments.values()
    reference = found["pipeline_version_reference"]
    assert reference == {key: version[key] for key in ("pipeline_id", "pipeline_version_id")}
    assert (experiment["display_name"], found["experiment_id"]) == ("orders", experiment["experiment_id"])
    parameters = found["runtime_config"]["parameters"]
    assert loads(parameters.pop("loop")) == loads(SMALLEST)
    assert parameters == {"tracking_uri": "http://mlflow:5000"}
    assert found.get("namespace", "") == ("team-a" if bench.api.multi_user else "")
    assert bench.api.runs == {}


def test_the_same_again_changes_nothing(bench: Bench) -> None:
    first = bench.submit("--every", NIGHTLY)
    before = json.dumps(bench.api.recurring_runs)
    bench.api.calls.clear()
    assert bench.submit("--every", NIGHTLY) == {**first, "change": "unchanged"}
    assert json.dumps(bench.api.recurring_runs) == before
    assert {method for method, _ in bench.api.calls} == {"GET"}


@pytest.mark.parametrize("change", ["cron", "loop", "tracking"])
def test_a_change_replaces_it_and_leaves_its_runs_alone(bench: Bench, change: str) -> None:
    first = bench.submit("--every", NIGHTLY)
    every, options = NIGHTLY, []
    if change == "cron":
        every = "@hourly"
    elif change == "loop":
        bench.loop.write_text(SMALLEST.replace("orders.csv", "more-orders.csv"))
    else:
        options = ["--tracking-uri", "http://elsewhere:5000"]
    told = bench.submit("--every", every, *options)
    assert told["change"] == "replaced"
    assert bench.only["recurring_run_id"] == told["recurring_run"] != first["recurring_run"]
    assert bench.only["trigger"]["cron_schedule"]["cron"] == every
    assert bench.api.deletions == [(first["recurring_run"], "ORPHAN")]


def test_off_removes_it_and_again_does_no_harm(bench: Bench) -> None:
    assert bench.submit("--every", "off")["change"] == "absent"
    assert bench.api.experiments == {}
    first = bench.submit("--every", NIGHTLY)
    told = bench.submit("--every", "off")
    assert (told["change"], told["recurring_run"]) == ("removed", first["recurring_run"])
    assert bench.api.recurring_runs == {}
    assert bench.submit("--every", "off")["change"] == "absent"


def test_one_that_a_person_disabled_stays_disabled_even_if_it_is_replaced(bench: Bench) -> None:
    first = bench.submit("--every", NIGHTLY)["recurring_run"]
    bench.api.recurring_runs[first] |= {"mode": "DISABLE", "status": "DISABLED"}
    assert bench.submit("--every", NIGHTLY) | {"url": ""} == {
        **{"recurring_run": first, "change": "unchanged", "every": NIGHTLY, "enabled": False},
        **{"name": "orders training", "url": ""},
    }
    assert bench.submit("--every", "@daily")["enabled"] is False
    assert bench.only["mode"] == "DISABLE"


@pytest.mark.parametrize("kind", ["before", "after"])
@pytest.mark.parametrize("call", [("POST", "recurringruns"), ("DELETE", "recurringruns/recurring_run-1")])
def test_what_was_broken_off_is_put_right_by_the_same_command(bench: Bench, call: tuple[str, str], kind: str) -> None:
    bench.submit("--every", NIGHTLY)
    bench.api.cuts[call] = (kind, 1)
    with pytest.raises(TrimtabError, match="does not answer"):
        bench.submit("--every", "@daily")
    assert bench.api.recurring_runs  # never is there none
    bench.submit("--every", "@daily")
    assert bench.only["trigger"]["cron_schedule"]["cron"] == "@daily"


def test_other_names_and_other_loops_are_left_alone(bench: Bench) -> None:
    bench.submit("--every", NIGHTLY)
    bench.submit("--every", "@weekly", "--name", "weekly")
    bench.loop.write_text(SMALLEST.replace("name: orders", "name: others"))
    bench.submit("--every", "@monthly", "--name", "weekly")
    assert len(bench.api.recurring_runs) == 3
    assert bench.submit("--every", "off", "--name", "weekly")["change"] == "removed"
    found = [one["trigger"]["cron_schedule"]["cron"] for one in bench.api.recurring_runs.values()]
    assert found == [NIGHTLY, "@weekly"]


def test_a_recurring_run_trains_on_no_fixed_past(bench: Bench) -> None:
    for options in (["--every", NIGHTLY, "--as-of", "2024-05-01"], ["--name", "weekly"]):
        with pytest.raises(Refused, match="--every"):
            bench.submit(*options)
    assert bench.api.calls == []


@pytest.mark.parametrize(
    "good",
    [
        *(
            NIGHTLY,
            "0 30 4 1,15 * ?",
            "*/10 * * * * *",
            "0 0 8-18/2 * JAN-Mar mon-fri",
            "0 0 0 31 12 6",
            "0/15 * * * * *",
        ),
        *("@daily", "@every 1h30m", "@every 0.5h"),
    ],
)
def test_schedules(good: str) -> None:
    assert cron.checked(good) == good


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("0 2 * * *", "--every '0 0 2 \\* \\* \\*'"),
        ("", "found 0"),
        ("nightly", "found 1"),
        ("0 0 0 2 * * *", "found 7"),
        ("60 0 2 * * *", "second is '60', expected .* from 0 to 59"),
        ("0 0 24 * * *", "hour is '24'"),
        ("0 0 2 0 * *", "day of month is '0'"),
        ("0 0 2 * 13 *", "month is '13'.* or jan-dec"),
        ("0 0 2 * * 7", "day of week is '7', expected .* from 0 to 6 or sun-sat"),
        ("0 0 5-2 * * *", "hour is '5-2'"),
        ("0 */0 * * * *", "minute is '\\*/0'"),
        ("0 1-2-3 * * * *", "minute"),
        ("0 ,1 * * * *", "minute"),
        ("0 -1 * * * *", "minute"),
        ("0 ² * * * *", "minute"),
        ("@fortnightly", "expected one of @yearly"),
        ("@every 0s", "@every with a time"),
        ("@every soon", "@every with a time"),
    ],
)
def test_a_schedule_that_kfp_would_not_take_or_take_otherwise_is_refused(bad: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        cron.checked(bad)


def test_a_bad_schedule_is_refused_before_anything_is_asked(bench: Bench) -> None:
    with pytest.raises(Refused, match="six fields, seconds first"):
        bench.submit("--every", "0 2 * * *")
    assert bench.api.calls == []
