"""The database edge: migrations, transactions in one line, errors that say nothing of rows."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sidecar.errors import ConfigError, StoreUnavailable
from sidecar.vault.database import Database, Versions
from sidecar.vault.migrations import NEWEST, REVISIONS, upgrade
from tests.support.postgres import Postgres

TABLES = {"credentials", "handles", "revoked_sessions", "audit", "state", "costs"}


async def tables(database: Database, url: str) -> set[str]:
    if url.startswith("sqlite"):
        rows = await database.rows("SELECT name FROM sqlite_master WHERE type = 'table'")
    else:
        rows = await database.rows("SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'")
    return {row["name"] for row in rows} - {"alembic_version"}


async def test_migrations_make_the_tables(url: str) -> None:
    database = await Database.open(url)
    assert await tables(database, url) == TABLES
    assert await database.rows("SELECT version_num FROM alembic_version") == [{"version_num": NEWEST}]
    await database.close()


async def test_each_revision_leads_to_the_newest(url: str) -> None:
    for revision in REVISIONS:
        database = await Database.open(url)
        async with database._driver.write() as connection:
            for table in (*TABLES, "alembic_version"):
                await connection.run(f"DROP TABLE {table}")
            await upgrade(connection, to=revision)
        await database.close()
        database = await Database.open(url)
        assert await tables(database, url) == TABLES
        assert await database.versions() == Versions(0, 0)
        await database.close()


async def test_a_step_that_fails_leaves_the_old_schema(url: str) -> None:
    database = await Database.open(url)
    async with database._driver.write() as connection:
        for table in (*TABLES, "alembic_version"):
            await connection.run(f"DROP TABLE {table}")
        await upgrade(connection, to="0001")
        await connection.run("CREATE TABLE state_0001 (id INTEGER)")  # in the way of the step
    await database.close()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await Database.open(url)
    if url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            assert connection.execute("SELECT head_seq FROM state").fetchall() == [(0,)]
            assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]


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
        await write.run("UPDATE alembic_version SET version_num = '9999'")
    await database.close()
    with pytest.raises(ConfigError, match="newer version"):
        await Database.open(url)


async def test_writers_stand_in_one_line(url: str) -> None:
    databases = await asyncio.gather(*(Database.open(url) for _ in range(3)))

    async def add(database: Database) -> None:
        async with database.write() as write:
            [row] = await write.rows("SELECT handles_version AS number FROM state")
            await asyncio.sleep(0.001)
            await write.run("UPDATE state SET handles_version = ?", row["number"] + 1)

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
        await database.rows("SELECT v FROM nowhere WHERE v = ?", "MARKED-SECRET")
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
        pytest.param("sqlite:///vault.db?mode=ro", "takes no options", id="options"),
        pytest.param("sqlite://vault.db", "sqlite:///sidecar.db", id="a slash too few"),
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


async def test_a_locked_database_is_waited_for_three_seconds_at_most(url: str) -> None:
    database, other = await Database.open(url), await Database.open(url, wait=30.0)
    async with other.write():
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            async with database.write():
                pass
        assert 1.0 < time.monotonic() - began < 3.3
        assert await database.versions() == Versions(0, 0)  # readers do not wait
    async with database.write() as write:
        await write.changed(handles=True)
    assert await database.versions() == Versions(0, 1)
    await asyncio.gather(database.close(), other.close())


async def test_a_write_that_is_given_up_is_undone_and_the_next_one_works(url: str) -> None:
    database = await Database.open(url, wait=0.5)

    async def slow() -> None:
        async with database.write() as write:
            await write.changed(credentials=True)
            await asyncio.sleep(30)

    with pytest.raises(StoreUnavailable):
        await slow()
    async with database.write() as write:
        await write.changed(handles=True)
    assert await database.versions() == Versions(0, 1)
    await database.close()


async def test_writers_of_other_processes_are_seen(url: str) -> None:
    mine, other = await Database.open(url), await Database.open(url)
    before = await mine.stamp()
    assert before == await mine.stamp()
    await mine.wait(0.01)  # begins to listen, where that is how
    waiting = asyncio.create_task(mine.wait(5.0))
    await asyncio.sleep(0.05)
    began = time.monotonic()
    async with other.write() as write:
        await write.changed(handles=True)
    if before is None:
        await waiting
        assert time.monotonic() - began < 1.0
    else:
        waiting.cancel()
        assert await mine.stamp() != before
    await asyncio.gather(mine.close(), other.close())


def test_importing_the_vault_does_not_import_sql() -> None:
    program = (
        "import sys, sidecar.vault.vault, sidecar.vault.providers, sidecar.vault.keys, sidecar.vault.errors;"
        "print([m for m in ('sqlite3', 'asyncpg', 'openai') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
