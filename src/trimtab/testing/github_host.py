"""GitHub for tests: pull requests and issues as docs.github.com/rest documents them, version 2022-11-28."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab.testing.forges import Answered, Forge, Json, Request

_MISSING = {"message": "Not Found", "documentation_url": "https://docs.github.com/rest", "status": "404"}


class GitHubHost(Forge):
    """Answers as api.github.com."""

    def _check_token(self, headers: Any) -> None:
        if headers.get("authorization") != f"Bearer {self.token}":
            raise Answered(401, {"message": "Bad credentials", "documentation_url": "https://docs.github.com/rest"})

    def _answer(self, method: str, path: str, query: Mapping[str, str], data: Json) -> tuple[int, Any]:
        match method, path.removeprefix("/repos/acme/releases/").split("/"):
            case "GET", ["pulls"]:
                owner, _, head = query.get("head", "").partition(":")
                states = {"open": ("open",), "closed": ("merged", "closed")}.get(query.get("state", "open"))
                found = [one for one in self.requests if states is None or one.state in states]
                found = [one for one in found if not head or (owner, one.head) == ("acme", head)]
                return 200, [self._listed(one) for one in reversed(found) if one.base == query.get("base", one.base)]
            case "POST", ["pulls"]:
                return 201, self._listed(self._create(data))
            case "GET", ["pulls", number]:
                one = self._numbered(number, _MISSING)
                merged = one.state == "merged"
                return 200, {**self._listed(one), "merged": merged, "merged_by": {"login": one.who} if merged else None}
            case "PATCH", ["pulls", number]:
                one = self._numbered(number, _MISSING)
                if data.get("state") == "closed" and one.state == "open":
                    one.state, one.who = "closed", "the token's owner"
                return 200, self._listed(one)
            case "PUT", ["pulls", number, "merge"]:
                return self._merged(self._numbered(number, _MISSING))
            case _, ["issues", number, *rest]:
                return self._issue(method, self._numbered(number, _MISSING), rest, data)
        raise Answered(404, _MISSING)

    @staticmethod
    def _issue(method: str, one: Request, rest: list[str], data: Json) -> tuple[int, Any]:
        """The issue behind a pull request."""
        if (method, rest) == ("POST", ["comments"]):
            one.comments.append(str(data["body"]))
            return 201, {"id": 1, "body": data["body"]}
        return 200, {"number": one.number, "closed_by": {"login": one.who} if one.who else None}

    def _merged(self, one: Request) -> tuple[int, Json]:
        if one.state != "open":
            raise Answered(405, {"message": "Pull Request is not mergeable", "status": "405"})
        self.merge("api")
        return 200, {"merged": True, "message": "Pull Request successfully merged", "sha": "0" * 40}

    def _create(self, data: Json) -> Request:
        head, base = str(data["head"]), str(data["base"])
        error: Json | None = None
        if head not in self.place.branches():
            error = {"resource": "PullRequest", "field": "head", "code": "invalid"}
        elif any((one.head, one.base, one.state) == (head, base, "open") for one in self.requests):
            said = f"A pull request already exists for acme:{head}."
            error = {"resource": "PullRequest", "code": "custom", "message": said}
        if error is not None:
            raise Answered(422, {"message": "Validation Failed", "errors": [error], "status": "422"})
        return self._add(head, base, str(data["title"]), str(data.get("body") or ""))

    @staticmethod
    def _listed(one: Request) -> Json:
        return {
            "number": one.number,
            "state": "open" if one.state == "open" else "closed",
            "merged_at": "2026-01-01T00:00:00Z" if one.state == "merged" else None,
            "html_url": f"https://github.com/acme/releases/pull/{one.number}",
            "head": {"ref": one.head},
            "base": {"ref": one.base},
            "title": one.title,
            "body": one.body,
        }
