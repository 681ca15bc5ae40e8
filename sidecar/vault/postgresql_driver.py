"""PostgreSQL: a few connections that are used in turn, and one that listens for other replicas' changes.

A connection on which anything but a refused statement went wrong is thrown away: the server rolls back
by itself, and no caller waits for a server that does not answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from sidecar.errors import ConfigError
from sidecar.vault.errors import VaultError

try:
    import asyncpg
except ModuleNotFoundError:
    raise ConfigError("PostgreSQL needs the package asyncpg: pip install 'chat-sidecar[postgresql]'") from None

MAX_CONNECTIONS: Final = 5
POLL_SECONDS: Final = 0.8  # a pooler between us and the server may swallow notifications
LISTEN_AGAIN: Final = 5.0
CHANNEL: Final = "sidecar_vault"
ALIVE: Final[tuple[type[Exception], ...]] = (VaultError, asyncpg.IntegrityConstraintViolationError)
"""After these the connection is as good as before."""
MIGRATION_LOCK: Final = 0x5343_5631  # any number, the same in every replica ("SCV1")


class PostgresqlConnection:
    """One connection, as `Connection` of database.py sees it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def run(self, statement: str, *values: Any) -> int:
        """Execute a statement; return the count of its command tag, 0 where it has none."""
        done: str = await self._connection.execute(_numbered(statement), *values)
        count = done.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def rows(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """Execute a query and return all of its rows."""
        return [dict(row) for row in await self._connection.fetch(_numbered(statement), *values)]


class PostgresqlDriver:
    """A Driver over at most MAX_CONNECTIONS connections."""

    failures: tuple[type[Exception], ...] = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
    """The last: where a server dies between two answers, the library finds its connection in an impossible state."""
    duplicates: tuple[type[Exception], ...] = (asyncpg.IntegrityConstraintViolationError,)
    lock = " FOR UPDATE"
    notify = f"NOTIFY {CHANNEL}"
    poll = POLL_SECONDS

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._room = asyncio.Semaphore(MAX_CONNECTIONS)
        self._idle: list[Any] = []
        self._listener: Any = None
        self._listen_at = 0.0
        self._changed = asyncio.Event()

    @classmethod
    def open(cls, url: str, wait: float) -> PostgresqlDriver:
        """Read the URL; nothing is connected yet."""
        split = urlsplit(url)
        query = dict(parse_qsl(split.query))
        tls = _tls(query)
        dsn = urlunsplit(("postgresql", split.netloc, split.path, urlencode(query), ""))
        return cls({"dsn": dsn, "timeout": wait, "command_timeout": wait, **tls})

    async def rows(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """Read on a free connection; wait for one when all are in use."""
        async with self._connection() as connection:
            return await PostgresqlConnection(connection).rows(statement, *values)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[PostgresqlConnection]:
        """Begin on a free connection; commit at the end, roll back when the body raises."""
        async with self._connection() as connection:
            await connection.execute("BEGIN")
            try:
                yield PostgresqlConnection(connection)
                await connection.execute("COMMIT")
            except ALIVE:
                await connection.execute("ROLLBACK")
                raise

    @asynccontextmanager
    async def migrate(self) -> AsyncIterator[PostgresqlConnection]:
        """Begin a transaction that holds the advisory lock of migrations."""
        async with self.write() as connection:
            await connection.rows("SELECT pg_advisory_xact_lock(?)", MIGRATION_LOCK)
            yield connection

    async def stamp(self) -> None:
        """Return None: only the change counters tell; a notification wakes the watch."""
        return

    async def wait(self, seconds: float) -> None:
        """Wait for a notification, or for as long as a poll would."""
        await self._listen()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        self._changed.clear()

    async def close(self) -> None:
        """Terminate the listener's and all idle connections without waiting for the server."""
        for connection in (self._listener, *self._idle):
            if connection is not None:
                connection.terminate()
        self._idle.clear()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        async with self._room:
            connection = None
            while self._idle and connection is None:
                kept = self._idle.pop()
                connection = None if kept.is_closed() else kept
            connection = connection or await asyncpg.connect(**self._options)
            try:
                yield connection
            except ALIVE:
                self._idle.append(connection)
                raise
            except BaseException:
                # What else stood idle may lead to the same dead server; the next one connects anew.
                for broken in (connection, *self._idle):
                    broken.terminate()
                self._idle.clear()
                raise
            else:
                self._idle.append(connection)

    async def _listen(self) -> None:
        """Open the connection that listens for changes; without it only polling finds them."""
        if self._listener is not None and not self._listener.is_closed():
            return
        if time.monotonic() < self._listen_at:
            return
        self._listen_at = time.monotonic() + LISTEN_AGAIN
        with contextlib.suppress(*self.failures, OSError, TimeoutError):
            listener = await asyncpg.connect(**self._options)
            try:
                await listener.add_listener(CHANNEL, lambda *_: self._changed.set())
            except BaseException:
                listener.terminate()
                raise
            self._listener = listener
            self._changed.set()  # what changed before this


@lru_cache(maxsize=256)
def _numbered(statement: str) -> str:
    """Return a statement with `$1`, `$2`, … for its `?`."""
    first, *rest = statement.split("?")
    return first + "".join(f"${number}{part}" for number, part in enumerate(rest, 1))


def _tls(query: dict[str, str]) -> dict[str, Any]:
    """Take libpq's parameters out of a URL's query and return the driver's arguments for them."""
    mode, root = query.pop("sslmode", None), query.pop("sslrootcert", None)
    if mode not in ("verify-ca", "verify-full"):
        return {} if mode is None else {"ssl": mode}
    try:
        context = ssl.create_default_context(cafile=root)
    except OSError as error:
        raise ConfigError(f"DATABASE_URL: sslrootcert cannot be read ({type(error).__name__})") from None
    context.check_hostname = mode == "verify-full"
    return {"ssl": context}
