"""The database edge: migrations, transactions in one line, errors that say nothing of rows."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, select, text, update

from sidecar.errors import ConfigError, StoreUnavailable
from sidecar.vault.database import Database, Versions
from sidecar.vault.tables import METADATA, REVISION, state
from tests.support.postgres import Postgres


async def test_migrations_make_the_tables_that_the_code_expects(url: str) -> None:
    def shape(connection: Connection) -> dict:
        found = inspect(connection)
        tables = set(found.get_table_names()) - {"alembic_version"}
        return {
            table: (
                {(c["name"], c["nullable"]) for c in found.get_columns(table)},
                sorted(found.get_pk_constraint(table)["constrained_columns"]),
                {tuple(i["column_names"]) for i in found.get_indexes(table) if not i["unique"]},
            )
            for table in tables
        }

    database = await Database.open(url)
    async with database._transaction(writes=False) as connection:
        made = await connection.run_sync(shape)
    await database.close()
    assert made == {
        table.name: (
            {(c.name, c.nullable) for c in table.columns},
            sorted(c.name for c in table.primary_key),
            {tuple(c.name for c in i.columns) for i in table.indexes},
        )
        for table in METADATA.tables.values()
    }


def test_the_code_knows_the_newest_migration() -> None:
    versions = Path(sys.modules[Database.__module__].__file__ or "").parent / "migrations" / "versions"
    assert max(path.name[:4] for path in versions.glob("[0-9]*.py")) == REVISION


async def test_opening_again_keeps_what_is_there(url: str) -> None:
    first = await Database.open(url)
    async with first.write() as write:
        await write.changed(credentials=True)
    await first.close()
    second = await Database.open(url)
    assert await second.versions() == Versions(credentials=1, handles=0)
    await second.close()


async def test_replicas_that_start_together_migrate_once(url: str) -> None:
    databases = await asyncio.gather(*(Database.open(url) for _ in range(4)))
    assert [await database.versions() for database in databases] == [Versions(0, 0)] * 4
    await asyncio.gather(*(database.close() for database in databases))


async def test_a_newer_database_is_left_alone(url: str) -> None:
    database = await Database.open(url)
    async with database.write() as write:
        await write.run(text("UPDATE alembic_version SET version_num = '9999'"))
    await database.close()
    with pytest.raises(ConfigError, match="newer version"):
        await Database.open(url)


async def test_writers_stand_in_one_line(url: str) -> None:
    databases = await asyncio.gather(*(Database.open(url) for _ in range(3)))

    async def add(database: Database) -> None:
        async with database.write() as write:
            [row] = await write.rows(select(state.c.handles_version))
            await asyncio.sleep(0.001)
            await write.run(update(state).values(handles_version=row.handles_version + 1))

    await asyncio.gather(*(add(database) for database in databases for _ in range(10)))
    assert (await databases[0].versions()).handles == 30
    await asyncio.gather(*(database.close() for database in databases))


async def test_what_fails_is_rolled_back(url: str) -> None:
    database = await Database.open(url)

    async def half() -> None:
        async with database.write() as write:
            await write.changed(credentials=True)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await half()
    assert await database.versions() == Versions(0, 0)
    await database.close()


async def test_an_error_tells_no_parameters(url: str) -> None:
    database = await Database.open(url)
    with pytest.raises(StoreUnavailable) as refused:
        await database.rows(text("SELECT v FROM nowhere WHERE v = :v").bindparams(v="MARKED-SECRET"))
    assert "MARKED" not in repr(refused.value)
    assert "nowhere" not in str(refused.value)
    assert refused.value.__cause__ is None
    await database.close()


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    async def write() -> None:
        database = await Database.open(f"sqlite:///{tmp_path}/vault.db")
        async with database.write() as write:
            await write.changed(handles=True)
        modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in os.scandir(tmp_path)}
        await database.close()
        assert modes == dict.fromkeys(("vault.db", "vault.db-wal", "vault.db-shm"), 0o600)

    asyncio.run(write())


async def test_a_database_in_memory_serves_concurrent_use() -> None:
    database = await Database.open("sqlite://")

    async def add() -> None:
        async with database.write() as write:
            await asyncio.sleep(0)
            await write.changed(handles=True)

    await asyncio.gather(*(add() for _ in range(10)))
    assert await database.versions() == Versions(0, 10)
    await database.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        pytest.param("no url", "not a database URL", id="no url"),
        pytest.param("postgresql://h/d?sslmode=verify-full&sslrootcert=/nowhere", "sslrootcert", id="no such CA"),
        pytest.param("mysql://host/db", "sqlite:// or postgresql://", id="another database"),
        pytest.param("sqlite:////nowhere/at/all/vault.db", "cannot be opened", id="no folder"),
        pytest.param("sqlite:////proc/vault.db", "cannot be opened", id="not writable"),
    ],
)
async def test_a_wrong_url_is_one_line(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        await Database.open(url)


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vault.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreUnavailable):
        await Database.open(f"sqlite:///{tmp_path}/vault.db")


async def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    await (await Database.open(f"sqlite:///{path}")).close()
    os.truncate(path, 4096 * 3 + 100)
    with pytest.raises(StoreUnavailable):
        await Database.open(f"sqlite:///{path}")


async def test_a_server_that_is_gone_is_unavailable_and_comes_back(postgres_server: Postgres) -> None:
    url = await asyncio.to_thread(postgres_server.database)
    database = await Database.open(url, wait=2.0)
    await asyncio.to_thread(postgres_server.stop)
    try:
        with pytest.raises(StoreUnavailable):
            await database.versions()
        with pytest.raises(StoreUnavailable):
            await Database.open(url, wait=2.0)
    finally:
        await asyncio.to_thread(postgres_server.start)
    assert await database.versions() == Versions(0, 0)
    await database.close()


async def test_tls_is_demanded_when_the_url_says_so(postgres_server: Postgres) -> None:
    url = await asyncio.to_thread(postgres_server.database)
    for mode in ("require", "verify-ca", "verify-full"):
        with pytest.raises(StoreUnavailable):
            await Database.open(f"{url}?sslmode={mode}")
    await (await Database.open(f"{url}?sslmode=prefer")).close()


def test_importing_the_vault_does_not_import_sql() -> None:
    program = (
        "import sys, sidecar.vault.vault, sidecar.vault.providers, sidecar.vault.keys, sidecar.vault.errors;"
        "print([m for m in ('sqlalchemy', 'alembic', 'asyncpg', 'aiosqlite', 'openai') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
