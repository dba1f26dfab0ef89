"""A loop whose ledger is named by its environment: commands read and write there, and no file is made."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_postgres_contracts import NOON

from trimtab import wiring
from trimtab.loop.home import Home
from trimtab.ports.turns import Turn
from trimtab.testing import bundles
from trimtab.testing.postgres_server import PostgresServer


def test_a_ledger_url_takes_the_place_of_the_file(
    server: PostgresServer, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIMTAB_LEDGER_URL", server.url(database))
    document, home = bundles.document(), Home(tmp_path / "home")
    wiring.lasting_ledger(document, home).turns.commit(Turn(1, NOON, {"champion": "3"}))
    found = wiring.ledger(document, Home(tmp_path / "elsewhere")).turns.latest()
    assert found == Turn(1, NOON, {"champion": "3"}, {}, [])
    assert not home.ledger.exists()
    monkeypatch.delenv("TRIMTAB_LEDGER_URL")
    assert wiring.ledger(document, home).turns.latest() is None
