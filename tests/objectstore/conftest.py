"""One S3 server for the session, a bucket and the environment that names it for each test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from s3_process import S3Server

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    made = S3Server(tmp_path_factory.mktemp("s3"))
    yield made
    made.close()


@pytest.fixture
def bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a new, empty one."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name, text in s3.environment.items():
        monkeypatch.setenv(name, text)
    made = f"bucket-{next(_numbers)}"
    s3.make_bucket(made)
    return made
