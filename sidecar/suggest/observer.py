"""Notes the shape of requests, answers and socket messages in observe mode; it never refuses or changes one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from sidecar.decision import KEEP, PASS, Decision, Inspection
from sidecar.exchange import Exchange
from sidecar.guard import ResponseFilter
from sidecar.messages.content_type import open_body
from sidecar.responses.interfaces import BackendResponseHead
from sidecar.stores.observations import Observations, Operation, OperationCounts, Place
from sidecar.suggest import text_places
from sidecar.suggest.free_text import is_free_text, share_of_spaces
from sidecar.suggest.path_patterns import path_pattern

SOCKET: Final = "SOCKET"
LARGEST: Final = 1 << 20
"""Bytes of one body or message that are read."""
SHORTEST_TOKEN: Final = 8
"""Characters of a cookie's value that cannot come back in another header by chance."""

COOKIE = re.compile(rb"([A-Za-z0-9_.$-]{1,64})=([^;]{8,512})")
NO_TOKENS: Final = frozenset({b"cookie", b"host", b"user-agent", b"accept", b"referer", b"origin"})
STREAMS: Final = {b"text/event-stream": "server-sent events", b"application/x-ndjson": "lines of JSON"}
READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Observer:
    """One for all routes of a policy; `table` outlives it. As a guard of the head it always passes."""

    name = "suggestions"

    def __init__(self, table: Observations) -> None:
        self._table = table

    def check(self, exchange: Exchange) -> Decision:
        """Count the request's operation, query texts, cookies and origin. Always passes."""
        index = exchange.head.index
        if exchange.origin is not None and index.get(b"sec-fetch-site") != b"same-origin":
            host = exchange.origin.partition(b"://")[2]
            if host != index.get(b"host"):
                self._table.note_origin(exchange.origin.decode("latin-1")[:256])
        if b"cookie" in index:
            self._cookies(index)
        head = exchange.head
        query = list(text_places.of_query(head.target)) if b"?" in head.target else []
        # Page loads are not told apart: there are many, and they hardly ever carry a text.
        if head.method in READING and not any(is_free_text(text) for _, text in query):
            return PASS
        counts = self._counts(exchange)
        if counts is not None:
            counts.requests += 1
            length = index.get(b"content-length", b"")
            if length.isdigit() and len(length) < 16:
                counts.largest = max(counts.largest, int(length))
            self._note(counts, query)
        return PASS

    def inspect(self, exchange: Exchange, body: bytes) -> Inspection:
        """Note where the strings of a body are."""
        counts = self._counts(exchange) if body else None
        if counts is not None:
            kind, places = _read(exchange, body[:LARGEST])
            counts.kinds.add(kind)
            if places is None:
                counts.unreadable += 1
            else:
                self._note(counts, places)
        return KEEP

    def socket_message(self, exchange: Exchange, data: bytes, *, binary: bool) -> None:
        """Note where the strings of a client's message are."""
        pattern = path_pattern(exchange.head.path)
        if not pattern or len(data) > LARGEST:
            return
        counts = self._table.operation(Operation(SOCKET, pattern))
        counts.requests += 1
        counts.kinds.add("binary" if binary else "text")
        places = text_places.of_binary(data) if binary else text_places.of_packet(data.decode("utf-8", "replace"))
        if places is not None:
            self._note(counts, places)
        elif binary:
            counts.unreadable += 1

    def for_answer(self, exchange: Exchange, answer: BackendResponseHead) -> ResponseFilter | None:
        """Note whether the answer streams; its body is not looked at."""
        kind = answer.index.get(b"content-type", b"").partition(b";")[0].strip().lower()
        stream = STREAMS.get(kind)
        if stream is None and b"chunked" in answer.index.get(b"transfer-encoding", b"") and kind == b"text/plain":
            stream = "text in pieces"
        pattern = path_pattern(exchange.head.path)
        if stream is not None and pattern:
            self._table.operation(Operation(exchange.head.method, pattern)).streams.add(stream)
        return None

    def reads_whole(self, answer: BackendResponseHead) -> bool:  # noqa: ARG002  # its head is enough
        """Return True: a complete body need not pass a filter."""
        return True

    def read_whole(self, exchange: Exchange, answer: BackendResponseHead, body: bytes) -> None:  # noqa: ARG002
        """Note the answer; its body is not looked at."""
        self.for_answer(exchange, answer)

    def _counts(self, exchange: Exchange) -> OperationCounts | None:
        pattern = path_pattern(exchange.head.path)
        return self._table.operation(Operation(exchange.head.method, pattern)) if pattern else None

    def _note(self, counts: OperationCounts, places: Iterable[tuple[Place, str]]) -> None:
        self._table.note_texts(
            counts, ((place, text, is_free_text(text), share_of_spaces(text)) for place, text in places)
        )

    def _cookies(self, index: dict[bytes, bytes]) -> None:
        """Note cookies whose value a script has put into another header, as against CSRF."""
        others = [value for name, value in index.items() if name not in NO_TOKENS and len(value) >= SHORTEST_TOKEN]
        for name, value in COOKIE.findall(index[b"cookie"][:8192]):
            if value.strip() in others:
                self._table.note_cookie(name.decode("latin-1"))


def _read(exchange: Exchange, body: bytes) -> tuple[str, Iterable[tuple[Place, str]] | None]:
    """Return what sort of body it is, and its strings."""
    index = exchange.head.index
    kind = index.get(b"content-type", b"").partition(b";")[0].strip().lower()
    encoding = index.get(b"content-encoding")
    if encoding is not None:
        opened = open_body(encoding, body, LARGEST)
        if not isinstance(opened, bytes):
            return "compressed", None
        body = opened
    if kind == b"application/x-www-form-urlencoded":
        return "form", text_places.of_urlencoded(body)
    if kind == b"multipart/form-data":
        return "multipart form", text_places.of_multipart(body)
    found = text_places.of_json(body)
    if found is not None:
        return "JSON", found
    if kind.startswith(b"text/"):
        return "text", text_places.of_polling(body)
    return "binary", text_places.of_binary(body)
