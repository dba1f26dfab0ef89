"""Requests for the loop `rodents`, and a moment later the true label of each: python3 traffic.py URL [SECONDS].

The rows are captures of 2001 and 2002, which the model did not learn from. Needs nothing but Python.
"""

import csv
import gzip
import json
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

DATA = Path(__file__).parents[1] / "desert-rodents/captures.csv.gz"
PER_SECOND, TELL_EVERY_SECONDS = 20, 5.0


def rows() -> list[tuple[dict[str, object], str]]:
    """(measurements, genus) of every capture since 2001."""
    found = []
    with gzip.open(DATA, "rt", newline="") as text:
        for row in csv.DictReader(text):
            if int(row["year"]) >= 2001:
                size = {key: float(row[key]) for key in ("weight", "hindfoot_length") if row[key] not in ("", "NA")}
                words = {key: row[key] for key in ("sex", "plot_type") if row[key] not in ("", "NA")}
                found.append(({**size, **words}, row["genus"]))
    return found


def post(url: str, body: object, headers: dict[str, str]) -> tuple[dict[str, object], dict[str, str]]:
    """The JSON answer and its headers; raises OSError (an answer that is an error is one)."""
    headers = {"content-type": "application/json", **headers}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - the user's own URL
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return json.loads(answer.read() or b"{}"), {key.lower(): value for key, value in answer.headers.items()}


def tell_label(url: str, id_: str, genus: str) -> None:
    """A label may be sent again: the first one that arrives counts."""
    for pause_seconds in (1, 3, 10, 0):
        try:
            post(f"{url}/v1/feedback", {"id": id_, "label": genus}, {})
        except OSError:
            if not pause_seconds:
                raise
            time.sleep(pause_seconds)
        else:
            return


def main(url: str, seconds: float) -> None:
    """Send until the time is up, telling now and then which version answered how well."""
    captures, began = rows(), time.time()
    served: Counter[str] = Counter()
    right: Counter[str] = Counter()
    failed, number, told = 0, 0, began
    while time.time() - began < seconds:
        features, genus = captures[number % len(captures)]
        id_ = f"{began:.0f}-{number}"
        number += 1
        try:
            answer, headers = post(f"{url}/v1/models/rodents:predict", {"instances": [features]}, {"x-request-id": id_})
            version = headers.get("x-served-by", "?")
            served[version] += 1
            right[version] += answer["predictions"] == [genus]
            tell_label(url, id_, genus)
        except (OSError, ValueError) as error:
            failed += 1
            print(f"failed: {error}", file=sys.stderr, flush=True)
            time.sleep(1)
        if time.time() - told > TELL_EVERY_SECONDS:
            shares = [f"version {key}: {served[key]} answers, {right[key] / served[key]:.0%} right" for key in served]
            print(f"{'; '.join(sorted(shares))}; {failed} failed", flush=True)
            served.clear()
            right.clear()
            told = time.time()
        time.sleep(1 / PER_SECOND)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python3 traffic.py URL [SECONDS]")
    main(sys.argv[1].rstrip("/"), float(sys.argv[2]) if len(sys.argv) > 2 else 3600)
