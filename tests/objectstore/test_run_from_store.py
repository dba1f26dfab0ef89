"""`trimtab run` of a loop whose rows are in an S3-compatible store and whose ledger is in a real PostgreSQL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from s3_process import KEYS, S3Server

from trimtab.testing.bundles import rows
from trimtab.testing.postgres_server import BINARIES, MISSING, PASSWORD, PostgresServer

pytestmark = [pytest.mark.local, pytest.mark.slow]


def _trimtab(folder: Path, ledger: str, *arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "trimtab.cli.main", *arguments],
        cwd=folder,
        env={**os.environ, "TRIMTAB_LEDGER_URL": ledger},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert "Traceback" not in said
    for secret in (KEYS["AWS_SECRET_ACCESS_KEY"], PASSWORD):
        assert secret not in said
    return done.stdout if code == 0 else said


@pytest.mark.skipif(BINARIES is None, reason=MISSING)
def test_a_first_version_is_trained_from_the_store_and_remembered_in_the_database(
    s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    table = tmp_path / "rodents.csv"
    rows(600).drop(columns=["_id", "_time"]).to_csv(table, index=False)
    server = PostgresServer()
    try:
        ledger = server.url()
        _trimtab(tmp_path, ledger, "init", table.name, "--label", "genus")
        document = tmp_path / "loop.yaml"
        text = document.read_text()
        assert "path: rodents.csv" in text
        document.write_text(text.replace("path: rodents.csv", f"path: s3://{bucket}/in/*.csv"))
        half = table.read_text().splitlines(keepends=True)
        s3.put(f"{bucket}/in/1.csv", "".join(half[:300]).encode())
        s3.put(f"{bucket}/in/2.csv", "".join([half[0], *half[300:]]).encode())
        table.unlink()
        _trimtab(tmp_path, ledger, "run")
        assert not list(tmp_path.rglob("ledger.db"))
        found = json.loads(_trimtab(tmp_path, ledger, "pipeline", "list", "--json"))
        assert "SUCCEEDED" in json.dumps(found)
        server.stop()
        said = _trimtab(tmp_path, ledger, "status", code=1)
        assert "does not answer" in said
        server.start()
        _trimtab(tmp_path, ledger, "status")
    finally:
        server.close()
