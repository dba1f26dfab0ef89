"""Reading and writing objects of an S3-compatible store, by `s3://bucket/key` URIs.

Who may read is never in a URI: credentials, region and endpoint come from the usual places of the AWS tools
(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL, ~/.aws, a pod's web identity).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab.errors import Refused, StoreFailed

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, S3FileSystem

S3 = "s3://"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_CONNECT_SECONDS, _REQUEST_SECONDS, _TRIES = 3.0, 30.0, 3
_CODE = re.compile(r"AWS Error ([A-Z_]+)|(Bucket '[^']*' not found)")


def is_remote(path: str) -> bool:
    """Whether this names objects, not files."""
    return path.startswith(S3)


@dataclass(frozen=True)
class Place:
    """A bucket and a key (or the start of keys) in it."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{S3}{self.bucket}/{self.key}"

    @property
    def path(self) -> str:
        """As Arrow names it."""
        return f"{self.bucket}/{self.key}" if self.key else self.bucket


def place(uri: str) -> Place:
    """The URI's parts; raises Refused for what is none, and for one that holds a secret, which it does not repeat."""
    bucket, _, key = uri.removeprefix(S3).partition("/")
    if "@" in bucket:
        raise Refused(
            "an s3:// URI with credentials in it is not taken: give them as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if not is_remote(uri) or not _BUCKET.fullmatch(bucket):
        raise Refused(f"{uri[:200]!r} names no bucket; expected s3://bucket/key with a bucket of 3 to 63 characters")
    parts = key.rstrip("/").split("/")
    if any(part in {"", ".", ".."} for part in parts) and parts != [""]:
        raise Refused(f"{uri[:200]!r}: a key with an empty part, `.` or `..` cannot be told from another one")
    return Place(bucket, key.rstrip("/"))


class Objects:
    """The store that the environment names. Safe for several threads."""

    def __init__(self) -> None:
        self._made: S3FileSystem | None = None

    @property
    def _store(self) -> S3FileSystem:
        if self._made is None:
            from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

            # Arrow itself reads the endpoint from the environment only when it is given a whole URI
            endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
            self._made = S3FileSystem(
                endpoint_override=endpoint,
                region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
                allow_delayed_open=True,  # one request for a small object, instead of a multipart upload
                connect_timeout=_CONNECT_SECONDS,
                request_timeout=_REQUEST_SECONDS,
                retry_strategy=AwsStandardS3RetryStrategy(max_attempts=_TRIES),
            )
        return self._made

    def size(self, where: Place) -> int | None:
        """Bytes of the object, None if there is none."""
        with _told(where, "looked for"):
            found = self._store.get_file_info(where.path)
        return int(found.size) if found.is_file else None

    def read(self, where: Place) -> bytes:
        """The whole object."""
        with _told(where, "read"), self._store.open_input_stream(where.path) as stream:
            return bytes(stream.read())

    def write(self, where: Place, content: bytes) -> None:
        """Store the object; it is there whole once this returns, and not at all, or as before, if it raises."""
        with _told(where, "written"):
            with self._store.open_output_stream(where.path) as stream:
                stream.write(content)
            found = self._store.get_file_info(where.path)
        if found.size != len(content):
            raise StoreFailed(f"{where} could not be written: {found.size} of {len(content)} bytes arrived. Try again")

    def under(self, where: Place) -> list[tuple[Place, int]]:
        """Every object whose key starts with `where` and a slash, with its size; sorted by key."""
        from pyarrow.fs import FileSelector

        with _told(where, "listed"):
            found: list[FileInfo] = self._store.get_file_info(
                FileSelector(where.path, allow_not_found=True, recursive=True)
            )
            if not found and not self._store.get_file_info(where.bucket).type:
                raise FileNotFoundError(where.bucket)
        objects = [(Place(where.bucket, one.path.partition("/")[2]), int(one.size)) for one in found if one.is_file]
        return sorted(objects, key=lambda one: one[0].key)


@contextmanager
def _told(where: Place, what: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise StoreFailed(f"{where} could not be {what}: there is no such object or bucket. Mend the name") from None
    except OSError as error:
        said = str(error)
        found = _CODE.search(said)
        why = next(part for part in found.groups() if part) if found else said.splitlines()[0][:200]
        raise StoreFailed(f"{where} could not be {what} ({why}): {_advice(why)}") from error


def _advice(why: str) -> str:
    if why == "NETWORK_CONNECTION":
        return "check that the store runs and that AWS_ENDPOINT_URL names it; it is tried again"
    if why in {"ACCESS_DENIED", "SIGNATURE_DOES_NOT_MATCH", "INVALID_ACCESS_KEY_ID", "INVALID_SIGNATURE"}:
        return "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what they may do in this bucket"
    if "not found" in why or why == "NO_SUCH_BUCKET":
        return "make the bucket, or mend its name"
    return "check the store, AWS_REGION, AWS_ENDPOINT_URL and the credentials"


def store_errors() -> tuple[type[Exception], ...]:
    """What boto3, by which MLflow moves artifacts, raises besides MLflow's own errors; also when it is missing."""
    try:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError
    except ModuleNotFoundError:
        return (ModuleNotFoundError, OSError)
    return (Boto3Error, BotoCoreError, ClientError, OSError)
