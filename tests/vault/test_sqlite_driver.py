"""SQLite stores any type in any column: what another program wrote there is a fault that is named, never a crash."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from sidecar.errors import SidecarError, StoreUnavailable
from sidecar.secret import Secret
from sidecar.vault.audit import as_json
from sidecar.vault.sqlite_driver import NUMBERS, TIMES, YEAR_10000
from tests.support.vaults import ALICE, OPENAI_KEY, STRIPE_KEY, open_vault

TABLES = ("credentials", "handles", "audit", "state")
NOW = 1_800_000_000.0


def columns(path) -> dict[str, list[tuple[str, str]]]:
    """Return the columns of each table, each with its declared type."""
    with closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: [row[1:3] for row in connection.execute(f"PRAGMA table_info({name})")] for name in names}


@pytest.fixture
async def filled(tmp_path):
    """The path of a database that holds one of each."""
    path = tmp_path / "vault.db"
    async with open_vault(f"sqlite:///{path}") as vault:
        await vault.credentials.create(ALICE, "acme", "openai", Secret(OPENAI_KEY))
        await vault.handles.create(ALICE, "acme", "openai", expires_at=NOW + 600)
    return path


async def test_every_column_of_numbers_is_known(filled):
    declared = {name for table in columns(filled).values() for name, kind in table if kind in ("BIGINT", "INTEGER")} - {
        "id"
    }
    assert declared == NUMBERS | TIMES


async def used(path) -> list[str]:
    """Use all that the database holds; return the names of the refusals."""
    refused = []
    try:
        async with open_vault(f"sqlite:///{path}") as vault:
            for use in (
                lambda: vault.credentials.list("acme"),
                lambda: vault.credential("acme", "openai", NOW),
                lambda: vault.handles.list("acme"),
                vault.verify_audit,
                lambda: vault.audit.recent(None),
                lambda: vault.credentials.create(ALICE, "acme", "stripe", Secret(STRIPE_KEY)),
            ):
                try:
                    await use()
                except SidecarError as error:
                    refused.append(type(error).__name__)
            json.dumps([as_json(row) for row in await vault.audit.recent(None)])
    except SidecarError as error:
        refused.append(type(error).__name__)
    return refused


async def test_values_of_another_type_are_refused_or_found(filled):
    whole = filled.read_bytes()
    tried = 0
    for table, names in columns(filled).items():
        for name, kind in names if table in TABLES else ():
            for value in ("x", YEAR_10000) if kind in ("BIGINT", "INTEGER") else (b"\xff\x00x",):
                filled.write_bytes(whole)
                with closing(sqlite3.connect(filled)) as connection:
                    try:
                        connection.execute(f"UPDATE {table} SET {name} = ?", (value,))
                    except sqlite3.Error:
                        continue  # SQLite itself does not take it
                    connection.commit()
                await used(filled)
                tried += 1
    assert tried > 40


async def test_a_number_that_is_none_is_named(filled):
    with closing(sqlite3.connect(filled)) as connection:
        connection.execute("UPDATE audit SET at = 'yesterday'")
        connection.commit()
    with pytest.raises(StoreUnavailable, match="changed by another program: at is no number"):
        async with open_vault(f"sqlite:///{filled}"):
            pass


@pytest.mark.parametrize("written", ["CAST(actor || 'x' AS BLOB)", "actor || x'ff'"], ids=["blob", "no-utf-8"])
async def test_bytes_in_the_place_of_a_text_are_a_fault_of_the_log(filled, written):
    with closing(sqlite3.connect(filled)) as connection:
        connection.execute(f"UPDATE audit SET actor = {written} WHERE seq = 1")
        connection.commit()
    async with open_vault(f"sqlite:///{filled}") as vault:
        assert [str(fault) for fault in (await vault.verify_audit()).faults] == ["entry 1: changed"]
