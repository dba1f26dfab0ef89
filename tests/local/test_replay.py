"""`trimtab replay` on a person's own data, through real servers and the real router."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from commands import csv, told, trimtab

from trimtab import wiring
from trimtab.cli.opening import opened
from trimtab.loop.audit import early_rows, known_since

pytestmark = [pytest.mark.local, pytest.mark.slow]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifty days of made rodents; five of them replayed."""
    folder = tmp_path_factory.mktemp("replay")
    csv(folder, 1200)
    trimtab(folder, "init", "--label", "genus")
    document = yaml.safe_load((folder / "loop.yaml").read_text())
    document["spec"]["data"]["label"]["delay"] = "1d"
    document["spec"]["monitoring"] = {"every": "2d", "window": "2d", "leastLabels": 10}
    (folder / "loop.yaml").write_text(yaml.safe_dump(document))
    trimtab(folder, "replay", "--from", "2020-02-10", "--until", "2020-02-15", "--turn-days", "1", "--quiet")
    return folder


def test_every_row_is_answered_once_over_http_and_no_label_is_seen_early(project: Path) -> None:
    summary = json.loads((project / ".trimtab/demo-summary.json").read_text())
    assert summary["predictions"] == 120
    assert (summary["lost"], summary["duplicated"], summary["labels_before_time"]) == (0, 0, 0)
    assert summary["accuracy"] == summary["frozen_accuracy"] > 0.6
    assert summary["peak_memory_mb"] > 100
    assert [(year["year"], year["n"]) for year in summary["years"]] == [(2020, 120)]


def test_the_audit_sees_the_rows_that_were_really_learnt_from(project: Path) -> None:
    found = opened(project, None)
    frame = wiring.history(found.document, found.path)
    (learnt,) = wiring.learnt(wiring.ledger(found.document, found.home).runs)
    delay = found.document.spec.data.label.delay
    visible = int((frame["_time"] + delay <= learnt.as_of).sum())
    assert len(learnt.ids) == visible > 500
    assert early_rows([learnt], known_since(frame, delay, {})) == 0
    leak = replace(learnt, as_of=learnt.as_of - timedelta(days=1))  # as if the run had been a day earlier
    assert early_rows([leak], known_since(frame, delay, {})) == 24


def test_the_report_stands_alone_and_links_the_monitoring_reports(project: Path) -> None:
    page = (project / ".trimtab/report.html").read_text()
    links = re.findall(r'<a href="([^"]+)"', page)
    assert len(links) == 2
    for link in links:
        assert link.endswith(".html")  # else a browser shows its source
        assert "labels matured" in (project / ".trimtab" / link).read_text()
    assert told(project, "reports")[0]["verdict"] in ("healthy", "alarm", "insufficient evidence")


def test_what_was_decided_can_be_looked_at_afterwards(project: Path) -> None:
    assert [one["kind"] for one in told(project, "history")][:2] == ["retrain", "promote"]
    assert told(project, "status")["champion"] == "1"
    assert str(project) in trimtab(project, "report")


def test_an_earlier_state_is_kept_unless_fresh_is_said(project: Path) -> None:
    before = (project / ".trimtab/ledger.db").stat().st_ino
    assert "--fresh" in trimtab(project, "replay", "--from", "2020-02-10", code=2)
    assert (project / ".trimtab/ledger.db").stat().st_ino == before


def test_fresh_removes_nothing_before_the_source_was_read(project: Path) -> None:
    source = project / "rodents.csv"
    source.rename(project / "away.csv")
    try:
        assert "rodents.csv" in trimtab(project, "replay", "--fresh", "--from", "2020-02-10", code=2)
    finally:
        (project / "away.csv").rename(source)
    assert told(project, "status")["champion"] == "1"


def test_a_live_loops_state_is_never_forgotten(project: Path) -> None:
    home = project / "live"
    trimtab(project, "run", "--home", str(home))
    for options in ((), ("--fresh",)):
        said = trimtab(project, "replay", "--from", "2020-02-10", "--home", str(home), *options, code=2)
        assert "no replay made" in said
        assert "--fresh" not in said
    assert told(project, "status", "--home", str(home))["champion"] == "1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--from"),
        (("--from", "2031-01"), "rows from 2020-01-01"),
        (("--from", "2020-02-10", "--until", "2020-02-01"), "not after"),
        (("--from", "February"), "--from"),
        (("--from", "2020-02-10", "--mark", "later"), "DAY=TEXT"),
    ],
)
def test_a_span_that_cannot_be_replayed_is_refused(
    project: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    assert said in trimtab(project, "replay", "--home", str(tmp_path / "home"), *arguments, code=2)
