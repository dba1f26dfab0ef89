"""Why a request got no prediction; each knows its answer in HTTP and in gRPC.

::

    Unanswered
    ├── Malformed     400   no request of this protocol
    ├── Unsupported   404   nothing that this process was started for
    ├── TooMuch       413   more rows, or more bytes, than one request may have
    ├── Refused       422   a row breaks the contract
    ├── ModelFailed   500   the model could not compute it
    └── Unavailable   503   the answer would not be safe, or would come too late; worth sending again

Only ModelFailed is the server's own mistake, so only it is written to the server's log with a traceback.
"""

from __future__ import annotations

from typing import ClassVar


class Unanswered(Exception):
    """A request that got no prediction; its text is the answer's `error`."""

    status: ClassVar[int] = 500
    grpc: ClassVar[str] = "INTERNAL"  # the name of a grpc.StatusCode


class Malformed(Unanswered):
    """Not a request of the protocol it came by."""

    status = 400
    grpc = "INVALID_ARGUMENT"


class Unsupported(Unanswered):
    """Something that this process was not started for."""

    status = 404
    grpc = "UNIMPLEMENTED"


class TooMuch(Unanswered):
    """Larger than the server was told to take."""

    status = 413
    grpc = "INVALID_ARGUMENT"  # RESOURCE_EXHAUSTED would make a router try the other version


class Refused(Unanswered):
    """A row that breaks the contract: the text names field, value and rule."""

    status = 422
    grpc = "INVALID_ARGUMENT"


class ModelFailed(Unanswered):
    """The model raised."""


class Unavailable(Unanswered):
    """Not now: the log has no room, or too many rows wait."""

    status = 503
    grpc = "UNAVAILABLE"
