"""SQLAlchemy Core for coroutines: each call runs in a greenlet, which waits for the driver on the loop.

The library's own `sqlalchemy.ext.asyncio` does the same, and imports the whole ORM for it: eight
megabytes that every sidecar would carry for three methods.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, CursorResult, Engine
from sqlalchemy.util.concurrency import greenlet_spawn

Result = TypeVar("Result")


class Crossing:
    """A connection inside of one transaction. Results are read at once: none is left open."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def dialect(self) -> str:
        return self._connection.dialect.name

    async def execute(self, statement: Any, values: dict[str, Any] | None = None) -> CursorResult[Any]:
        return await greenlet_spawn(self._connection.execute, statement, values)

    async def run_sync(self, work: Callable[[Connection], Result]) -> Result:
        """Run what is written for a plain connection, and return what it returns."""
        return await greenlet_spawn(work, self._connection)


@asynccontextmanager
async def transaction(engine: Engine, **options: bool) -> AsyncIterator[Crossing]:
    """Begin; commit at the end or roll back on any exception, and give the connection back in every case."""
    connection: Connection = await greenlet_spawn(engine.connect)
    try:
        connection = connection.execution_options(**options)
        begun = await greenlet_spawn(connection.begin)
        yield Crossing(connection)
        await greenlet_spawn(begun.commit)
    finally:
        # A connection that is given back in the middle of a transaction rolls it back first.
        await _to_the_end(greenlet_spawn(connection.close))


async def dispose(engine: Engine) -> None:
    """Close every connection that is not in use."""
    await greenlet_spawn(engine.dispose)


async def _to_the_end(work: Awaitable[None]) -> None:
    """Wait for work that must not be left half done when the one who waits is cancelled."""
    await asyncio.shield(asyncio.ensure_future(work))
