"""The alert rules of the chart, judged by Prometheus' own promtool: what fires, for whom, and what does not."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from rendering import NAMESPACE, ROOT, of_kind, rendered

PROMTOOL = shutil.which("promtool")
pytestmark = pytest.mark.skipif(PROMTOOL is None, reason="no promtool on PATH: sudo apt-get install prometheus")
Json = dict[str, Any]
LEADS = {"series": f'trimtab_operator_leader{{namespace="{NAMESPACE}",job="r",pod="a"}}', "values": "1x120"}


def _answered(namespace: str, values: str, version: str = "1") -> Json:
    labels = f'namespace="{namespace}",model="orders",version="{version}",protocol="v1",shadow="false"'
    return {"series": f"trimtab_requests_total{{{labels}}}", "values": values}


def _failed(namespace: str, values: str, version: str = "1") -> Json:
    labels = f'namespace="{namespace}",model="orders",version="{version}",status="500"'
    return {"series": f"trimtab_unanswered_total{{{labels}}}", "values": values}


def _collector(metric: str, values: str) -> Json:
    return {"series": f'{metric}{{namespace="shop",pod="c-1"}}', "values": values}


def _loop(metric: str, values: str) -> Json:
    return {"series": f'{metric}{{namespace="shop",name="orders"}}', "values": values}


MODEL = {"namespace": "shop", "model": "orders", "version": "1"}
POD = {"namespace": "shop", "pod": "c-1"}
LOOP = {"namespace": "shop", "name": "orders"}
CASES: dict[str, tuple[str, list[Json], list[Json]]] = {
    "fails from its birth, never having answered": ("TrimtabModelFails", [_failed("shop", "0+6x60")], [MODEL]),
    "one in fifty": ("TrimtabModelFails", [_answered("shop", "0+98x60"), _failed("shop", "0+2x60")], [MODEL]),
    "one in two hundred": ("TrimtabModelFails", [_answered("shop", "0+199x60"), _failed("shop", "0+1x60")], []),
    "asked by nobody": ("TrimtabModelFails", [_answered("shop", "0x60"), _failed("shop", "0x60")], []),
    "the same model elsewhere is another": (
        "TrimtabModelFails",
        [_answered("test", "0+10000x60"), _answered("shop", "0+10x60"), _failed("shop", "0+10x60")],
        [MODEL],
    ),
    "slow": (
        "TrimtabModelSlow",
        [
            {
                "series": f'trimtab_latency_seconds_bucket{{namespace="shop",model="orders",version="1",le="{le}"}}',
                "values": values,
            }
            for le, values in (("0.5", "0+90x60"), ("5", "0+100x60"), ("+Inf", "0+100x60"))
        ],
        [MODEL],
    ),
    "answers without a record": (
        "TrimtabPredictionsUnlogged",
        [{"series": 'trimtab_unlogged_total{namespace="shop",model="orders",version="1"}', "values": "0x50 1x10"}],
        [MODEL],
    ),
    "a log in trouble": ("TrimtabCollectorTrouble", [_collector("trimtab_log_trouble", "1x60")], [POD]),
    "sheds": ("TrimtabCollectorSheds", [_collector("trimtab_shed_total", "0x55 1 4x10")], [POD]),
    "sheds no more": ("TrimtabCollectorSheds", [_collector("trimtab_shed_total", "0 9x60")], []),
    "spool grows": ("TrimtabSpoolGrows", [_collector("trimtab_spooled_bytes", "10+5x60")], [POD]),
    "spool is emptied": (
        "TrimtabSpoolGrows",
        [_collector("trimtab_spooled_bytes", "0 9 0 9 0 9 0 9x0 0+1x20 0x40")],
        [],
    ),
    "spool shrinks": ("TrimtabSpoolGrows", [_collector("trimtab_spooled_bytes", "9000-5x60")], []),
    "one leads, another waits": (
        "TrimtabNobodyLeads",
        [{"series": f'trimtab_operator_leader{{namespace="{NAMESPACE}",job="r",pod="b"}}', "values": "0x60"}],
        [],
    ),
    "an operator elsewhere leads nobody here": (
        "TrimtabNobodyLeads",
        [
            {"series": f'trimtab_operator_leader{{namespace="{NAMESPACE}",job="r2",pod="b"}}', "values": "0x60"},
            {"series": 'trimtab_operator_leader{namespace="elsewhere",job="r",pod="c"}', "values": "1x60"},
        ],
        [{"namespace": NAMESPACE, "job": "r2"}],
    ),
    "turns fail": ("TrimtabTurnsFail", [_loop("trimtab_turn_failures_total", "0+1x60")], [LOOP]),
    "a turn failed": ("TrimtabTurnsFail", [_loop("trimtab_turn_failures_total", "0x50 1x10")], []),
    "an alarm": ("TrimtabLoopAlarm", [_loop("trimtab_alarms", "2x60")], [LOOP]),
    "stands": ("TrimtabLoopStands", [_loop("trimtab_last_turn_timestamp_seconds", "60x60")], [LOOP]),
    "turned": ("TrimtabLoopStands", [_loop("trimtab_last_turn_timestamp_seconds", "0+60x60")], []),
}


def _promtool(folder: Path, rules: Json, cases: list[Json]) -> subprocess.CompletedProcess[str]:
    assert PROMTOOL is not None
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    (folder / "tests.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": cases}))
    asked = [PROMTOOL, "test", "rules", "tests.yaml"]
    return subprocess.run(asked, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def _rules(executable: str) -> Json:
    (found,) = of_kind(rendered(executable, "trimtab", {"prometheus.rules": True}), "PrometheusRule")
    return {"groups": copy.deepcopy(found["spec"]["groups"])}


def _said(rules: Json, alert: str) -> list[Json]:
    return [rule for group in rules["groups"] for rule in group["rules"] if rule["alert"] == alert]


@pytest.mark.parametrize("case", CASES)
def test_what_fires(a_helm: str, case: str, tmp_path: Path) -> None:
    alert, series, firing = CASES[case]
    rules = _rules(a_helm)
    (rule,) = _said(rules, alert)
    rule["annotations"] = {}  # a sentence with a value in it is judged below
    wanted = [{"exp_labels": {**labels, **rule["labels"]}} for labels in firing]
    told = {
        "interval": "1m",
        "input_series": [*series, LEADS],
        "alert_rule_test": [{"eval_time": "60m", "alertname": alert, "exp_alerts": wanted}],
    }
    done = _promtool(tmp_path, rules, [told])
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_operator_that_is_gone_leads_nobody(a_helm: str, tmp_path: Path) -> None:
    rules = _rules(a_helm)
    (rule,) = _said(rules, "TrimtabNobodyLeads")
    said = f"No operator leads in {NAMESPACE}, so no loop is turned. What serves serves on."
    wanted = {"exp_labels": {"namespace": NAMESPACE, **rule["labels"]}, "exp_annotations": {"summary": said}}
    told = {
        "interval": "1m",
        "input_series": [{"series": 'trimtab_operator_leader{namespace="elsewhere",job="r"}', "values": "1x60"}],
        "alert_rule_test": [{"eval_time": "30m", "alertname": "TrimtabNobodyLeads", "exp_alerts": [wanted]}],
    }
    done = _promtool(tmp_path, rules, [told])
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_sentence_has_the_share_in_it(a_helm: str, tmp_path: Path) -> None:
    said = "Version 1 of shop/orders leaves 50% of its requests without a prediction."
    told = {
        "interval": "1m",
        "input_series": [_answered("shop", "0+60x60"), _failed("shop", "0+60x60")],
        "alert_rule_test": [
            {
                "eval_time": "30m",
                "alertname": "TrimtabModelFails",
                "exp_alerts": [{"exp_labels": {**MODEL, "severity": "critical"}, "exp_annotations": {"summary": said}}],
            }
        ],
    }
    done = _promtool(tmp_path, _rules(a_helm), [told])
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tried(a_helm: str) -> None:
    names = {rule["alert"] for group in _rules(a_helm)["groups"] for rule in group["rules"]}
    assert names == {alert for alert, _, _ in CASES.values()}


def test_prometheus_understands_every_panel(tmp_path: Path) -> None:
    assert PROMTOOL is not None
    board = json.loads((ROOT / "helm/trimtab/files/dashboard.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    rules = [
        {"record": f"panel_{index}", "expr": expr.replace("$__rate_interval", "5m")} for index, expr in enumerate(asked)
    ]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    asked_of = [PROMTOOL, "check", "rules", "rules.yaml"]
    done = subprocess.run(asked_of, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(asked)} rules found" in done.stdout
