"""SQLite: one connection that writes, one that reads, each in a thread of its own.

Cancelling an `await` does not stop a statement that runs in the thread. What follows on the same
connection waits behind it there, so a roll-back that is sent after a cancelled statement undoes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from sidecar.errors import ConfigError, StoreUnavailable

FILE_MODE: Final = 0o600
POLL_SECONDS: Final = 0.5
LAST_SECONDS: Final = 1.0
UNDO_SECONDS: Final = 0.2
PRAGMAS: Final = (
    "PRAGMA synchronous=FULL",  # a commit that was acknowledged survives a power cut
    "PRAGMA secure_delete=ON",  # what was deleted does not stay behind in free pages
    "PRAGMA trusted_schema=OFF",
    "PRAGMA cache_size=-512",  # KiB; the rows that are used are in our own memory
)

TIMES: Final = frozenset(
    {"at", "base_at", "created_at", "expires_at", "head_at", "revoked_at", "rotated_at", "until", "updated_at"}
)
"""Columns of epoch milliseconds, or seconds."""
NUMBERS: Final = frozenset({
    "base_entries", "base_seq", "credentials_version", "format", "given", "handles_version", "head_entries", "head_seq",
    "made", "nano", "requests", "seq", "unpriced", "version",
})  # fmt: skip
"""Columns of other whole numbers."""
YEAR_10000: Final = 253_402_300_800_000


class SqliteConnection:
    """One connection, used by its thread alone."""

    def __init__(self, path: str, wait: float) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vault-sqlite")
        # We begin transactions ourselves: the module would do it too late, and not for DDL.
        self._connection = sqlite3.connect(path, timeout=wait, isolation_level=None, check_same_thread=False)
        self._connection.text_factory = _text
        for pragma in PRAGMAS:
            self._connection.execute(pragma)

    async def run(self, statement: str, *values: Any) -> int:
        """Execute a statement in the thread; return how many rows it touched."""
        touched: int = await self._call(self._run, statement, values)
        return touched

    async def rows(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """Execute a query in the thread and return all of its rows."""
        found: list[dict[str, Any]] = await self._call(self._rows, statement, values)
        return found

    @property
    def changes(self) -> int:
        """How many rows this connection has changed."""
        return self._connection.total_changes

    async def roll_back(self) -> None:
        """Undo, after whatever this connection still runs: a commit that was begun is done afterwards.

        Where that takes long (another program holds a lock), no caller waits for it: this connection's thread
        does nothing else before.
        """
        await self._last(self._roll_back, UNDO_SECONDS)

    async def close(self) -> None:
        """Close after what still runs; a statement that is stuck is not waited for."""
        await self._last(self._connection.close, LAST_SECONDS)
        self._thread.shutdown(wait=False)

    async def _last(self, function: Any, seconds: float) -> None:
        with contextlib.suppress(RuntimeError, TimeoutError):  # RuntimeError: the thread has ended
            running = self._thread.submit(function)
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(running)), seconds)

    async def _call(self, function: Any, *arguments: Any) -> Any:
        try:
            running = self._thread.submit(function, *arguments)
        except RuntimeError:
            raise StoreUnavailable("the credential database is closed") from None
        return await asyncio.wrap_future(running)

    def _run(self, statement: str, values: tuple[Any, ...]) -> int:
        return self._connection.execute(statement, values).rowcount

    def _rows(self, statement: str, values: tuple[Any, ...]) -> list[dict[str, Any]]:
        cursor = self._connection.execute(statement, values)
        names = [column[0] for column in cursor.description]
        return [{name: _typed(name, value) for name, value in zip(names, row, strict=True)} for row in cursor]

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


class SqliteDriver:
    """A Driver. A database in memory has one connection for both: a second would be another database."""

    failures: tuple[type[Exception], ...] = (sqlite3.Error,)
    duplicates: tuple[type[Exception], ...] = (sqlite3.IntegrityError,)
    lock = ""  # BEGIN IMMEDIATE locks the whole file
    notify = ""  # `stamp` costs a few microseconds
    poll = POLL_SECONDS

    def __init__(self, writer: SqliteConnection, reader: SqliteConnection, watched: sqlite3.Connection | None) -> None:
        self._writer = writer
        self._reader = reader
        self._watched = watched
        self._line = asyncio.Lock()

    @classmethod
    def open(cls, url: str, wait: float) -> SqliteDriver:
        """Open the file, made for its owner alone. Blocks."""
        path = path_of(url)
        busy = max(0.1, wait - 0.3)  # SQLite gives up before the transaction's own time is over
        try:
            if path:
                _make_file(Path(path), wait)
            writer = SqliteConnection(path or ":memory:", busy)
            if not path:
                return cls(writer, writer, None)
            watched = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
            return cls(writer, SqliteConnection(path, busy), watched)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the credential database is not available ({type(error).__name__})") from None

    async def rows(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """Read on the reading connection; in memory, wait until no transaction runs."""
        if self._reader is not self._writer:
            return await self._reader.rows(statement, *values)
        async with self._line:  # not into another's transaction
            return await self._reader.rows(statement, *values)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[SqliteConnection]:
        """Begin with BEGIN IMMEDIATE, one transaction at a time; commit at the end, roll back when the body raises."""
        async with self._line:
            try:
                # A transaction that reads first and writes later fails when another wrote in between.
                await self._writer.run("BEGIN IMMEDIATE")
                yield self._writer
                await self._writer.run("COMMIT")
            except BaseException:
                await self._writer.roll_back()
                raise

    migrate = write

    async def stamp(self) -> int:
        """Return SQLite's counter of commits; for a database in memory, of rows that were changed.

        In the caller's thread: the counter is in shared memory, and a visit to another thread costs
        twenty times as much as reading it.
        """
        if self._watched is None:
            return self._writer.changes
        return int(self._watched.execute("PRAGMA data_version").fetchone()[0])

    async def wait(self, seconds: float) -> None:
        """Sleep for `seconds`: SQLite sends no notifications."""
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        """Close both connections and end their threads."""
        if self._watched is not None:
            self._watched.close()
        await self._writer.close()
        if self._reader is not self._writer:
            await self._reader.close()


def _typed(name: str, value: Any) -> Any:
    """Return a value of a column as the program wrote it: SQLite stores any type in any column, for any program."""
    if name in TIMES or name in NUMBERS:
        if value is None or (type(value) is int and (name in NUMBERS or 0 <= value < YEAR_10000)):
            return value
        raise StoreUnavailable(f"the credential database was changed by another program: {name} is no number")
    return _text(value) if type(value) is bytes else value


def _text(raw: bytes) -> str:
    """Return a text, also where another program wrote bytes: what was changed is found by its MAC."""
    return raw.decode("utf-8", "replace")


def path_of(url: str) -> str:
    """Return the path of `sqlite:///relative` or `sqlite:////absolute`; an empty text: in memory."""
    place, question, _ = url.removeprefix("sqlite://").partition("?")
    if question:
        raise ConfigError("DATABASE_URL: sqlite takes no options")
    if place and not place.startswith("/"):
        raise ConfigError("DATABASE_URL: sqlite has no host; write sqlite:///sidecar.db or sqlite:////var/lib/vault.db")
    path = place[1:]
    return "" if path == ":memory:" else path


def _make_file(path: Path, wait: float) -> None:
    """Create the file readable by its owner alone (SQLite would obey the umask), and set its journal mode."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, FILE_MODE))
    except OSError as error:
        raise ConfigError(f"the database file {path} cannot be opened: {error.strerror}") from None
    deadline = time.monotonic() + wait
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
