"""GitHub's pull requests (REST, 2022-11-28), also of an own GitHub Enterprise Server."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from trimtab.adapters.delivery.requests import Api, Found, Refusal
from trimtab.errors import DeliveryFailed


class GitHub:
    """Requests of one repository into `branch`."""

    def __init__(
        self,
        repository: str,
        branch: str,
        token: Callable[[], str],
        url: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`url`: of the API; empty is the one that belongs to the repository's host."""
        parts = urlsplit(repository)
        self._owner, self._name = parts.path.strip("/").removesuffix(".git").split("/")
        host = parts.hostname or ""
        self._branch, self._token = branch, token
        api = "https://api.github.com" if host == "github.com" else f"https://{host}/api/v3"
        self._api = Api(url or api, self._headers, clock=clock)
        self._path = f"/repos/{quote(self._owner)}/{quote(self._name)}"

    def look(self, head: str) -> Found | None:
        """The newest pull request of the branch."""
        query = urlencode(
            {
                "head": f"{self._owner}:{head}",
                "base": self._branch,
                "state": "all",
                "sort": "created",
                "direction": "desc",
            }
        )
        found = self._api.list(f"{self._path}/pulls?{query}")
        return self._with_who(found[0]) if found else None

    def open(self, head: str, title: str, body: str) -> Found:
        """Open it; 422 may say that another writer did."""
        wanted = {"title": title, "head": head, "base": self._branch, "body": body}
        try:
            return _found(self._api.call("POST", f"{self._path}/pulls", wanted))
        except Refusal as error:
            known = self.look(head) if error.status == 422 else None
            if known is None:
                raise
            return known

    def close(self, found: Found, comment: str) -> None:
        """Comment and close."""
        now = self._api.call("GET", f"{self._path}/pulls/{found.number}")
        if now.get("state") != "open":
            return
        self._api.call("POST", f"{self._path}/issues/{found.number}/comments", {"body": comment})
        self._api.call("PATCH", f"{self._path}/pulls/{found.number}", {"state": "closed"})

    def _with_who(self, data: Mapping[str, Any]) -> Found:
        """Who merged it is told of a single pull request only; who closed it, of the issue behind it."""
        found = _found(data)
        if found.state == "merged":
            merged = self._api.call("GET", f"{self._path}/pulls/{found.number}").get("merged_by") or {}
            return Found(found.number, found.state, found.url, str(merged.get("login") or ""))
        if found.state == "closed":
            closed = self._api.call("GET", f"{self._path}/issues/{found.number}").get("closed_by") or {}
            return Found(found.number, found.state, found.url, str(closed.get("login") or ""))
        return found

    def _headers(self) -> Mapping[str, str]:
        return {
            "accept": "application/vnd.github+json",
            "x-github-api-version": "2022-11-28",
            "authorization": f"Bearer {self._token()}",
        }


def _found(data: Mapping[str, Any]) -> Found:
    try:
        state = "merged" if data.get("merged_at") else str(data["state"])
        number, url = int(data["number"]), str(data["html_url"])
    except (KeyError, TypeError, ValueError) as error:
        raise DeliveryFailed(f"GitHub's answer is none about a pull request: {error!r}") from error
    return Found(number, "merged" if state == "merged" else "open" if state == "open" else "closed", url)
