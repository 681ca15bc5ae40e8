"""The request's body: collected within a bound, or streamed piece by piece; never dripped forever."""

from __future__ import annotations

import asyncio

from sidecar.policy.policy import RequestBounds
from sidecar.proxy.codec.body_framing import LAST_CHUNK, Body, chunk
from sidecar.proxy.connection import Connection
from sidecar.proxy.upstream import UpstreamError
from sidecar.vocabulary import Code


class TooLarge(Exception):
    """The body passes the route's bound."""


class _Pace:
    """Gives a sender `body_timeout` for each piece, and a minimum rate over the whole."""

    __slots__ = ("_began", "_bounds", "_loop", "received")

    def __init__(self, loop: asyncio.AbstractEventLoop, bounds: RequestBounds) -> None:
        self._loop = loop
        self._bounds = bounds
        self._began = loop.time()
        self.received = 0

    def patience(self) -> float:
        """Return the seconds that the next piece may take."""
        bounds = self._bounds
        if not bounds.min_body_rate:
            return bounds.body_timeout
        paid = bounds.body_timeout + self.received / bounds.min_body_rate
        return max(0.001, min(bounds.body_timeout, self._began + paid - self._loop.time()))

    def waited(self, seconds: float) -> None:
        """Do not blame the client for time that the backend took."""
        self._began += seconds


async def collect(connection: Connection, body: Body, bound: int, bounds: RequestBounds) -> bytes:
    """Return a whole body of at most `bound` bytes."""
    pieces: list[bytes] = []
    pace = _Pace(connection.loop, bounds)
    while not body.done:
        if not connection.buffer:
            connection.expect_within(pace.patience())
        piece = await connection.read(body)
        pace.received += len(piece)
        if pace.received > bound:
            raise TooLarge
        pieces.append(piece)
    connection.expect_within(0)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def upload(
    front: Connection, back: Connection, body: Body, chunked: bool, bound: int, bounds: RequestBounds, patience: float
) -> None:
    """Stream a body to the backend; both sides' pace is respected, nothing is collected.

    A backend that takes nothing for `patience` seconds has failed.
    """
    pace = _Pace(front.loop, bounds)
    while not body.done:
        front.expect_within(pace.patience())
        piece = await front.read(body)
        front.expect_within(0)
        if not piece:
            continue
        pace.received += len(piece)
        if pace.received > bound:
            raise TooLarge
        before = front.loop.time()
        back.write(chunk(piece) if chunked else piece)
        if back.writing_paused:
            await _taken(back, patience)
        pace.waited(front.loop.time() - before)
    if chunked:
        back.write(LAST_CHUNK)


async def _taken(back: Connection, patience: float) -> None:
    # A timer of its own: the connection's deadline belongs to who reads the answer.
    try:
        async with asyncio.timeout(patience):
            await back.drain()
    except TimeoutError:
        raise UpstreamError(Code.BACKEND_TIMEOUT, "does not take the request") from None
