"""The SQL database: SQLite in a file of its own, or PostgreSQL shared by replicas.

Foreign exceptions end here: what leaves is StoreUnavailable, or Conflict for a name that is taken,
without parameters, rows or addresses in the message. Every wait has a bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, event, select, text, update
from sqlalchemy.engine import URL, Row, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from sidecar.errors import ConfigError, StoreUnavailable
from sidecar.vault.errors import Conflict
from sidecar.vault.tables import REVISION, state

MIGRATIONS: Final = Path(__file__).parent / "migrations"
MIGRATION_LOCK: Final = 0x5343_5631  # any number, the same in every replica ("SCV1")
FILE_MODE: Final = 0o600
SQLITE_PRAGMAS: Final = (
    "PRAGMA synchronous=FULL",  # a commit that was acknowledged survives a power cut
    "PRAGMA busy_timeout=5000",
    "PRAGMA secure_delete=ON",  # what was deleted does not stay behind in free pages
    "PRAGMA trusted_schema=OFF",
)


@dataclass(frozen=True, slots=True)
class Versions:
    """Counters that grow with each change; another replica's change shows in them."""

    credentials: int
    handles: int


class Write:
    """One write transaction, alone: the state row is locked, `state` is what it held."""

    def __init__(self, connection: AsyncConnection, row: Row[Any]) -> None:
        self._connection = connection
        self.head_seq: int = row.head_seq  # audit.append
        self.head_hash: str = row.head_hash  # audit.append

    async def run(self, statement: Any) -> int:
        """Execute and return how many rows it touched."""
        return (await self._connection.execute(statement)).rowcount

    async def rows(self, statement: Any) -> list[Row[Any]]:
        return list((await self._connection.execute(statement)).all())

    async def changed(self, *, credentials: bool = False, handles: bool = False) -> None:
        """Tell the other replicas, with the commit, what they have to read again."""
        values: dict[str, Any] = {}
        if credentials:
            values["credentials_version"] = state.c.credentials_version + 1
        if handles:
            values["handles_version"] = state.c.handles_version + 1
        await self.run(update(state).values(**values))


class Database:
    """An open database whose schema is up to date. Made by `Database.open`."""

    def __init__(self, engine: AsyncEngine, wait: float) -> None:
        self._engine = engine
        self._wait = wait

    @classmethod
    async def open(cls, url: str, *, wait: float = 5.0) -> Database:
        """Connect, and migrate if the schema is behind; `wait` bounds each later transaction."""
        parsed = _parse(url)
        file = _file_of(parsed)
        if file is not None:
            async with _translated():
                await asyncio.to_thread(_make_file, file)
        database = cls(_sqlite(parsed) if _is_sqlite(parsed) else _postgresql(parsed, wait), wait)
        try:
            await database._migrate()
        except BaseException:
            await database.close()
            raise
        return database

    async def close(self) -> None:
        await self._engine.dispose()

    async def rows(self, statement: Any) -> list[Row[Any]]:
        """Read in one short transaction."""
        async with self._transaction(writes=False) as connection:
            return list((await connection.execute(statement)).all())

    async def state(self) -> Row[Any]:
        """Read the row that everything is locked by."""
        rows = await self.rows(select(state))
        if not rows:
            raise StoreUnavailable("the credential database has lost its state row: restore it from a backup")
        return rows[0]

    async def versions(self) -> Versions:
        """Read the change counters: one row by its key."""
        row = await self.state()
        return Versions(row.credentials_version, row.handles_version)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Write]:
        """Begin, wait in line for the state row, commit at the end or roll back on any exception."""
        async with self._transaction(writes=True) as connection:
            row = (await connection.execute(select(state).with_for_update())).one()
            yield Write(connection, row)

    @asynccontextmanager
    async def _transaction(self, *, writes: bool) -> AsyncIterator[AsyncConnection]:
        async with _translated(), asyncio.timeout(self._wait * 2), self._engine.connect() as plain:
            connection = await plain.execution_options(sidecar_writes=writes)
            async with connection.begin():
                yield connection

    async def _migrate(self) -> None:
        async with _translated(), asyncio.timeout(60), self._engine.connect() as plain:
            connection = await plain.execution_options(sidecar_writes=True)
            async with connection.begin():
                if connection.dialect.name == "postgresql":
                    await connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": MIGRATION_LOCK})
                await connection.run_sync(_upgrade)


def _upgrade(connection: Connection) -> None:
    """Bring the schema up to date. Alembic costs a quarter of a second to import: only when needed."""
    if connection.dialect.has_table(connection, "alembic_version"):
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        if found == REVISION:
            return
        if str(found) > REVISION:
            raise ConfigError("the database was made by a newer version of this program")
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    command.upgrade(config, "head")


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigError("DATABASE_URL is not a database URL; write sqlite:///sidecar.db or postgresql://…") from None
    if not _is_sqlite(parsed) and parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise ConfigError("DATABASE_URL must begin with sqlite:// or postgresql://")
    return parsed


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _file_of(url: URL) -> Path | None:
    """Return the file of a SQLite database; None for one in memory, and for PostgreSQL."""
    in_memory = not url.database or url.database == ":memory:"
    return Path(str(url.database)) if _is_sqlite(url) and not in_memory else None


def _sqlite(url: URL) -> AsyncEngine:
    in_memory = _file_of(url) is None
    engine = create_async_engine(
        url.set(drivername="sqlite+aiosqlite"),
        hide_parameters=True,
        poolclass=AsyncAdaptedQueuePool,
        # In memory each connection would be a database of its own, and one shared by two
        # transactions at a time would mix them: so there is one, and it is waited for.
        pool_size=1 if in_memory else 3,
        max_overflow=0,
        pool_timeout=5,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # The driver begins transactions by itself, too late and not for DDL: we begin them below.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in SQLITE_PRAGMAS:
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and writes later fails when another wrote in between.
        writes = connection.get_execution_options().get("sidecar_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _make_file(path: Path) -> None:
    """Create the file for its owner alone, before SQLite would for everybody, and set the mode that stays in it."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, FILE_MODE))
    except OSError as error:
        raise ConfigError(f"the database file {path} cannot be opened: {error.strerror}") from None
    deadline = time.monotonic() + 5
    while True:
        try:
            with contextlib.closing(sqlite3.connect(path, timeout=1)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")  # readers do not wait for the writer
            return
        except sqlite3.OperationalError:
            # Two that start together: SQLite refuses the second one at once here, whatever its timeout.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _postgresql(url: URL, wait: float) -> AsyncEngine:
    query = dict(url.query)
    tls = _tls(query)
    try:
        return create_async_engine(
            url.set(drivername="postgresql+asyncpg", query=query),
            hide_parameters=True,
            pool_size=5,
            max_overflow=0,
            pool_timeout=wait,
            pool_pre_ping=True,
            connect_args={"timeout": wait, "command_timeout": wait, **tls},
        )
    except ModuleNotFoundError:
        raise ConfigError("PostgreSQL needs the package asyncpg: pip install 'chat-sidecar[postgresql]'") from None


def _tls(query: dict[str, Any]) -> dict[str, Any]:
    """Take libpq's words out of a URL's query and return what the driver has for them."""
    mode, root = query.pop("sslmode", None), query.pop("sslrootcert", None)
    if mode not in ("verify-ca", "verify-full"):
        return {} if mode is None else {"ssl": mode}
    try:
        context = ssl.create_default_context(cafile=root)
    except OSError as error:
        raise ConfigError(f"DATABASE_URL: sslrootcert cannot be read ({type(error).__name__})") from None
    context.check_hostname = mode == "verify-full"
    return {"ssl": context}


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except IntegrityError:
        raise Conflict("an entry of this name exists already") from None
    except (SQLAlchemyError, sqlite3.Error, OSError, TimeoutError) as error:
        # SQLAlchemy wraps the driver's error, and its asyncpg dialect wraps it twice.
        inner = getattr(error, "orig", None) or error
        cause = type(inner.__cause__ or inner).__name__
        raise StoreUnavailable(f"the credential database is not available ({cause})") from None
