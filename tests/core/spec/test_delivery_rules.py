"""Where a release is written to: addresses, branches and folders that git could take for something else are refused."""

from __future__ import annotations

from typing import Any

import pytest

from trimtab.spec.delivery_rules import delivery
from trimtab.spec.release import Release


def _found(delivery_: str = "gitops", **gitops: Any) -> list[str]:
    section = {"repository": "https://git.example/acme/releases.git", **gitops}
    policy = Release.model_validate({"delivery": delivery_, "gitops": section})
    return [f"{one.loc[-1]}: {one.message}" for one in delivery(policy)]


@pytest.mark.parametrize(
    "repository",
    [
        "https://git.example/acme/releases.git",
        "http://127.0.0.1:3000/r",
        "ssh://git@git.example:2222/acme/releases",
        "git://git.example/releases",
        "file:///srv/git/releases.git",
    ],
)
def test_addresses_of_repositories_are_taken(repository: str) -> None:
    assert _found(repository=repository, branch="env/prod-1", path="releases/orders") == []


@pytest.mark.parametrize(
    "repository",
    [
        "",
        "--upload-pack=touch /tmp/x",
        "ext::sh -c touch% /tmp/x",
        "git@git.example:acme/releases.git",
        "../releases",
        "/srv/git/releases",
        "ssh://-oProxyCommand=x/y",
        "https://git.example/a b",
        "https://git.example/a\n[core]",
        "https://git.example/a?x=1",
        "file://host",
        "https://",
        "https://[::1/x",
    ],
)
def test_other_addresses_are_not(repository: str) -> None:
    assert _found(repository=repository) == ["repository: not the address of a repository"]


def test_a_password_in_the_address_is_refused_and_not_shown() -> None:
    for url in ("https://me:hunter2@git.example/a/b", "https://hunter2@git.example/a/b", "ssh://git:hunter2@x/a/b"):
        policy = Release.model_validate({"delivery": "gitops", "gitops": {"repository": url}})
        (found,) = delivery(policy)
        assert "name or password" in found.message
        assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    "name",
    [
        "-f", "--all", "..", "a/../b", "/abs", "a//b", ".git", "a/.git/hooks", "a.lock", "x/y.lock/z", "a b", "a\nb",
        "HEAD", "@", "a~1", "a:b", "refs/heads/\x00", "a.", "é",
    ],
)  # fmt: skip
def test_hostile_names_are_refused(name: str) -> None:
    assert _found(branch=name) == ["branch: not the name of a branch"]
    assert _found(path=name) == ["path: not a folder in a repository"]


def test_the_key_and_the_section_go_together() -> None:
    assert _found("direct") == ["gitops: a repository that nothing is written to"]
    (alone,) = delivery(Release.model_validate({"delivery": "gitops"}))
    assert "no repository is named" in alone.message


def test_a_host_with_pull_requests_needs_an_owner_and_a_name() -> None:
    assert _found(provider="github", repository="https://github.com/acme/releases") == []
    assert _found(provider="github", repository="https://github.com/acme")
    assert _found(provider="github", repository="https://github.com/a/b/c")
    assert _found(provider="gitlab", repository="https://gitlab.example/a/b/c.git") == []
