"""GitLab for tests: merge requests as docs.gitlab.com/api/merge_requests documents them, API v4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab.testing.forges import Answered, Forge, Json, Request


class GitLabHost(Forge):
    """Answers as gitlab.com."""

    _root = "/api/v4"

    def _check_token(self, headers: Any) -> None:
        if headers.get("private-token") != self.token:
            raise Answered(401, {"message": "401 Unauthorized"})

    def _answer(self, method: str, path: str, query: Mapping[str, str], data: Json) -> tuple[int, Any]:
        missing = {"message": "404 Not found"}
        if not path.startswith("/projects/acme/releases/merge_requests"):
            raise Answered(404, {"message": "404 Project Not Found"})
        match method, path.removeprefix("/projects/acme/releases/merge_requests").strip("/").split("/"):
            case "GET", [""]:
                names = {"source_branch": "head", "target_branch": "base"}
                wanted = {names[name]: value for name, value in query.items() if name in names}
                found = [one for one in self.requests if all(getattr(one, k) == v for k, v in wanted.items())]
                return 200, [self._shown(one) for one in reversed(found)]
            case "POST", [""]:
                return 201, self._shown(self._create(data))
            case "GET", [number]:
                return 200, self._shown(self._numbered(number, missing))
            case "PUT", [number]:
                one = self._numbered(number, missing)
                if data.get("state_event") == "close" and one.state == "open":
                    one.state, one.who = "closed", "the token's owner"
                return 200, self._shown(one)
            case "PUT", [number, "merge"]:
                one = self._numbered(number, missing)
                if one.state != "open":
                    raise Answered(405, {"message": "405 Method Not Allowed"})
                return 200, self._shown(self.merge("api"))
            case "POST", [number, "notes"]:
                self._numbered(number, missing).comments.append(str(data["body"]))
                return 201, {"id": 1, "body": data["body"]}
        raise Answered(404, missing)

    def _create(self, data: Json) -> Request:
        head, base = str(data["source_branch"]), str(data["target_branch"])
        opened = [one for one in self.requests if (one.head, one.base, one.state) == (head, base, "open")]
        if opened:
            said = f"Another open merge request already exists for this source branch: !{opened[0].number}"
            raise Answered(409, {"message": [said]})
        if head not in self.place.branches():
            raise Answered(400, {"message": {"source_branch": ["does not exist"]}})
        return self._add(head, base, str(data["title"]), str(data.get("description") or ""))

    @staticmethod
    def _shown(one: Request) -> Json:
        user = {"username": one.who} if one.who else None
        return {
            "iid": one.number,
            "state": "opened" if one.state == "open" else one.state,
            "web_url": f"https://gitlab.example/acme/releases/-/merge_requests/{one.number}",
            "source_branch": one.head,
            "target_branch": one.base,
            "title": one.title,
            "description": one.body,
            "merge_user": user if one.state == "merged" else None,
            "closed_by": user if one.state == "closed" else None,
        }
