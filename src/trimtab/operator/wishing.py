"""What people ask for on a cluster: an annotation of the loop, taken up once and answered by an event.

kubectl annotate modelloop m trimtab.dev/wish='promote 3'
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from trimtab.adapters.cluster import MODEL_LOOPS, Cluster
from trimtab.loop.world import Turns
from trimtab.operator.accepting import LoopObject

WISH = "trimtab.dev/wish"


class Wishing:
    """Hands wishes on; remembers the one it took until the object is seen without it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._taken = ""

    def take(self, about: LoopObject, body: Mapping[str, Any], turns: Turns, now: datetime) -> None:
        """Make the annotation a wish and take it away; dying in between repeats the wish at worst."""
        text = str((body["metadata"].get("annotations") or {}).get(WISH) or "").strip()
        if not text or text == self._taken:
            self._taken = text
            return
        kind, _, version = text.partition(" ")
        asked = {"version": version.strip(), "who": "somebody who annotated the loop"}
        if not any((one.kind, dict(one.arguments)) == (kind, asked) for one in turns.open_wishes()):
            turns.wish(now, kind, asked)
        self._taken = text
        self._cluster.merge(MODEL_LOOPS, about.namespace, about.name, {"metadata": {"annotations": {WISH: None}}})
