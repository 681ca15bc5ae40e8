"""Heads on their way out, as pure functions: to the backend, and back to the client."""

from __future__ import annotations

from collections.abc import Container
from functools import lru_cache
from typing import Final

from sidecar.exchange import Exchange
from sidecar.guards.clients.identity_headers import IdentityHeaders
from sidecar.head import Fields, RequestHead
from sidecar.proxy.content_codings import accepted_codings
from sidecar.proxy.strict_rules import CHUNKED, SINGLE

_CODED: Final = frozenset({b"accept-encoding"})
_PARTIAL: Final = _CODED | {b"range", b"if-range"}
"""A secret that is cut in two, or compressed, would pass unseen."""

_TELLING: Final = (b"sec-", b"x-forwarded-", b"x-original-", b"x-auth-request-", b"x-b3-", b"x-envoy-", b"cf-")
"""Beginnings of names that tell a third party about the browser, the proxies in front, or one request's way."""

_FORWARDING: Final = (
    b"X-Forwarded-For: %b\r\nX-Real-IP: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\nX-Org-ID: %b\r\n"
)
_LAST: Final = b"X-Request-ID: %b\r\ntraceparent: %b\r\nVia: 1.%d sidecar\r\n\r\n"
USUAL_CONNECTION: Final = frozenset({b"keep-alive", b"close"})
_END_TO_END: Final = SINGLE | {b"cookie"}


def named_by_connection(value: bytes | None) -> frozenset[bytes]:
    """Return the lower-case names that a Connection field makes hop-by-hop."""
    if not value or value in USUAL_CONNECTION:
        return frozenset()
    return frozenset(name.strip(b" \t").lower() for name in value.split(b","))


def request_head(
    exchange: Exchange,
    *,
    host: bytes,
    framing: int,
    put: Fields,
    drop: frozenset[bytes],
    whole: bool,
    identity: IdentityHeaders,
    part: bool = False,
    outward: bool = False,
    prefix: bytes = b"",
    base: bytes = b"",
    upgrade: bytes = b"",
) -> bytes:
    """Return the head that the backend receives, blank line included.

    host     the Host to say
    framing  the body's length, or CHUNKED
    put      field lines to add (the key); whatever the client sent under their names goes
    drop     further lower-case names to leave out
    whole    the answer will be looked at: ask for all of it, in a coding that can be opened
    part     ask for the part that the client wants, all the same: the response decides whether it can be inspected
    identity which of the client's fields never go on
    outward  the other end is a third party: it gets nothing about the client
    prefix   what the target loses at its front
    base     what is there instead
    upgrade  a ready line that asks for an upgrade, without its end
    """
    front = head_front(
        exchange,
        host=host,
        put=tuple([name for name, _ in put]),
        drop=drop,
        whole=whole,
        identity=identity,
        part=part,
        outward=outward,
        prefix=prefix,
        base=base,
    )
    return front + head_end(exchange, framing, put, upgrade=upgrade, outward=outward)


def head_front(
    exchange: Exchange,
    *,
    host: bytes,
    put: tuple[bytes, ...],
    drop: frozenset[bytes],
    whole: bool,
    identity: IdentityHeaders,
    part: bool = False,
    outward: bool = False,
    prefix: bytes = b"",
    base: bytes = b"",
) -> bytes:
    """Return the lines of a request's head that are the same for all requests with the client's head; arguments
    as those of `request_head`, of `put` the names.
    """
    head = exchange.head
    gone = _left_out(whole, part, drop, *put)
    kept = [line for _, line in _kept_lines(exchange, gone, identity, outward=outward)]
    kept.insert(0, _first_lines(head, host, prefix, base))
    if whole:
        kept.append(b"Accept-Encoding: " + _asked_codings(head))
    kept.append(b"" if outward else _forwarding(exchange, exchange.client.address.encode()))
    return b"\r\n".join(kept)


class FrontFormat:
    """What `head_front` returns, for all requests whose heads differ in some values only.

    text    has a `%b` for each of these values, and for the client's address twice, at its end
    fields  the lower-case names that the values belong to, in order
    """

    __slots__ = ("fields", "text")

    def __init__(self, text: bytes, fields: tuple[bytes, ...]) -> None:
        self.text = text
        self.fields = fields

    def filled(self, exchange: Exchange) -> bytes:
        """Return the lines of one request's head."""
        index, address = exchange.head.index, exchange.client.address.encode()
        return self.text % (*[index[name] for name in self.fields], address, address)


def front_format(
    exchange: Exchange,
    varying: Container[bytes],
    *,
    host: bytes,
    put: tuple[bytes, ...],
    drop: frozenset[bytes],
    whole: bool,
    identity: IdentityHeaders,
    prefix: bytes = b"",
    base: bytes = b"",
) -> FrontFormat:
    """Return the format of `head_front`, the values under the lower-case names in `varying` left out."""
    head = exchange.head
    gone = _left_out(whole, False, drop, *put)
    lines = [_first_lines(head, host, prefix, base).replace(b"%", b"%%")]
    fields = []
    for name, line in _kept_lines(exchange, gone, identity):
        if name in varying:
            lines.append(line[: len(name)] + b": %b")
            fields.append(name)
        else:
            lines.append(line.replace(b"%", b"%%"))
    if whole:
        lines.append(b"Accept-Encoding: " + _asked_codings(head).replace(b"%", b"%%"))
    lines.append(_forwarding(exchange, b"%b"))
    return FrontFormat(b"\r\n".join(lines), tuple(fields))


def _first_lines(head: RequestHead, host: bytes, prefix: bytes, base: bytes) -> bytes:
    target = _moved(head.target, prefix, base) if prefix else head.target
    return b"%b %b HTTP/1.1\r\nHost: %b" % (head.method.encode(), target, host)


def _kept_lines(
    exchange: Exchange, gone: frozenset[bytes], identity: IdentityHeaders, *, outward: bool = False
) -> Fields:
    """Return the client's lines that go on, each with its lower-case name; none under a name in `gone`."""
    head = exchange.head
    index = head.index
    dropped = identity.from_proxies if exchange.client.trusted and not outward else identity.from_clients
    connection = index.get(b"connection")
    if connection is not None and connection not in USUAL_CONNECTION:
        # What guards went by, the backend sees too: Connection cannot take it away (RFC 9110 §7.6.1).
        gone |= named_by_connection(connection) - _END_TO_END
    if b"tracestate" in index and exchange.trace is not None and not exchange.trace.parent_id:
        # It belongs to the traceparent beside it, which was none (Trace Context §3.3.1).
        gone |= {b"tracestate"}
    # CGI and WSGI read an underscore as a hyphen: X_Forwarded_For would be a second X-Forwarded-For.
    kept = [pair for pair in head.lines if not dropped[pair[0]] and pair[0] not in gone and b"_" not in pair[0]]
    if len(head.lines) != len(index) and b"cookie" in index and b"cookie" not in gone:
        kept = _one_cookie_line(kept, index[b"cookie"])
    return [pair for pair in kept if not _tells_who(pair[0])] if outward else kept


def head_end(exchange: Exchange, framing: int, put: Fields, *, upgrade: bytes = b"", outward: bool = False) -> bytes:
    """Return the lines that differ from request to request, and the blank line."""
    lines = b""
    for field in put:
        lines += b"%b: %b\r\n" % field
    head, trace = exchange.head, exchange.trace
    if upgrade:
        lines += upgrade + b"\r\n"
    elif framing == CHUNKED:
        lines += b"Transfer-Encoding: chunked\r\n"
    elif framing or b"content-length" in head.index:
        lines += b"Content-Length: %d\r\n" % framing
    if outward:
        return lines + b"\r\n"
    parent = trace.header if trace is not None else head.index.get(b"traceparent", b"")
    return lines + _LAST % (exchange.id.encode(), parent, head.version)


@lru_cache(maxsize=256)  # all of it comes from the policy and the vault
def _left_out(whole: bool, part: bool, drop: frozenset[bytes], *put: bytes) -> frozenset[bytes]:
    """Return the lower-case names that no client's value reaches the backend under."""
    names = drop | {name.lower() for name in put}
    return names | (_CODED if part else _PARTIAL) if whole else names


def _asked_codings(head: RequestHead) -> bytes:
    """Return what to accept: a stream comes without a coding, whose encoder would hold its events back."""
    if b"text/event-stream" in head.index.get(b"accept", b""):
        return b"identity"
    return accepted_codings(head.index.get(b"accept-encoding"))


def _one_cookie_line(lines: Fields, cookies: bytes) -> Fields:
    """Join several Cookie lines where the first stood: HTTP/1.1 knows one line (RFC 6265 §5.4), HTTP/2 several."""
    at = [number for number, (name, _) in enumerate(lines) if name == b"cookie"]
    if len(at) < 2:
        return lines
    rest = [pair for number, pair in enumerate(lines) if number not in at[1:]]
    rest[at[0]] = (b"cookie", b"Cookie: " + cookies)
    return rest


def _moved(target: bytes, prefix: bytes, base: bytes) -> bytes:
    rest = target.removeprefix(prefix)
    return base + (rest if rest.startswith(b"/") else b"/" + rest)


def _tells_who(name: bytes) -> bool:
    return name.startswith(_TELLING) and not name.startswith(b"sec-websocket-")


def _forwarding(exchange: Exchange, address: bytes) -> bytes:
    """Return the forwarding headers, made of the client's address and never appended to what a client wrote."""
    return _FORWARDING % (
        address,
        address,
        b"https" if exchange.secure else b"http",
        exchange.host,
        exchange.organization.encode(),
    )
