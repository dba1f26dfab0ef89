"""A service that speaks JSON over HTTP: what it refused and what nobody answered are told apart, in a sentence."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trimtab.errors import TrimtabError

Json = dict[str, Any]
_MOST_BYTES = 64 * 1024 * 1024


class ApiError(TrimtabError):
    """The API refused a call (`code` is its status) or did not answer (0): then the call may have taken effect."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code

    @property
    def silent(self) -> bool:
        """Whether it may well do better later: no answer, or one that says that something behind it is away."""
        return self.code in (0, 429) or self.code >= 500


class JsonApi:
    """Calls below `url`. A subclass says in `who` what it is, in `error` what it raises, in `advice` what 401 wants.

    `token_file` is read at each call, for tokens are renewed; it goes to `url` alone: redirects are not followed.
    """

    who, product, advice = "The service", "such a service", ""
    error: type[ApiError] = ApiError

    def __init__(self, url: str, token_file: Path | None, timeout_seconds: float) -> None:
        self._url, self._token_file, self._timeout_seconds = url.rstrip("/"), token_file, timeout_seconds
        self._opener = urllib.request.build_opener(NoRedirect)

    def post(self, path: str, body: Any = None, query: Mapping[str, str] | None = None) -> Json:
        """Make or do something."""
        return self.call("POST", path, query, json.dumps(body or {}).encode(), "application/json")

    def patch(self, path: str, body: Any) -> Json:
        """Change what `body` names."""
        return self.call("PATCH", path, None, json.dumps(body).encode(), "application/json")

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Json | None:
        """The object, or None if there is none."""
        return self._unless_gone("GET", path, query)

    def delete(self, path: str, query: Mapping[str, str] | None = None) -> None:
        """Take it away; what is not there is away already."""
        self._unless_gone("DELETE", path, query)

    def call(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: bytes | None = None, kind: str = ""
    ) -> Json:
        """The answer's object; raises `error`."""
        url = f"{self._url}/{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        request = urllib.request.Request(url, body, method=method)  # noqa: S310 - a setting, or checked before
        if kind:
            request.add_header("content-type", kind)
        try:
            if self._token_file is not None:
                request.add_header("authorization", f"Bearer {self._token_file.read_text(encoding='utf-8').strip()}")
            with self._opener.open(request, timeout=self._timeout_seconds) as answer:
                found = json.loads(answer.read(_MOST_BYTES) or b"{}")
        except urllib.error.HTTPError as error:
            raise self._told(method, url, error) from None  # the request in its context has the token
        except (OSError, http.client.IncompleteRead) as error:
            reason = getattr(error, "reason", error)
            raise self.error(f"{self.who} at {self._url} does not answer ({method} {path}): {reason}") from None
        except (ValueError, http.client.HTTPException) as error:
            raise self.error(f"{url} does not answer in JSON: is that the URL of {self.product}?") from error
        if not isinstance(found, dict):
            raise self.error(f"{url} does not answer as {self.product} does: is that its URL?")
        return found

    def _unless_gone(self, method: str, path: str, query: Mapping[str, str] | None) -> Json | None:
        try:
            return self.call(method, path, query)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def _told(self, method: str, url: str, error: urllib.error.HTTPError) -> ApiError:
        text = error.read(4000).decode("utf-8", "replace")
        try:
            found = json.loads(text)
            said = str(found.get("message") or found.get("error_message") or found.get("error") or text)
        except (ValueError, AttributeError):
            said = text.strip() or str(error.reason)
        advice = f". {self.advice}" if self.advice and error.code in (401, 403) else ""
        if 300 <= error.code < 400:
            advice = f". It sends elsewhere, as login pages do: give the URL of {self.product} itself"
        return self.error(f"{self.who} refused {method} {url} ({error.code}): {said}{advice}", error.code)


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: the token is for one host."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none."""
        return
