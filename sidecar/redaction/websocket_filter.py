"""Messages of a WebSocket: each is a whole unit, and a text may run over many of them."""

from __future__ import annotations

from typing import Final

from sidecar.redaction.joined_texts import JoinedTexts
from sidecar.redaction.prefilter import Question
from sidecar.redaction.records import Piece, read_message
from sidecar.redaction.scanner import OUTSIDE, Hit, Scanner, context, rewrite, tally
from sidecar.redaction.waiting_texts import Record

MAX_REASON: Final = 123
"""Bytes of a close reason (RFC 6455 §5.5)."""
MAX_CONTROL: Final = 125
_SMALL: Final = 4096  # a message that may leave unread
_SHORT: Final = 4  # live bytes at the end of a ping that may be there by chance …
_SHORT_OF_REASON: Final = 20
"""… and of a close reason. Some servers put what the client said into it: who tries the beginnings of keys would
otherwise see for each character whether it is right."""


class FrameFilter:
    """Clean one direction of a WebSocket, message by message; borders of messages stay where they are.

    `question` decides which joined texts must be read; without it all are.
    """

    __slots__ = ("_before", "_joined", "_scanner", "counts")

    def __init__(
        self, scanner: Scanner, counts: dict[str, int] | None = None, *, question: Question | None = None
    ) -> None:
        self._scanner = scanner
        self.counts: dict[str, int] = {} if counts is None else counts
        self._joined = JoinedTexts(scanner, self.counts, question)
        self._before = OUTSIDE  # the tail of the last control frames

    def feed(self, message: bytes) -> list[bytes]:
        """Take a complete text message; return the messages that may be sent now, in order."""
        return [data for data, _ in self.take(message, binary=False)]

    def take(self, message: bytes, *, binary: bool) -> list[tuple[bytes, bool]]:
        """Take a complete message; return the messages that may be sent now, each with whether it is binary."""
        if not binary and self._joined.idle and len(message) <= _SMALL:
            taken = self._joined.take(message)
            if taken is not None:  # nothing waits before it: it leaves, or waits
                return [(taken, False)] if taken else []
        return _messages(self._joined.read(message, _read_binary if binary else read_message, binary=binary))

    def finish(self) -> list[bytes]:
        """Return the messages that wait, as if all texts ended here."""
        return [data for data, _ in self.rest()]

    def rest(self) -> list[tuple[bytes, bool]]:
        """Return the messages that wait, each with whether it is binary; what comes is still joined with them."""
        return _messages(self._joined.decided())

    def control(self, payload: bytes) -> bytes:
        """Return the payload of a ping as the client may see it.

        It cannot wait for the next one: an end that may begin a secret is replaced, too.
        """
        shown = self._alone(payload, self._before, _SHORT)
        self._before = context(self._before, payload)
        return shown[:MAX_CONTROL]

    def close_reason(self, reason: bytes) -> bytes:
        """Return the reason of a close frame as the client may see it; it stays valid UTF-8.

        Servers cut reasons that are too long, and may so cut a secret: of a long beginning nothing is shown.
        """
        shown = self._alone(reason, OUTSIDE, _SHORT_OF_REASON)
        return reason if shown == reason else shown[:MAX_REASON].decode("utf-8", "ignore").encode()

    def _alone(self, payload: bytes, before: bytes, short: int) -> bytes:
        """Return what cannot wait for more without secrets, and without an end that may begin one."""
        size = len(payload)
        hits, live = self._scanner.scan(payload, before, False)
        if size - live >= short:
            hits = [*(hit for hit in hits if hit.start < live), Hit(live, size, "undecided")]
        if not hits:
            return payload
        edit = rewrite(payload, hits, size, 0)
        tally(self.counts, edit.kinds)
        return edit.clean


def _read_binary(raw: bytes) -> list[Piece]:
    pieces = read_message(raw)
    if raw and not all(piece.quoted for piece in pieces if not piece.written):
        return [Piece(("plain",), 0, len(raw), raw, False, True)]  # no JSON, but bytes
    return pieces


def _messages(records: list[Record]) -> list[tuple[bytes, bool]]:
    return [(record.leave(), record.binary) for record in records]
