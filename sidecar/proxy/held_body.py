"""Holds a response's body back until services have judged it; the connection has it again afterwards."""

from __future__ import annotations

from collections.abc import Callable

from sidecar.proxy.backend_connection import BackendConnection, ResponseSink
from sidecar.proxy.codec.response_heads import ResponseHead
from sidecar.proxy.content_codings import Unreadable, open_whole
from sidecar.proxy.strict_rules import Malformed


class HeldBody(ResponseSink):
    """A ResponseSink that collects up to `most` bytes.

    then  gets the body; None when it is longer: the rest is still to come
    """

    __slots__ = ("_back", "_most", "_pieces", "_size", "_then")

    def __init__(self, back: BackendConnection, most: int, then: Callable[[bytes | None], None]) -> None:
        self._back = back
        self._most = most
        self._then = then
        self._pieces: list[bytes] = []
        self._size = 0

    def response_piece(self, data: bytes) -> None:
        """Keep the bytes, or give up."""
        self._pieces.append(data)
        self._size += len(data)
        if self._size > self._most:
            self._back.hand_back(b"".join(self._pieces), whole=False)
            self._then(None)

    def response_ended(self) -> None:
        """All of it is here."""
        body = b"".join(self._pieces)
        self._back.hand_back(body, whole=True)
        self._then(body)


def now_whole(answer: ResponseHead, body: bytes) -> None:
    """Let a head say how long its body is, now that this is known."""
    answer.framing = answer.length = len(body)


def opened(answer: ResponseHead, body: bytes, most: int) -> bytes | None:
    """Return a body without its content coding; None when that cannot be taken away, or makes it longer than `most`."""
    coding = answer.index.get(b"content-encoding")
    if coding is None:
        return body
    try:
        return open_whole(coding, body, most)
    except (Malformed, Unreadable):
        return None  # what becomes of it is the policy's matter: on_failure
