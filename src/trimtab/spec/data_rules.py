"""What `data` and `features` must not say: of sources, event times, contracts, and of columns with two roles."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from datetime import datetime

from trimtab.spec.data import ColumnContract, Data, EventTime, Source
from trimtab.spec.document import LoopSpec
from trimtab.spec.explain import Finding
from trimtab.spec.problems import Loc, shown

_DATA: Loc = ("spec", "data")
_SECRET = re.compile(r"[?&;](password|passwd|pwd|token|secret)=[^&;]", re.IGNORECASE)
_BUCKET_WITH_SECRET = re.compile(r"s3://[^/]*@")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9_+.-]*://")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NOT_THEIRS = ("TRIMTAB_", "AWS_", "MLFLOW_")  # a document must not have their values sent anywhere
_NO_SOURCE_URL = Source().url


def data(data: Data) -> Iterator[Finding]:
    """Contradictions within `data`."""
    yield from _source(data.source, (*_DATA, "source"))
    yield from _time(data.time, (*_DATA, "time"))
    if data.split.by == "entity" and data.entity is None:
        at = (*_DATA, "split", "by")
        yield Finding(at, "a split by entity needs `data.entity`", "'entity'", "the entity's column")
    for name, column in data.contract.items():
        yield from _contract(column, (*_DATA, "contract", name))


def crossed(low: float | None, high: float | None, loc: Loc) -> Iterator[Finding]:
    """A `min` above its `max`."""
    if low is not None and high is not None and low > high:
        yield Finding((*loc, "min"), f"min {low:g} is above max {high:g}", expected="min at most max")


def _source(source: Source, loc: Loc) -> Iterator[Finding]:
    if (source.path is None) == (source.query is None):
        said = "both `path` and `query` are given" if source.path is not None else "neither `path` nor `query` is given"
        yield Finding(loc, said, expected="exactly one of them")
    elif source.query is None:
        if source.url != _NO_SOURCE_URL or source.url_env is not None:
            key = "urlEnv" if source.url_env is not None else "url"
            yield Finding((*loc, key), f"`{key}` without `query`", expected="`query` instead of `path`", of_key=True)
    elif source.format is not None:
        yield Finding((*loc, "format"), "`format` with `query`", expected="it only with `path`", of_key=True)
    if source.path is not None and ("\x00" in source.path or not source.path.strip()):
        yield Finding((*loc, "path"), "not a path", shown(source.path))
    elif source.path is not None and _BUCKET_WITH_SECRET.match(source.path):
        yield Finding(
            (*loc, "path"),
            "a secret stands in the document",
            expected="s3://bucket/key, and AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment",
        )
    if source.query is not None and not source.query.strip():
        yield Finding((*loc, "query"), "an empty query", shown(source.query), "SQL")
    yield from _url(source, loc)
    if not _is_encoding(source.encoding):
        yield Finding((*loc, "encoding"), "no encoding has this name", shown(source.encoding), "such as utf-8, latin-1")
    if source.delimiter in '"\r\n\x00':
        yield Finding((*loc, "delimiter"), "cannot separate columns", shown(source.delimiter), "such as `,` or `;`")


def _url(source: Source, loc: Loc) -> Iterator[Finding]:
    user, at, _ = source.url.partition("://")[2].partition("@")
    if (at and user.partition(":")[2] and not user.startswith("/")) or _SECRET.search(source.url):
        yield Finding(
            (*loc, "url"),
            "a password stands in the document",
            expected="the URL in an environment variable that `urlEnv` names",
        )
    elif not _SCHEME.match(source.url):
        yield Finding((*loc, "url"), "not a URL", shown(source.url), "one such as postgresql://user@host/database")
    if source.url_env is not None and source.url != _NO_SOURCE_URL:
        yield Finding((*loc, "url"), "both `url` and `urlEnv` are given", expected="one of them", of_key=True)
    if source.url_env is not None and not _VARIABLE.fullmatch(source.url_env):
        yield Finding((*loc, "urlEnv"), "no environment variable has this name", shown(source.url_env))
    elif source.url_env is not None and source.url_env.startswith(_NOT_THEIRS):
        expected = f"a variable of your own, none of {', '.join(f'{one}*' for one in _NOT_THEIRS)}"
        yield Finding((*loc, "urlEnv"), "a variable of trimtab and its stores", shown(source.url_env), expected)


def _is_encoding(name: str) -> bool:
    try:
        "".encode(name)  # refuses also codecs that are not of text, such as base64
        return bool(codecs.lookup(name).name)
    except (LookupError, ValueError):
        return False


def _is_time_format(text: str) -> bool:
    """Whether strptime understands it; that a text does not fit it is another matter."""
    try:
        moment = datetime(2024, 3, 31, 18, 5, 9).strftime(text)
        datetime.strptime(moment, text)
    except ValueError as error:
        return "does not match format" in str(error) or "unconverted data" in str(error)
    except re.error:  # the same part of a time twice
        return False
    return "%" in text


def _time(time: EventTime, loc: Loc) -> Iterator[Finding]:
    if (time.column is None) == (time.year is None):
        said = (
            "both `column` and `year` are given" if time.column is not None else "neither `column` nor `year` is given"
        )
        yield Finding(loc, said, expected="exactly one of them")
    if time.day is not None and time.month is None:
        yield Finding((*loc, "day"), "`day` without `month`", expected="`month` too", of_key=True)
    elif time.month is not None and time.year is None:
        yield Finding((*loc, "month"), "`month` without `year`", expected="`year` too", of_key=True)
    if time.format is not None and time.column is None:
        yield Finding((*loc, "format"), "`format` without `column`", expected="it only with `column`", of_key=True)
    elif time.format is not None and time.format not in ("unix", "unix_ms") and not _is_time_format(time.format):
        yield Finding((*loc, "format"), "no format of times", shown(time.format), "such as %d.%m.%Y %H:%M, or unix")
    yield from _twice([((*loc, part), getattr(time, part)) for part in ("year", "month", "day")])


def _contract(column: ColumnContract, loc: Loc) -> Iterator[Finding]:
    yield from crossed(column.min, column.max, loc)
    if column.domain and column.type in ("number", "integer", "boolean"):
        said = f"a domain is for text, the type is {column.type}"
        yield Finding((*loc, "domain"), said, expected="`min` and `max` for numbers")
    for key, bound in (("min", column.min), ("max", column.max)):
        if bound is not None and (column.domain or column.type in ("string", "boolean")):
            said = f"`{key}` is for numbers, this column is {column.type or 'text'}"
            yield Finding((*loc, key), said, expected="`domain` for text", of_key=True)


def columns(spec: LoopSpec) -> Iterator[Finding]:
    """A column cannot be what is predicted and something else too, nor be asked for and left out."""
    label = spec.data.label.column
    asked = list(_asked(spec))
    for at, name in [*_named(spec.data), *asked]:
        if name == label:
            yield Finding(at, "this column is the label", shown(name), "another column")
        elif name is not None and not name.strip():
            yield Finding(at, "no column has this name", shown(name), "a column of the source")
    for at, name in asked:
        if name in spec.data.ignore:
            yield Finding(at, "`data.ignore` leaves this column out", shown(name), "it in one of the two")
        elif name == spec.data.id:
            yield Finding(at, "`data.id` names each row anew: nothing can be learnt from it", shown(name))
    yield from _twice([((*_FEATURES, "include", index), name) for index, name in enumerate(spec.features.include)])
    for index, cross in enumerate(spec.features.crosses):
        at = (*_FEATURES, "crosses", index, "columns")
        yield from _twice([((*at, part), name) for part, name in enumerate(cross.columns)])
    yield from _twice([((*_FEATURES, "timeParts", index), name) for index, name in enumerate(spec.features.time_parts)])


_FEATURES: Loc = ("spec", "features")


def _named(data: Data) -> Iterator[tuple[Loc, str | None]]:
    yield (*_DATA, "id"), data.id
    yield (*_DATA, "entity"), data.entity
    for part in ("column", "year", "month", "day"):
        yield (*_DATA, "time", part), getattr(data.time, part)
    for index, name in enumerate(data.ignore):
        yield (*_DATA, "ignore", index), name


def _asked(spec: LoopSpec) -> Iterator[tuple[Loc, str]]:
    """The columns that `features` asks for."""
    for index, name in enumerate(spec.features.include):
        yield (*_FEATURES, "include", index), name
    for index, cross in enumerate(spec.features.crosses):
        for part, name in enumerate(cross.columns):
            yield (*_FEATURES, "crosses", index, "columns", part), name


def _twice(named: list[tuple[Loc, str | None]]) -> Iterator[Finding]:
    seen: set[str] = set()
    for at, name in named:
        if name is not None and name in seen:
            yield Finding(at, "named twice", shown(name), "it once")
        seen.add(name or "")
