"""Adding up what several pods counted, exactly, while pods come, go and start anew. Pure.

`carried` makes up for what no pod that runs now has counted itself: the last counts of pods that are gone. It is kept
where it outlasts the operator, together with the pods it goes with. Whoever starts and misses one of those cannot know
what it counted last; counting begins anew then, under another epoch, from what is there now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class PodCounts:
    """Counters by name over all pods. `epoch` "" is one that has not looked yet."""

    epoch: str = ""
    carried: dict[str, int] = field(default_factory=dict)
    last: dict[str, dict[str, int]] = field(default_factory=dict)

    def see(self, pods: Mapping[str, Mapping[str, int]], noted: Mapping[str, Any], epoch: str) -> dict[str, int]:
        """The totals, given what each pod (by an id of its very process) counts now.

        `noted`: what `note` said last; `epoch`: what a new epoch is to be called.
        """
        if not self.epoch:
            self._begin(pods, noted, epoch)
        for pod, before in self.last.items():
            now = pods.get(pod, {})
            for name, count in before.items():
                if now.get(name, 0) < count:  # gone, or born again under the same name
                    self.carried[name] = self.carried.get(name, 0) + count
        self.last = {pod: dict(found) for pod, found in pods.items()}
        names = {*self.carried, *(name for found in pods.values() for name in found)}
        return {
            name: max(0, self.carried.get(name, 0) + sum(found.get(name, 0) for found in pods.values()))
            for name in sorted(names)
        }

    def note(self) -> dict[str, Any]:
        """What the next one must know, JSON-ready."""
        carried = {name: count for name, count in sorted(self.carried.items()) if count}
        return {"epoch": self.epoch, "pods": sorted(self.last), "carried": carried}

    def _begin(self, pods: Mapping[str, Mapping[str, int]], noted: Mapping[str, Any], epoch: str) -> None:
        if noted and set(noted["pods"]) <= set(pods):  # those that are new have counted since they were born
            self.epoch, self.carried = str(noted["epoch"]), dict(noted["carried"])
            return
        self.epoch = epoch
        for found in pods.values():
            for name, count in found.items():
                self.carried[name] = self.carried.get(name, 0) - count
