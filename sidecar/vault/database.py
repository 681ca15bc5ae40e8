"""The SQL database: SQLite in a file of its own, or PostgreSQL shared by replicas.

The statements are the same for both, with `?` for each value. Foreign exceptions end here: what leaves
is StoreUnavailable, or Conflict for a name that is taken, without values, rows or addresses in the
message. Every wait has a bound.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from sidecar.errors import ConfigError, StoreUnavailable
from sidecar.vault.errors import Conflict
from sidecar.vault.migrations import upgrade

WAIT_SECONDS: Final = 3.0
"""How long a transaction may take, waiting for a locked database included."""

MIGRATION_SECONDS: Final = 60.0
WRONG_URL: Final = "DATABASE_URL must begin with sqlite:// or postgresql://"

Row: TypeAlias = dict[str, Any]
"""A row by the names of its columns."""


class Connection(Protocol):
    """One connection inside a transaction. Statements have `?` for each value."""

    async def run(self, statement: str, *values: Any) -> int:
        """Execute and return how many rows it touched."""
        ...

    async def rows(self, statement: str, *values: Any) -> list[Row]:
        """Execute a query and return all of its rows."""
        ...


class Driver(Protocol):
    """What SQLite and PostgreSQL do differently.

    failures    exceptions that mean: not available
    duplicates  exceptions that mean: this key exists
    lock        what a SELECT ends with that keeps its row from other writers
    notify      a statement that wakes the watches of other processes with the commit; empty: none is needed
    poll        seconds between two looks of a watch
    """

    failures: tuple[type[Exception], ...]
    duplicates: tuple[type[Exception], ...]
    lock: str
    notify: str
    poll: float

    async def rows(self, statement: str, *values: Any) -> list[Row]:
        """Read in one statement, outside of any transaction."""
        ...

    def write(self) -> AbstractAsyncContextManager[Connection]:
        """Begin; commit at the end, roll back on any exception."""
        ...

    def migrate(self) -> AbstractAsyncContextManager[Connection]:
        """Begin as `write` does, alone among all processes that migrate."""
        ...

    async def stamp(self) -> int | None:
        """Return a number that changes with each write; None when only reading can tell."""
        ...

    async def wait(self, seconds: float) -> None:
        """Return when another process may have written, at the latest after `seconds`."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


@dataclass(frozen=True, slots=True)
class Versions:
    """Counters that grow with each change; another replica's change shows in them."""

    credentials: int
    handles: int


class Write:
    """One exclusive write transaction: the row of `state` is locked, and `state` is its content."""

    def __init__(self, connection: Connection, row: Row, notify: str) -> None:
        self._connection = connection
        self._notify = notify
        self.state = row  # written by `set`

    async def run(self, statement: str, *values: Any) -> int:
        """Execute and return how many rows it touched."""
        return await self._connection.run(statement, *values)

    async def rows(self, statement: str, *values: Any) -> list[Row]:
        """Execute a query inside this transaction and return all of its rows."""
        return await self._connection.rows(statement, *values)

    async def insert(self, table: str, row: Row) -> None:
        """Add a row. `table` and the names of the columns are constants of this program."""
        await self.run(
            f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
            *row.values(),
        )

    async def set(self, **columns: Any) -> None:
        """Change columns of the state row; their names are constants of this program."""
        self.state = {**self.state, **columns}
        await self.run(f"UPDATE state SET {', '.join(f'{name} = ?' for name in columns)}", *columns.values())

    async def changed(self, *, credentials: bool = False, handles: bool = False) -> None:
        """Tell the other replicas, with the commit, what they have to read again."""
        await self.run(
            "UPDATE state SET credentials_version = credentials_version + ?, handles_version = handles_version + ?",
            int(credentials),
            int(handles),
        )
        if self._notify:
            await self.run(self._notify)


class Database:
    """An open database whose schema is up to date. Made by `Database.open`."""

    def __init__(self, driver: Driver, wait: float) -> None:
        self._driver = driver
        self._wait = wait
        self._failures: tuple[type[Exception], ...] = (*driver.failures, OSError, TimeoutError)

    @classmethod
    async def open(cls, url: str, *, wait: float = WAIT_SECONDS) -> Database:
        """Connect, and migrate if the schema is behind; `wait` (seconds) bounds each later transaction.

        Raises ConfigError for a URL that names no database, StoreUnavailable when there is no answer.
        """
        database = cls(await asyncio.to_thread(_driver, url, wait), wait)
        try:
            async with database._translated(MIGRATION_SECONDS), database._driver.migrate() as connection:
                await upgrade(connection)
        except BaseException:
            await database.close()
            raise
        return database

    async def close(self) -> None:
        """Close all connections; running statements fail."""
        await self._driver.close()

    @property
    def poll(self) -> float:
        """Seconds between two looks of a watch, so that a change is seen within one second."""
        return self._driver.poll

    async def rows(self, statement: str, *values: Any) -> list[Row]:
        """Read in one statement."""
        async with self._translated(self._wait):
            return await self._driver.rows(statement, *values)

    async def state(self) -> Row:
        """Read the row that everything is locked by."""
        rows = await self.rows("SELECT * FROM state")
        if not rows:
            raise _no_state()
        return rows[0]

    async def versions(self) -> Versions:
        """Read the change counters: one row by its key."""
        row = await self.state()
        return Versions(row["credentials_version"], row["handles_version"])

    async def stamp(self) -> int | None:
        """Return a number that changes with each write; None when only `versions` can tell."""
        async with self._translated(self._wait):
            return await self._driver.stamp()

    async def wait(self, seconds: float) -> None:
        """Return when another process may have written, at the latest after `seconds`."""
        await self._driver.wait(seconds)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Write]:
        """Begin, wait in line for the state row, commit at the end or roll back on any exception."""
        async with self._translated(self._wait), self._driver.write() as connection:
            rows = await connection.rows(f"SELECT * FROM state{self._driver.lock}")
            if not rows:
                raise _no_state()
            yield Write(connection, rows[0], self._driver.notify)

    @asynccontextmanager
    async def _translated(self, seconds: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except self._driver.duplicates:
            raise Conflict("an entry of this name exists already") from None
        except self._failures as error:
            raise StoreUnavailable(f"the credential database is not available ({type(error).__name__})") from None


def is_missing(url: str) -> bool:
    """Return whether a URL names a SQLite file that is not there: opening it would make one."""
    if not url.startswith("sqlite://"):
        return False
    from sidecar.vault.sqlite_driver import path_of

    path = path_of(url)
    return bool(path) and not Path(path).exists()


def _no_state() -> StoreUnavailable:
    return StoreUnavailable("the credential database has lost its state row: restore it from a backup")


def _driver(url: str, wait: float) -> Driver:
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise ConfigError("DATABASE_URL is not a database URL; write sqlite:///sidecar.db or postgresql://…")
    if scheme == "sqlite":
        from sidecar.vault.sqlite_driver import SqliteDriver

        return SqliteDriver.open(url, wait)
    if scheme.partition("+")[0] in ("postgresql", "postgres"):
        from sidecar.vault.postgresql_driver import PostgresqlDriver

        return PostgresqlDriver.open(url, wait)
    raise ConfigError(WRONG_URL)
