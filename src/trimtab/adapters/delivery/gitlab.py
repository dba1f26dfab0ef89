"""GitLab's merge requests (REST v4), of gitlab.com or an own GitLab."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from trimtab.adapters.delivery.requests import Api, Found, Refusal
from trimtab.errors import DeliveryFailed

_STATES = {"opened": "open", "locked": "open", "merged": "merged", "closed": "closed"}


class GitLab:
    """Requests of one project into `branch`."""

    def __init__(
        self,
        repository: str,
        branch: str,
        token: Callable[[], str],
        url: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`url`: of the API; empty is the one of the repository's host."""
        parts = urlsplit(repository)
        project = parts.path.strip("/").removesuffix(".git")
        self._branch, self._token = branch, token
        self._api = Api(url or f"https://{parts.hostname}/api/v4", self._headers, clock=clock)
        self._path = f"/projects/{quote(project, safe='')}/merge_requests"

    def look(self, head: str) -> Found | None:
        """The newest merge request of the branch."""
        query = urlencode(
            {
                "source_branch": head,
                "target_branch": self._branch,
                "state": "all",
                "order_by": "created_at",
                "sort": "desc",
            }
        )
        found = self._api.list(f"{self._path}?{query}")
        return _found(found[0]) if found else None

    def open(self, head: str, title: str, body: str) -> Found:
        """Open it; 409 says that another writer did."""
        wanted = {
            "source_branch": head,
            "target_branch": self._branch,
            "title": title,
            "description": body,
            "remove_source_branch": True,
        }
        try:
            return _found(self._api.call("POST", self._path, wanted))
        except Refusal as error:
            known = self.look(head) if error.status == 409 else None
            if known is None:
                raise
            return known

    def close(self, found: Found, comment: str) -> None:
        """Note and close."""
        now = _found(self._api.call("GET", f"{self._path}/{found.number}"))
        if now.state != "open":
            return
        self._api.call("POST", f"{self._path}/{found.number}/notes", {"body": comment})
        self._api.call("PUT", f"{self._path}/{found.number}", {"state_event": "close"})

    def _headers(self) -> Mapping[str, str]:
        return {"private-token": self._token()}


def _found(data: Mapping[str, Any]) -> Found:
    try:
        state = _STATES[str(data["state"])]
        number, url = int(data["iid"]), str(data["web_url"])
    except (KeyError, TypeError, ValueError) as error:
        raise DeliveryFailed(f"GitLab's answer is none about a merge request: {error!r}") from error
    # `merged_by` is deprecated for `merge_user`, which older versions do not tell.
    who = data.get("merge_user") or data.get("merged_by") if state == "merged" else data.get("closed_by")
    name = str((who or {}).get("username") or "")
    return Found(number, "merged" if state == "merged" else "open" if state == "open" else "closed", url, name)
