"""The errors trimtab raises for things a person can mend.

::

    TrimtabError                 exit code 1   something failed while running
    ├── Refused                  exit code 2   the input breaks a rule; nothing was started
    │   ├── DocumentRefused                    loop.yaml (all problems at once)
    │   ├── PipelineRefused                    a compiled pipeline or its parameters
    │   └── DataRefused                        data that breaks the contract
    ├── ArtifactCorrupt                        bytes differ from the digest the registry vouches for
    ├── AlreadyRunning                         another process owns this loop
    ├── EvidenceMissing                        nobody knows how requests went: nothing is promoted blind
    ├── TurnTaken                              another controller committed this turn first
    ├── DeliveryFailed                         the repository of releases cannot be read or written
    ├── DeliveryConflict                       somebody else changed what the loop delivers: it is left alone
    ├── StoreFailed                            the object store did not do what it was asked to
    └── StorageFull                            a record could not be made durable

Every message states the rule, the value found and the next step.
"""

from __future__ import annotations


class TrimtabError(Exception):
    """Something failed that a person can act on; its text is shown without a traceback."""

    exit_code = 1


class Refused(TrimtabError):
    """The input breaks a rule, so nothing was started."""

    exit_code = 2


class DocumentRefused(Refused):
    """A loop.yaml that breaks its schema or its rules."""


class PipelineRefused(Refused):
    """A compiled pipeline, or a parameter for it, that cannot be run."""


class DataRefused(Refused):
    """Data that breaks the contract."""


class ArtifactCorrupt(TrimtabError):
    """The bytes of an artifact differ from the digest that the registry vouches for."""


class AlreadyRunning(TrimtabError):
    """Another process owns this loop."""


class EvidenceMissing(TrimtabError):
    """Nobody can say how requests went, so a release holds."""


class TurnTaken(TrimtabError):
    """Another controller committed this turn first."""


class DeliveryFailed(TrimtabError):
    """The repository that releases are written to cannot be read or written; nothing is lost meanwhile."""


class DeliveryConflict(TrimtabError):
    """Somebody else changed what the loop delivers. It is not overwritten."""


class StorageFull(TrimtabError):
    """A record could not be made durable."""


class StoreFailed(TrimtabError):
    """The object store did not do what was asked of it; tried again later, it may."""
