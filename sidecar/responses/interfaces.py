"""The shapes of what looks at a backend's responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from sidecar.exchange import Exchange
from sidecar.guard import ResponseFilter


class BackendResponseHead(Protocol):
    """The head of an answer: its status, lower-case name → value, and the values of a repeated name."""

    @property
    def status(self) -> int:
        """The status code."""
        ...

    @property
    def index(self) -> Mapping[bytes, bytes]:
        """Lower-case name → value; of a repeated name, one of its values."""
        ...

    def values(self, name: bytes) -> list[bytes]:
        """Return all values of a lower-case name, in their order."""
        ...


class SocketMessageFilter(Protocol):
    """Looks at complete messages in order, and may keep some waiting."""

    def take(self, message: bytes, *, binary: bool) -> list[tuple[bytes, bool]]:
        """Return the messages that may be sent now, in order, each with whether it is binary."""
        ...

    def rest(self) -> list[tuple[bytes, bool]]:
        """Return the messages that wait; what comes later is still joined with them."""
        ...

    def control(self, payload: bytes) -> bytes:
        """Return the payload of a ping or pong as the client may see it."""
        ...

    def close_reason(self, reason: bytes) -> bytes:
        """Return the reason of a close frame as the client may see it."""
        ...


class ResponseFilters(Protocol):
    """What reads the responses of a route: redaction, token usage, learned sessions.

    `wanted` returns whether there is anything to look for now; then the backend is asked for an
    uncompressed, whole response. A filter records what it found when it is finished.
    """

    def wanted(self) -> bool:
        """Return whether there is anything to look for in a response now."""
        ...

    def for_answer(self, exchange: Exchange, answer: BackendResponseHead) -> ResponseFilter | None:
        """Look at the head of an answer; return the filter of its body.

        What must be done before the client sees something (store a session that the answer names) is
        put into `exchange.pending`, here or by the filter.
        """
        ...

    def passes_whole(self, exchange: Exchange, answer: BackendResponseHead, lines: bytes, body: bytes) -> bool:
        """Return whether header lines and a complete body pass as they came; the body has been read then.

        False: ask about the lines, and filter the body.
        """
        ...

    def frames(self, exchange: Exchange) -> SocketMessageFilter | None:
        """Return the filter of the text messages that a WebSocket's backend sends."""
        ...

    def suspects(self, lines: bytes) -> bool:
        """Return whether a block of header lines may contain something that must not pass; False is certain."""
        ...

    def value(self, exchange: Exchange, value: bytes) -> bytes:
        """Return a header's value as the client may see it."""
        ...
