"""Faults of the API server, for chosen calls."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

FaultKind = Literal["answer", "abort before", "abort after", "hang"]


@dataclass(frozen=True)
class Call:
    """One request as it came in. `number` counts all requests from 1."""

    number: int
    verb: str  # get list watch create update patch delete, or the path of what is no object
    group: str = ""
    plural: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    agent: str = ""
    status: int = 0  # of the answer, once there is one


@dataclass
class Fault:
    """What happens to calls that `hits` says yes to, at most `times` times.

    answer: `code` instead of doing it; abort before/after: the connection is cut without an answer, and the call did
    not or did take effect; hang: no answer until `release`.
    """

    hits: Callable[[Call], bool]
    kind: FaultKind = "answer"
    code: int = 500
    times: int = 1_000_000
    retry_after_seconds: int = 0
    released: threading.Event = field(default_factory=threading.Event)
    happened: int = 0

    def release(self) -> None:
        """Let calls that hang go on."""
        self.released.set()


class Faults:
    """The faults in force."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        """Put a fault in force."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """No faults any more; what hangs goes on."""
        with self._lock:
            faults, self._faults = self._faults, []
        for fault in faults:
            fault.release()

    def of(self, call: Call) -> Fault | None:
        """The fault that this call meets."""
        with self._lock:
            for fault in self._faults:
                if fault.happened < fault.times and fault.hits(call):
                    fault.happened += 1
                    return fault
        return None
