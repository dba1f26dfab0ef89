"""One self-contained HTML page that tells a replay: quality, versions, drift and decisions on one time axis."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from trimtab import __version__
from trimtab.spec.metrics import KNOWN

LANES = (
    {"name": "alarm", "short": "alarm", "kinds": ["alarm"], "tone": "alarm"},
    {"name": "retrain", "short": "retr.", "kinds": ["retrain"], "tone": "retrain"},
    {"name": "release step", "short": "step", "kinds": ["start", "step"], "tone": "soft"},
    {"name": "promoted", "short": "prom.", "kinds": ["promote"], "tone": "good"},
    {"name": "stopped", "short": "stop", "kinds": ["roll-back", "reject", "training-failed"], "tone": "bad"},
)
TRAILING_ROWS = 300


def render(replay: Mapping[str, Any]) -> str:
    """The page of one replay; `replay` is what `loop.replay` writes as replay.json. No network is needed to read it."""
    data = {**replay, "lanes": LANES, "trailing": TRAILING_ROWS}
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    folder = files("trimtab.dashboard")
    template = environment.from_string(folder.joinpath("replay_report.html.j2").read_text("utf-8"))
    return template.render(
        replay=replay,
        figures=_figures(replay),
        sign=1 if KNOWN[replay["metric"]].higher_is_better else -1,
        first_year=replay["since"][:4],
        last_year=replay["years"][-1]["year"] if replay["years"] else replay["until"][:4],
        trailing=TRAILING_ROWS,
        period_name=replay["period_name"],
        version=__version__,
        data=_embedded(data),
        style=Markup(folder.joinpath("replay_report.css").read_text("utf-8")),  # noqa: S704 - our own file
        script=Markup(folder.joinpath("replay_report.js").read_text("utf-8")),  # noqa: S704 - our own file
    )


def _embedded(data: Mapping[str, Any]) -> Markup:
    """JSON that cannot end its script element, whatever class names or sentences it holds."""
    text = json.dumps(data, allow_nan=False, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - every character that HTML reads is escaped above


def _figures(replay: Mapping[str, Any]) -> list[dict[str, str]]:
    summary, metric = replay["summary"], replay["metric"]

    def shown(value: float | None) -> str:
        if value is None:
            return "–"
        return f"{100 * value:.1f} %" if replay["problem"] == "classification" else f"{value:.4g}"

    figures = [
        {"name": f"{metric}, with the loop", "value": shown(summary["loop"]), "note": "", "tone": "loop"},
        {"name": f"{metric}, first model frozen", "value": shown(summary["frozen"]), "note": "", "tone": "frozen"},
    ]
    if summary.get("macro_f1") is not None:
        note = f"frozen {summary['frozen_macro_f1']:.3f}"
        figures.append({"name": "macro F1", "value": f"{summary['macro_f1']:.3f}", "note": note, "tone": ""})
    lost = summary["lost"] + summary["duplicated"]
    figures += [
        {"name": "predictions", "value": f"{summary['predictions']:,}", "note": "each a real HTTP request", "tone": ""},
        {"name": "lost or answered twice", "value": str(lost), "note": "", "tone": "bad" if lost else ""},
        {
            "name": "retrained",
            "value": str(summary["retrains"]),
            "note": f"{summary['promotions']} promoted",
            "tone": "",
        },
        {
            "name": "rolled back or rejected",
            "value": str(summary["rollbacks"] + summary["rejections"]),
            "note": "",
            "tone": "",
        },
    ]
    return figures
