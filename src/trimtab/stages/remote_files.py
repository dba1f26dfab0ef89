"""Files of a source in an S3-compatible store: found by name or glob, and brought into a folder of this machine."""

from __future__ import annotations

import difflib
import re
import shutil
import tempfile
import weakref
from pathlib import Path

from trimtab.errors import DataRefused, Refused, StoreFailed
from trimtab.stages.objects import Objects, Place, place

_WILD = re.compile(r"[*?\[]")


class Brought:
    """The files as they are here, in the order of their keys; they go when this is no longer held."""

    def __init__(self, uri: str, objects: Objects | None = None) -> None:
        """Raises DataRefused for a URI that names nothing, and TrimtabError while the store does not answer."""
        store = objects or Objects()
        try:
            found = _find(uri, store)
            folder = Path(tempfile.mkdtemp(prefix="trimtab-source-"))
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            self.paths = [_bring(where, folder / str(number), store) for number, where in enumerate(found)]
        except Refused as error:
            raise DataRefused(f"data.source.path: {error}") from None
        except StoreFailed as error:
            raise StoreFailed(f"data.source.path: {error}") from error


def _find(uri: str, store: Objects) -> list[Place]:
    start = _WILD.split(uri, maxsplit=1)[0]
    if start == uri:
        where = place(uri)
        if where.key and store.size(where) is not None:
            return [where]
        beside = [one for one, _ in store.under(Place(where.bucket, where.key.rpartition("/")[0]))]
        if any(one.key.startswith(f"{where.key}/") for one in beside) or not where.key:
            raise Refused(f"{uri!r} is a folder. Name its files by a glob, such as {uri.rstrip('/')}/*.csv")
        close = difflib.get_close_matches(where.key, [one.key for one in beside], n=1, cutoff=0.5)
        nearest = f" (nearest: {str(Place(where.bucket, close[0]))!r})" if close else ""
        raise Refused(f"no object {uri!r}{nearest}")
    under = place(start.rpartition("/")[0])
    wanted = re.compile(_expression(uri.removeprefix("s3://").partition("/")[2]), re.DOTALL)
    found = [one for one, _ in store.under(under) if wanted.fullmatch(one.key)]
    if not found:
        raise Refused(f"no object matches {uri!r}. Look at what the bucket holds")
    return found


def _expression(pattern: str) -> str:
    """A glob as pathlib has it: `*` and `?` stop at a slash, `**/` is any number of folders."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[!?[^\]]+\])", pattern)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(
        meaning.get(part) or (_choice(part) if part.startswith("[") and part.endswith("]") else re.escape(part))
        for part in parts
    )


def _choice(part: str) -> str:
    inside = part[1:-1].replace("\\", "\\\\").replace("[", "\\[").replace("^", "\\^")
    return f"[^/{inside[1:]}]" if inside.startswith("!") else f"[{inside}]"


def _bring(where: Place, folder: Path, store: Objects) -> Path:
    """Under its own name, which messages show, in a folder of its own, as keys of several may end alike."""
    folder.mkdir()
    made = folder / where.key.rpartition("/")[2]
    made.write_bytes(store.read(where))
    return made
