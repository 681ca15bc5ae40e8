"""The head of a message, as values: what guards look at and the proxy sends on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

Fields = list[tuple[bytes, bytes]]
"""Field lines in order, names spelled as they came, values without outer white space."""

HOP_BY_HOP: Final = frozenset({
    b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization",
    b"proxy-authentication-info", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings",
})  # fmt: skip
"""RFC 9110 §7.6.1 and what older agents use the same way."""


VARYING: Final = frozenset({
    b"x-forwarded-for", b"x-real-ip", b"forwarded", b"x-original-forwarded-for", b"x-envoy-external-address",
    b"cf-connecting-ip", b"true-client-ip", b"cookie", b"x-request-id", b"x-correlation-id", b"traceparent",
    b"tracestate", b"x-b3-traceid", b"x-b3-spanid", b"x-b3-parentspanid", b"x-amzn-trace-id", b"x-amz-cf-id",
    b"x-cloud-trace-context", b"cf-ray",
})  # fmt: skip
"""Fields by which the heads of one page differ from client to client and from request to request: address, session,
trace. Only guards with `varying` look at them, and those that are asked for each request."""

LIKE_OTHERS: Final = frozenset({b"x-org-id", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port"})
"""Names beginning with `x-` that other guards look at."""


def varying_fields(session_fields: Iterable[bytes]) -> frozenset[bytes]:
    """Return the names of varying fields where sessions are presented in these, lower-case."""
    return VARYING.union(name for name in session_fields if name.startswith(b"x-") and name not in LIKE_OTHERS)


@dataclass(init=False)  # a generated constructor is not compiled
class RequestHead:
    """A request's head that has passed the strict grammar of RFC 9112.

    method   as sent (`POST`; methods are case-sensitive)
    target   origin-form target, byte for byte as sent (`/a%41//b/../c?q=%7E+%20`)
    path     the target before `?`, raw, as Latin-1 text
    version  1 for HTTP/1.1, 0 for HTTP/1.0
    lines    every field line in order, whole as it came, each with its lower-case name
    index    lower-case name → value; repeated names are joined with `, ` (RFC 9110 §5.3)
    """

    method: str
    target: bytes
    path: str
    version: int
    lines: Fields
    index: dict[bytes, bytes]

    def __init__(
        self,
        method: str,
        target: bytes,
        path: str,
        version: int,
        lines: Fields,
        index: dict[bytes, bytes] | None = None,
    ) -> None:
        self.method = method
        self.target = target
        self.path = path
        self.version = version
        self.lines = lines
        self.index = {} if index is None else index

    def get(self, name: bytes) -> bytes | None:
        """Return the value under a lower-case name, or None."""
        return self.index.get(name)

    def without_lines(self) -> RequestHead:
        """Return the same head for what needs no lines: two thirds of its bytes are theirs."""
        return RequestHead(self.method, self.target, self.path, self.version, [], self.index)
