"""What a monitoring run outside of a loop can start: a KFP run, a wish for the operator, a call of a webhook."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trimtab.decisions.state import Cause
from trimtab.errors import Refused, TrimtabError

TOKEN = "TRIMTAB_WEBHOOK_TOKEN"  # noqa: S105 - the name of the variable that holds it
_TIMEOUT_SECONDS = 20
_WHO = "the drift monitor"

Trigger = Callable[[Cause, Mapping[str, Any]], str]


@dataclass(frozen=True)
class Wanted:
    """What the command line says; at most one of them is not empty."""

    submit: str = ""  # the URL of a KFP API
    wish: str = ""  # NAMESPACE/LOOP
    webhook: str = ""  # a URL
    tracking_uri: str = ""  # for the KFP run


def trigger(wanted: Wanted, file: Path) -> Trigger | None:
    """What to do when training is called for, as a function of cause and report that says what it did; None: nothing.

    Raises Refused for more than one.
    """
    given = {"--submit": wanted.submit, "--wish": wanted.wish, "--webhook": wanted.webhook}
    named = [name for name, value in given.items() if value]
    if len(named) > 1:
        raise Refused(f"{' and '.join(named)} are both given: one cause must start one run, so choose one of them")
    if wanted.submit:
        return lambda _cause, _told: _submit(file, wanted)
    if wanted.wish:
        namespace, _, loop = wanted.wish.partition("/")
        if not namespace or not loop or "/" in loop:
            raise Refused(f"--wish {wanted.wish!r}: expected NAMESPACE/LOOP, such as models/orders")
        return lambda cause, _told: _wish(namespace, loop, cause)
    if wanted.webhook:
        if not wanted.webhook.startswith(("http://", "https://")):
            raise Refused(f"--webhook {wanted.webhook!r}: expected a URL such as https://example.com/retrain")
        return lambda _cause, told: _call(wanted.webhook, told)
    return None


def _submit(file: Path, wanted: Wanted) -> str:
    from trimtab.cli.kfp import Server, submit

    with contextlib.redirect_stdout(sys.stderr):  # stdout may be JSON
        submit(file, Server(wanted.submit), "", as_json=False, tracking_uri=wanted.tracking_uri)
    return f"a training run was started at {wanted.submit}"


def _wish(namespace: str, loop: str, cause: Cause) -> str:
    from trimtab.adapters.cluster import Cluster
    from trimtab.adapters.turns.configmap import ConfigMapTurns

    turns = ConfigMapTurns(Cluster.connect(os.environ.get("KUBECONFIG")), namespace, loop)
    if any(one.kind == "retrain" for one in turns.open_wishes()):
        return f"a wish to retrain {namespace}/{loop} is open already"
    number = turns.wish(datetime.now(UTC), "retrain", {"who": _WHO, "why": cause.sentence})
    return f"wish {number} to retrain {namespace}/{loop} was recorded; its operator answers it in its next turn"


def _call(url: str, told: Mapping[str, Any]) -> str:
    headers = {"content-type": "application/json"}
    if os.environ.get(TOKEN):
        headers["authorization"] = f"Bearer {os.environ[TOKEN]}"
    request = urllib.request.Request(url, json.dumps(told).encode(), headers)  # noqa: S310 - http(s), checked before
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310
            return f"{url} answered {answer.status}"
    except urllib.error.HTTPError as error:
        raise TrimtabError(f"the webhook {url} answers {error.code} {error.reason}, so nothing was started") from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise TrimtabError(f"the webhook {url} does not answer, so nothing was started: {reason}") from error
