"""Writes the head of every response, of refusals and relayed responses alike."""

from __future__ import annotations

from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from sidecar.decision import Answer, Refuse
from sidecar.exchange import Exchange
from sidecar.head import Fields
from sidecar.messages.refusals import refusal
from sidecar.policy.policy import Route
from sidecar.proxy.codec.response_heads import KnownHead as KnownResponseHead
from sidecar.proxy.codec.response_heads import ResponseHead
from sidecar.proxy.failure_headers import passed_on_failure, retry_advice
from sidecar.proxy.forwarding_headers import USUAL_CONNECTION, named_by_connection
from sidecar.proxy.known_heads import KnownHead
from sidecar.responses.interfaces import ResponseFilters
from sidecar.vocabulary import Code

_STATUS_LINES: Final = {
    status: b"HTTP/1.1 %d %b\r\n"
    % (status, HTTPStatus(status).phrase.encode() if status in HTTPStatus._value2member_map_ else b"")
    for status in range(100, 600)
}
_KEPT: Final = b"X-Request-ID: %b\r\n\r\n"
_CLOSED: Final = b"X-Request-ID: %b\r\nConnection: close\r\n\r\n"
_MOST_BLOCKS: Final = 16
_FAILURES: Final = {503: Code.OVERLOADED, 504: Code.BACKEND_TIMEOUT}


def head(
    status: int, lines: bytes, exchange: Exchange, route: Route, *, keep: bool, known: KnownHead | None = None
) -> bytes:
    """Return a complete head: what the answer says, and what every response says."""
    if known is None:
        parts, writers = [_STATUS_LINES[status], lines], route.header_writers
    else:
        parts, writers = [_STATUS_LINES[status], lines, known.said], known.writers
    for header_writer in writers:
        parts.append(header_writer.lines(exchange))
    notes = exchange.notes
    if notes:
        parts += [b"%b: %b\r\n" % (name.encode(), value.encode()) for name, value in notes.items()]
    parts.append((_KEPT if keep else _CLOSED) % exchange.id.encode())
    return b"".join(parts)


def interim(status: int, lines: bytes) -> bytes:
    """Return the head of a 1xx response with these field lines."""
    return _STATUS_LINES[status] + lines + b"\r\n"


def date_line(now: float) -> bytes:
    """Return the Date line of this moment (RFC 9110 §6.6.1); made once a second."""
    return _date_line(int(now))


@lru_cache(maxsize=2)  # the same words for a whole second
def _date_line(second: int) -> bytes:
    return b"Date: %b\r\n" % formatdate(second, usegmt=True).encode()


def local(answer: Answer, exchange: Exchange, route: Route, *, keep: bool) -> bytes:
    """Return a whole response that is made here."""
    lines = date_line(exchange.now) + b"".join(b"%b: %b\r\n" % field for field in answer.fields)
    if answer.status != 204:
        lines += b"Content-Length: %d\r\n" % len(answer.body)
    made = head(answer.status, lines, exchange, route, keep=keep)
    return made if exchange.head.method == "HEAD" else made + answer.body


def refused(refuse: Refuse, exchange: Exchange, route: Route, *, keep: bool, status: int = 0) -> bytes:
    """Return a whole refusal, in the shape that the route's protocol knows or the client asks for."""
    accept = exchange.head.index.get(b"accept", b"")
    kind, body = refusal(
        route.protocol,
        refuse.code,
        exchange.id,
        accept=accept,
        streaming=b"text/event-stream" in accept,
        path=exchange.head.path,
        sentence=refuse.sentence,
    )
    fields: Fields = [(b"Content-Type", kind), (b"Cache-Control", b"no-store"), *refuse.fields]
    if not any(name == b"x-should-retry" for name, _ in refuse.fields):
        fields += retry_advice(refuse.code, sent=False)
    return local(Answer(status or refuse.code.status, fields, body), exchange, route, keep=keep)


def replaces(status: int) -> Refuse | None:
    """Return the response in place of a backend's own error page, without any of its text."""
    if status < 500:
        return None
    return Refuse(_FAILURES.get(status, Code.BACKEND_BROKEN), {"backend_status": status})


def relayed_lines(
    answer: ResponseHead, exchange: Exchange, route: Route, filters: ResponseFilters | None, *, length_known: bool
) -> bytes:
    """Return the backend's field lines, less what is not for the client or is ours to say."""
    removed, index, known = route.removed, answer.index, answer.known
    if known is not None and filters is None and route.urls is None:
        block = known.blocks.get(removed) or _block(known, removed)
        if known.date_at < 0:
            block += date_line(exchange.now)
        else:
            block += b"Date: %b\r\n" % index[b"date"]
        if length_known and answer.length >= 0 and answer.status != 204:
            block += b"Content-Length: %d\r\n" % answer.length
        return block
    connection = index.get(b"connection")
    if connection is not None and connection not in USUAL_CONNECTION:
        removed |= named_by_connection(connection)
    lines = answer.lines
    urls = route.urls
    if urls is not None:
        lines = urls.rewritten(lines, exchange)
    kept = [line for key, line in lines if key not in removed and key != b"content-length"]
    if b"set-cookie" in index:
        kept = [line for line in kept if line[:11].lower() != b"set-cookie:"]
        cookies = answer.values(b"set-cookie")
        if urls is not None:
            cookies = [urls.cookie(value, exchange) for value in cookies]
        hardened = (route.cookies(value, exchange.secure) for value in cookies)
        kept.extend(b"Set-Cookie: " + value for value in hardened if value is not None)
    kept = _clean(kept, exchange, filters)
    block = b"\r\n".join(kept) + b"\r\n" if kept else b""
    if b"date" not in index:  # RFC 9110 §6.6.1: a proxy adds Date to a response without one
        block += date_line(exchange.now)
    if length_known and answer.length >= 0 and answer.status != 204:
        block += b"Content-Length: %d\r\n" % answer.length
    return block


def _block(known: KnownResponseHead, removed: frozenset[bytes]) -> bytes:
    """Return the lines of a head that came before, without those that differ each time."""
    connection = known.index.get(b"connection")
    gone = removed | {b"date", b"content-length"}
    if connection is not None and connection not in USUAL_CONNECTION:
        gone |= named_by_connection(connection)
    block = b"".join([line + b"\r\n" for key, line in known.lines if key not in gone])
    if len(known.blocks) >= _MOST_BLOCKS:
        known.blocks.clear()
    known.blocks[removed] = block
    return block


def failure_lines(answer: ResponseHead, exchange: Exchange, route: Route, filters: ResponseFilters | None) -> Fields:
    """Return what a backend's 5xx says besides its body: when to come again, and the provider's own request id."""
    kept = _clean(passed_on_failure(answer.lines, route.removed), exchange, filters)
    return [(name, value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in kept)]


def _clean(lines: list[bytes], exchange: Exchange, filters: ResponseFilters | None) -> list[bytes]:
    """Return field lines without secrets."""
    if filters is None or not lines or not filters.suspects(b"\r\n".join(lines)):
        return lines
    # A name cannot be written over: a line whose name holds a secret goes.
    return [_redacted(line, exchange, filters) for line in lines if not filters.suspects(line.partition(b":")[0])]


def _redacted(line: bytes, exchange: Exchange, filters: ResponseFilters) -> bytes:
    name, _, value = line.partition(b":")
    return name + b": " + filters.value(exchange, value.strip(b" \t"))
