"""Pull requests of a host, behind one small protocol, and the HTTP that GitHub and GitLab are spoken to with.

Nothing here waits: a host that asks for patience (429, or 403 with Retry-After) is left alone until then, and each
call before that fails at once with the same sentence.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any, Literal, Protocol

from trimtab.adapters.git import plain
from trimtab.adapters.json_api import NoRedirect
from trimtab.errors import DeliveryFailed

_MOST_BYTES = 8 * 1024 * 1024
_PATIENCE_SECONDS = 60.0  # where the host does not say how long
_LONGEST_PATIENCE_SECONDS = 3600.0


@dataclass(frozen=True)
class Found:
    """A pull request; GitLab calls it a merge request."""

    number: int
    state: Literal["open", "merged", "closed"]
    url: str
    who: str = ""


class Requests(Protocol):
    """Pull requests into one branch of one repository. All raise DeliveryFailed."""

    def look(self, head: str) -> Found | None:
        """The newest one out of branch `head`; None if there never was one."""
        ...

    def open(self, head: str, title: str, body: str) -> Found:
        """Open one, or find the one that is open."""
        ...

    def close(self, found: Found, comment: str) -> None:
        """Close it without merging, saying why; one that was merged or closed stays as it is."""
        ...


class Refusal(DeliveryFailed):
    """The host said no, with an HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """JSON over HTTP with a token in a header, which is sent to `url` alone: redirects are not followed."""

    def __init__(
        self,
        url: str,
        headers: Callable[[], Mapping[str, str]],
        timeout_seconds: float = 20.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock`: seconds since 1970."""
        self._url, self._headers, self._timeout_seconds, self._clock = url.rstrip("/"), headers, timeout_seconds, clock
        self._patient_until = 0.0
        self._opener = urllib.request.build_opener(NoRedirect)

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer's JSON; raises Refusal, and DeliveryFailed if nobody answers."""
        if self._clock() < self._patient_until:
            left = self._patient_until - self._clock()
            raise DeliveryFailed(f"{self._url} asked for patience: it is asked again in {left:.0f} s")
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._url}{path}", data, method=method)  # noqa: S310 - https of the document
        for name, value in {"content-type": "application/json", "user-agent": "trimtab", **self._headers()}.items():
            request.add_unredirected_header(name, value)
        try:
            with self._opener.open(request, timeout=self._timeout_seconds) as answer:
                text = answer.read(_MOST_BYTES)
            return json.loads(text) if text.strip() else None
        except urllib.error.HTTPError as error:
            raise self._refused(method, path, error) from None  # the request in the error's context has the token
        except (OSError, http.client.HTTPException) as error:
            raise DeliveryFailed(f"{self._url} does not answer: {getattr(error, 'reason', error)}") from None
        except ValueError as error:
            raise DeliveryFailed(f"{self._url} does not answer in JSON: is its API there?") from error

    def list(self, path: str) -> list[Any]:
        """The answer's list; raises as `call` does."""
        found = self.call("GET", path)
        if not isinstance(found, list):
            raise DeliveryFailed(f"{self._url} answers GET {path} with no list: is its API there?")
        return found

    def _refused(self, method: str, path: str, error: urllib.error.HTTPError) -> DeliveryFailed:
        said = plain(error.read(2000).decode("utf-8", "replace"), 400)
        seconds = _patience(error.headers, self._clock())
        limited = seconds is not None or "rate limit" in said.lower()  # GitHub's second limit may say it in words only
        if error.code == 429 or (error.code == 403 and limited):
            seconds = _PATIENCE_SECONDS if seconds is None else min(max(seconds, 1.0), _LONGEST_PATIENCE_SECONDS)
            self._patient_until = self._clock() + seconds
            return DeliveryFailed(f"{self._url} asks for patience ({error.code}): it is asked again in {seconds:.0f} s")
        mend = {
            401: "the credentials are not taken: renew what `release.gitops.secret` names",
            403: "the credentials may not do this: they need to write pull requests and contents",
            404: "the repository is not there, or the credentials may not see it",
        }.get(error.code, "look at the host's own message")
        return Refusal(error.code, f"{self._url} answers {error.code} to {method} {path}: {said}; {mend}")


def _patience(headers: Message, now: float) -> float | None:
    """Seconds to wait, as Retry-After (seconds or a date) or GitHub's x-ratelimit-reset says; None if neither does."""
    wanted = headers.get("retry-after")
    if wanted is not None:
        try:
            return float(wanted)
        except ValueError:
            pass
        try:
            return parsedate_to_datetime(wanted).timestamp() - now
        except (TypeError, ValueError):
            return None
    if headers.get("x-ratelimit-remaining") == "0" and str(headers.get("x-ratelimit-reset", "")).isdigit():
        return float(headers["x-ratelimit-reset"]) - now
    return None
