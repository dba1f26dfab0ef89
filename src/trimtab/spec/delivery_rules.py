"""What a repository's address, branch and folder must be: they become arguments of git and paths in a repository."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from trimtab.spec.explain import Finding
from trimtab.spec.problems import Loc, shown
from trimtab.spec.release import GitOps, Release

SCHEMES = ("https", "http", "ssh", "git", "file")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_LOC: Loc = ("spec", "release", "gitops")


def delivery(policy: Release) -> Iterator[Finding]:
    """What contradicts in `delivery` and `gitops`."""
    if policy.delivery == "gitops" and policy.gitops is None:
        yield Finding(_LOC, "`delivery` is gitops, but no repository is named", expected="`repository`", missing=True)
    if policy.gitops is None:
        return
    if policy.delivery == "direct":
        yield Finding(_LOC, "a repository that nothing is written to", expected="`delivery: gitops`", of_key=True)
    yield from _repository(policy.gitops)
    if not plain(policy.gitops.branch):
        expected = "letters, digits, dots, dashes and slashes, such as main or env/production"
        yield Finding((*_LOC, "branch"), "not the name of a branch", shown(policy.gitops.branch), expected)
    if policy.gitops.path and not plain(policy.gitops.path):
        expected = "a folder inside the repository, such as releases/orders"
        yield Finding((*_LOC, "path"), "not a folder in a repository", shown(policy.gitops.path), expected)


def plain(name: str) -> bool:
    """Whether git takes the name for a branch and for a folder alike: nothing hidden, no way up, no option."""
    parts = name.split("/")
    odd = any(part.endswith((".lock", ".")) or ".." in part for part in parts)
    return bool(_PLAIN.fullmatch(name)) and not odd and name != "HEAD"


def _repository(gitops: GitOps) -> Iterator[Finding]:
    loc: Loc = (*_LOC, "repository")
    expected = "a URL such as https://github.com/acme/releases.git"
    try:
        url = urlsplit(gitops.repository)
        host, named = url.hostname, url.username is not None
    except ValueError:
        host, named = None, False
        url = urlsplit("")
    # `ssh://git@host` is how ssh is told its user; anything else before an @ may be a password.
    if named and not (url.scheme == "ssh" and url.password is None):
        yield Finding(loc, "a URL with a user's name or password", "(not shown)", "`secret`: credentials by name only")
        return
    strange = re.search(r"[\s\x00-\x1f\x7f]", gitops.repository) or (host or "").startswith("-")
    somewhere = url.path.startswith("/") and not host if url.scheme == "file" else bool(host)
    if url.scheme not in SCHEMES or strange or not somewhere or url.query or url.fragment:
        yield Finding(loc, "not the address of a repository", shown(gitops.repository), expected)
    elif gitops.provider != "plain":
        parts = [part for part in url.path.removesuffix(".git").split("/") if part]
        if len(parts) < 2 or (gitops.provider == "github" and len(parts) != 2):
            yield Finding(loc, f"not the address of a {gitops.provider} repository", shown(gitops.repository), expected)
