"""Rules over the fields of a parsed head: what has more than one reading is refused (RFC 9110, 9112).

aiohttp's parser has already refused control characters, folded lines, blanks before a colon, bare
carriage returns and line feeds, and lengths that are no number. What it lets through is here, as
pure functions. The connection is closed after a refusal, because nothing that follows can be trusted.
"""

from __future__ import annotations

import re
from typing import Final

from sidecar.head import RequestHead
from sidecar.vocabulary import Code

CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2
END_OF_HEAD: Final = b"\r\n\r\n"

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([\x21-\x7e]+) HTTP/1\.([01])")
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [\t \x21-\x7e\x80-\xff]*)?")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_HOST = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
_DIGITS = re.compile(rb"[0-9]{1,18}")
_ABSOLUTE = re.compile(rb"(https?)://([^/?#]*)(.*)", re.IGNORECASE)
_LONGEST_LENGTH: Final = 18
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})

SINGLE: Final = frozenset({
    b"host", b"content-length", b"transfer-encoding", b"content-type", b"content-encoding", b"origin",
    b"authorization", b"expect", b"upgrade", b"range", b"x-session-id", b"x-org-id",
    b"sec-websocket-key", b"sec-websocket-version",
})  # fmt: skip
"""A second line under one of these names would have two readings: one here, one at the backend."""

METHODS: Final = frozenset({
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "QUERY", "SEARCH", "REPORT", "PROPFIND", "PROPPATCH",
    "MKCOL", "MKCALENDAR", "COPY", "MOVE", "LOCK", "UNLOCK", "ACL", "BIND", "UNBIND", "REBIND", "LINK", "UNLINK",
    "CHECKOUT", "MERGE", "MKACTIVITY",
})  # fmt: skip
"""The methods that IANA lists and aiohttp's parser knows, but for TRACE, CONNECT and PRI.

Backends read unknown ones in their own ways.
"""


class Malformed(Exception):
    """The bytes have no single reading; `code` is what the client is told, `reason` is for the log."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def malformed(reason: str) -> Malformed:
    """Return the refusal of a request that has no single reading."""
    return Malformed(Code.REQUEST_MALFORMED, reason)


def find_end_of_head(buffer: bytes, searched: int = 0) -> int:
    """Return the index of the blank line that ends the head, or -1; `searched` bytes were seen before.

    A line feed without its carriage return is refused at once: waiting for a proper end would hang.
    """
    end = buffer.find(END_OF_HEAD, max(0, searched - 3))
    if end < 0 and _BARE_LF.search(buffer, max(0, searched - 1)):
        raise malformed("bare LF in head")
    return end


def check_host(value: bytes) -> None:
    """Refuse a Host that is not one name or address, with or without a port."""
    match = _HOST.fullmatch(value)
    if match is None or (match[1] is not None and not 0 < int(match[1]) <= 65535):
        raise malformed("Host")


def origin_form(method: str, target: bytes, host: bytes) -> bytes:
    """Return the target in origin-form; refuse other forms but `*` of OPTIONS and our own absolute one."""
    if target[0] != 47:
        if target == b"*" and method == "OPTIONS":
            return target
        match = _ABSOLUTE.fullmatch(target)
        if match is None or method == "CONNECT":
            raise malformed("target form")
        # RFC 9112 §3.2.2: the target's authority wins over Host; two different ones are two readings.
        if match[2].lower() != host.lower():
            raise malformed("absolute target with another Host")
        target = match[3] if match[3].startswith(b"/") else b"/" + match[3]
    if b"#" in target:
        raise malformed("fragment in target")
    return target


def joined(fields: list[tuple[bytes, bytes]], single: frozenset[bytes] = SINGLE) -> dict[bytes, bytes]:
    """Join the values of repeated lower-case names (RFC 9110 §5.3); refuse a repeated name out of `single`."""
    index: dict[bytes, bytes] = {}
    for key, value in fields:
        if key in index:
            if key in single:
                raise malformed("repeated " + key.decode())
            index[key] += (b"; " if key == b"cookie" else b", ") + value
        else:
            index[key] = value
    return index


def head_too_large(start: bytes, max_target: int) -> Malformed:
    """Return the refusal of a head that is too large: 414 if its target alone exceeds the bound, else 431."""
    line = start.partition(b"\r\n")[0]
    return Malformed(Code.TARGET_TOO_LONG if len(line) > max_target + 64 else Code.HEADERS_TOO_LARGE, "head")


def request_framing(head: RequestHead) -> int:
    """Return the length of the body in bytes, or CHUNKED; refuse expectations other than 100-continue."""
    index = head.index
    expected = index.get(b"expect")
    if expected is not None and expected.lower() != b"100-continue":
        raise Malformed(Code.EXPECTATION_FAILED, "expectation")  # RFC 9110 §10.1.1
    length = index.get(b"content-length")
    coding = index.get(b"transfer-encoding")
    if coding is not None:
        if length is not None:
            raise malformed("Content-Length and Transfer-Encoding")
        if coding.lower() != b"chunked" or head.version == 0:
            raise malformed("Transfer-Encoding")
        return CHUNKED
    if length is None:
        if head.version == 0 and head.method in _WITH_BODY:
            raise Malformed(Code.LENGTH_REQUIRED, "no Content-Length")  # RFC 1945 §7.2.2: its end cannot be told
        return 0
    if len(length) > _LONGEST_LENGTH or not length.isdigit():
        raise malformed("Content-Length")
    return int(length)


def response_length(index: dict[bytes, bytes]) -> int:
    """Return what a response's Content-Length says, or -1."""
    text = index.get(b"content-length")
    if text is None:
        return -1
    if len(text) <= _LONGEST_LENGTH and text.isdigit():
        return int(text)
    # Several equal lengths are one (RFC 9112 §6.3); differing ones are a broken response.
    values = {part.strip() for part in text.split(b",")}
    value = values.pop()
    if values or _DIGITS.fullmatch(value) is None:
        raise Malformed(Code.BACKEND_BROKEN, "answer's Content-Length")
    return int(value)


def response_framing(status: int, index: dict[bytes, bytes], length: int, method: str, *, modern: bool) -> int:
    """Return the length of the body that follows a response's head, CHUNKED or UNTIL_CLOSE."""
    coding = index.get(b"transfer-encoding")
    if coding is not None and (length >= 0 or coding.lower() != b"chunked" or not modern):
        raise Malformed(Code.BACKEND_BROKEN, "answer's framing")
    if method == "HEAD" or status in (204, 304) or status < 200:
        return 0
    if coding is not None:
        return CHUNKED
    return UNTIL_CLOSE if length < 0 else length
