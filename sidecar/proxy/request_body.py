"""The request's body: collected within a bound, or streamed piece by piece, at a minimum rate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from sidecar.policy.policy import RequestBounds
from sidecar.proxy.body_framing import LAST_CHUNK, Body, LengthBody, chunk
from sidecar.proxy.codec.chunked import ChunkedRequest
from sidecar.proxy.strict_rules import CHUNKED
from sidecar.proxy.upstream_error import UpstreamError
from sidecar.vocabulary import Code

if TYPE_CHECKING:
    from sidecar.proxy.backend_connection import BackendConnection
    from sidecar.proxy.client_connection import ClientConnection


class TooLarge(Exception):
    """The body passes the route's bound."""


def request_body(framing: int) -> Body:
    """Return the reader of a request's body."""
    return ChunkedRequest() if framing == CHUNKED else LengthBody(framing)


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
        """Leave time that the backend took out of the client's rate."""
        self._began += seconds


class CollectedBody:
    """A BodySink that puts a whole body of at most `bound` bytes together and hands it to `then`."""

    def __init__(
        self, connection: ClientConnection, bound: int, bounds: RequestBounds, then: Callable[[bytes], None]
    ) -> None:
        self._connection = connection
        self._bound = bound
        self._then = then
        self._pieces: list[bytes] = []
        self._pace = _Pace(connection.loop, bounds)
        connection.expect_within(self._pace.patience())

    def body_piece(self, data: bytes) -> None:
        """Keep the bytes and set the deadline of the next piece. Raises TooLarge beyond the bound."""
        pace = self._pace
        pace.received += len(data)
        if pace.received > self._bound:
            raise TooLarge
        self._pieces.append(data)
        self._connection.expect_within(pace.patience())

    def body_ended(self) -> None:
        """Hand the joined body to `then`."""
        self._connection.expect_within(0)
        pieces = self._pieces
        self._then(pieces[0] if len(pieces) == 1 else b"".join(pieces))


class StreamedBody:
    """A BodySink that sends a body on as it comes; both sides' pace is respected, nothing is collected.

    A backend that takes nothing for `patience` seconds has failed: `failed` is told. `ended` is called
    once all is sent.
    """

    def __init__(
        self,
        front: ClientConnection,
        back: BackendConnection,
        *,
        chunked: bool,
        bound: int,
        bounds: RequestBounds,
        patience: float,
        ended: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._front = front
        self._back = back
        self._chunked = chunked
        self._bound = bound
        self._patience = patience
        self._ended = ended
        self._failed = failed
        self._pace = _Pace(front.loop, bounds)
        self._held_since = 0.0
        # A timer of its own: the backend connection's deadline belongs to the wait for the response.
        self._timer: asyncio.TimerHandle | None = None
        self.done = False
        front.expect_within(self._pace.patience())

    def body_piece(self, data: bytes) -> None:
        """Write the bytes to the backend; stop reading the client while the backend takes no more. Raises TooLarge."""
        pace, back = self._pace, self._back
        pace.received += len(data)
        if pace.received > self._bound:
            raise TooLarge
        back.write(chunk(data) if self._chunked else data)
        if back.full:
            self._front.expect_within(0)
            self._front.hold_body()
            if self._timer is None:
                self._held_since = self._front.loop.time()
                self._timer = self._front.loop.call_later(self._patience, self._not_taken)
        elif self._timer is None:
            self._front.expect_within(pace.patience())

    def body_ended(self) -> None:
        """Write the end of a chunked body and call `ended`."""
        if self._chunked:
            self._back.write(LAST_CHUNK)
        self._front.expect_within(0)
        self.stop()
        self.done = True
        self._ended()

    def backend_takes_more(self) -> None:
        """The backend has taken what was held back."""
        if self._timer is None:
            return
        self.stop()
        self._pace.waited(self._front.loop.time() - self._held_since)
        self._front.expect_within(self._pace.patience())
        self._front.release_body()

    def stop(self) -> None:
        """Wait for the backend no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _not_taken(self) -> None:
        self._timer = None
        self._failed(UpstreamError(Code.BACKEND_TIMEOUT, "does not take the request"))
