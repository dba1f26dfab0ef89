"""What shall serve as the values of chart model-release: one file, the same bytes for the same wish.

A version has one role in the chart. The candidate is the shadow while it gets copies and the challenger afterwards; a
version that is kept warm takes the role that is free, with no requests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

import yaml

from trimtab.ports.delivery import Served, Wanted

Json = dict[str, Any]
FILE = "release.yaml"
_MOST_FIELDS = 1000  # compared; YAML can say a billion in a line
_NONE = {"version": "", "uri": "", "digest": ""}


def text(loop: str, wanted: Wanted, uri: Callable[[Served], str]) -> str:
    """The file. `uri`: where pods find a bundle."""
    return _head(loop) + yaml.safe_dump(values(wanted, uri), sort_keys=False, allow_unicode=True)


def values(wanted: Wanted, uri: Callable[[Served], str]) -> Json:
    """The chart's values; every key is always there, so that none of another file shows through."""
    candidate, copied = wanted.challenger, wanted.mirror_percent > 0
    roles = {"shadow": candidate, "challenger": None} if copied else {"challenger": candidate, "shadow": None}
    if wanted.previous is not None:
        roles["challenger" if roles["challenger"] is None else "shadow"] = wanted.previous
    return {
        "champion": _role(wanted.champion, uri),
        "challenger": _role(roles["challenger"], uri),
        "shadow": _role(roles["shadow"], uri),
        "trafficPercent": wanted.candidate_percent,
        "shadowPercent": wanted.mirror_percent,
    }


def name_of(content: str | None) -> str:
    """What `known` calls a content; "" for none."""
    return "" if content is None else "sha256:" + hashlib.sha256(content.encode()).hexdigest()


def champion_of(loop: str, content: str | None) -> tuple[str, str]:
    """The champion and its digest in a file that was written for this loop; ("", "") in any other."""
    if content is None or not content.startswith(_head(loop)):
        return "", ""
    champion = _read(content).get("champion")
    found = champion if isinstance(champion, Mapping) else {}
    return str(found.get("version") or ""), str(found.get("digest") or "")


def differences(before: str | None, after: str | None) -> list[str]:
    """Which fields are others, as `trafficPercent: 5 became 50`."""
    if after is None:
        return ["the file is gone"]
    if before is None:
        return ["the file is there"]
    old, new = dict(islice(_leaves(_read(before)), _MOST_FIELDS)), dict(islice(_leaves(_read(after)), _MOST_FIELDS))
    keys = [*old, *(key for key in new if key not in old)]
    found = [
        f"{key}: {_shown(old, key)} became {_shown(new, key)}"
        for key in keys
        if old.get(key, _NONE) != new.get(key, _NONE)
    ]
    return found or ["comments or layout only"]


def _head(loop: str) -> str:
    return (
        f"# The release of loop {loop}, written by trimtab. It stops at an edit here by hand: put yours into\n"
        "# values.yaml beside this file, and ask for versions with `trimtab promote` and `trimtab rollback`.\n"
    )


def _role(served: Served | None, uri: Callable[[Served], str]) -> Json:
    if served is None:
        return dict(_NONE)
    return {"version": served.version, "uri": uri(served), "digest": served.digest}


def _read(content: str) -> Json:
    try:
        found = yaml.safe_load(content)
    except (yaml.YAMLError, RecursionError):
        return {"(no YAML)": content[:80]}
    return found if isinstance(found, dict) else {"(no mapping)": content[:80]}


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and path.count(".") < 8:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _shown(found: Mapping[str, Any], key: str) -> str:
    return str(found[key])[:60] if key in found and found[key] != "" else "nothing"
