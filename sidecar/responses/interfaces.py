"""The shapes of what looks at a backend's responses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from sidecar.decision import Refuse
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


class AnswerJudge(Protocol):
    """Says about answers whether clients may see them. `most`: bytes of an answer that is held for it."""

    most: int

    def holds(self, exchange: Exchange, answer: BackendResponseHead) -> bool | Refuse:
        """Return whether the body has to be held, or how an answer is refused that cannot be."""
        ...

    async def judge(
        self, exchange: Exchange, answer: BackendResponseHead, body: bytes | None, clean: Callable[[bytes], bytes]
    ) -> Refuse | None:
        """Return how the answer is refused, or None when it may be shown; waits within a bound.

        body   without its content coding; None: longer than `most`, or unreadable
        clean  replaces secrets
        """
        ...


class ResponseFilters(Protocol):
    """What reads the responses of a route: redaction, token usage, learned sessions.

    `wanted` returns whether there is anything to look for now; then the backend is asked for an
    uncompressed, whole response. A filter records what it found when it is finished.
    """

    @property
    def enforce(self) -> bool:
        """Whether what is found is replaced; if not, it is reported and passes."""
        ...

    @property
    def held(self) -> AnswerJudge | None:
        """The services that judge answers before they are shown."""
        ...

    def clean(self, text: bytes) -> bytes:
        """Return a text without secrets; nothing is recorded."""
        ...

    def count_refused(self, exchange: Exchange, answer: BackendResponseHead, body: bytes) -> None:
        """Count what an answer used that is not shown."""
        ...

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
