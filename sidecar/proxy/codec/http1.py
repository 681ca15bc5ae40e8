"""HTTP/1.1 as bytes, without I/O: strict where a guard must be stricter than what stands behind it.

Whatever this module accepts has one reading only (RFC 9112). What it does not accept is a
`Malformed` with the refusal's code; the connection is closed after it, because nothing that follows
can be trusted.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from sidecar.head import Fields, RequestHead
from sidecar.vocabulary import Code

CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2
END_OF_HEAD: Final = b"\r\n\r\n"

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([\x21-\x7e]+) HTTP/1\.([01])")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [\t \x21-\x7e\x80-\xff]*)?")
# RFC 9112 §5: no space before the colon, no obs-fold, no control character, no bare CR or LF.
_FIELD_LINE = re.compile(TOKEN + rb":[\t \x21-\x7e\x80-\xff]*")
BARE_LF = re.compile(rb"(?<!\r)\n")
_HOST = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
_DIGITS = re.compile(rb"[0-9]{1,18}")
_ABSOLUTE = re.compile(rb"(https?)://([^/?#]*)(.*)", re.IGNORECASE)

# A second line under one of these names would have two readings: one here, one behind us.
SINGLE: Final = frozenset({
    b"host", b"content-length", b"transfer-encoding", b"content-type", b"content-encoding", b"origin",
    b"authorization", b"expect", b"upgrade", b"range", b"x-session-id", b"x-org-id",
    b"sec-websocket-key", b"sec-websocket-version",
})  # fmt: skip
METHODS: Final = frozenset({
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "QUERY", "SEARCH", "REPORT", "PROPFIND", "PROPPATCH",
    "MKCOL", "MKCALENDAR", "COPY", "MOVE", "LOCK", "UNLOCK", "ACL", "BIND", "UNBIND", "REBIND", "LINK", "UNLINK",
    "CHECKIN", "CHECKOUT", "LABEL", "MERGE", "UPDATE", "UNCHECKOUT", "MKACTIVITY", "MKWORKSPACE", "VERSION-CONTROL",
    "BASELINE-CONTROL", "ORDERPATCH",
})  # fmt: skip
"""The methods that IANA lists, but for TRACE, CONNECT and PRI: backends read unknown ones in their own ways."""
_REMEMBERED: Final = frozenset({
    b"host", b"user-agent", b"accept", b"accept-language", b"accept-encoding", b"content-type", b"content-length",
    b"connection", b"origin", b"referer", b"cache-control", b"pragma", b"priority", b"dnt", b"te", b"sec-ch-ua",
    b"sec-ch-ua-mobile", b"sec-ch-ua-platform", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest", b"sec-gpc",
    b"server", b"x-powered-by", b"vary", b"keep-alive", b"transfer-encoding", b"access-control-allow-origin", b"allow",
    b"x-content-type-options", b"x-frame-options", b"content-encoding", b"date",
})  # fmt: skip
_LONGEST_REMEMBERED: Final = 256
_LONGEST_LENGTH: Final = 18
_MAX_ANSWER_FIELDS: Final = 500


class Malformed(Exception):
    """The bytes have no single reading; `code` is what the client is told, `reason` is for the log."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def malformed(reason: str) -> Malformed:
    return Malformed(Code.REQUEST_MALFORMED, reason)


def find_head(buffer: bytes, searched: int) -> int:
    """Return the index of the blank line that ends the head, or -1; `searched` bytes were seen before.

    A line feed without its carriage return is refused at once: waiting for a proper end would hang.
    """
    end = buffer.find(END_OF_HEAD, max(0, searched - 3))
    if end < 0 and BARE_LF.search(buffer, max(0, searched - 1)):
        raise malformed("bare LF in head")
    return end


_Entry: TypeAlias = tuple[bytes, bytes, tuple[bytes, bytes]]
"""A field line: lower-case name, value, and (lower-case name, line)."""


class FieldReader:
    """Read field lines, and remember those that come again and again.

    A browser sends the same fifteen lines with every request. Only names whose values are no one's
    secret are remembered; when the table is full it is emptied. `single` names may stand there once.
    """

    def __init__(self, single: frozenset[bytes] = SINGLE, remembered: int = 2048) -> None:
        self._single = single
        self._most = remembered
        self._known: dict[bytes, _Entry] = {}

    def read(self, rest: bytes, max_fields: int) -> tuple[Fields, dict[bytes, bytes]]:
        """Return (lower-case name, line) in order, and the index; refuse what RFC 9112 §5 does."""
        if not rest:
            return [], {}
        lines = rest.split(b"\r\n")
        if len(lines) > max_fields:
            raise Malformed(Code.HEADERS_TOO_LARGE, "too many fields")
        known, split = self._known.get, self._split
        entries = [known(line) or split(line) for line in lines]
        index = {key: value for key, value, _ in entries}
        if len(index) != len(entries):
            index = self._joined(entries)
        return [pair for _, _, pair in entries], index

    def _joined(self, entries: list[_Entry]) -> dict[bytes, bytes]:
        """Join the values of repeated names (RFC 9110 §5.3)."""
        index: dict[bytes, bytes] = {}
        for key, value, _ in entries:
            if key in index:
                if key in self._single:
                    raise malformed("repeated " + key.decode())
                index[key] += (b"; " if key == b"cookie" else b", ") + value
            else:
                index[key] = value
        return index

    def _split(self, line: bytes) -> _Entry:
        if _FIELD_LINE.fullmatch(line) is None:
            raise malformed("field line")
        name, _, value = line.partition(b":")
        key = name.lower()
        value = value.strip(b" \t")
        if key == b"host" and self._single:
            _check_host(value)
        entry = (key, value, (key, line))
        if key in _REMEMBERED and len(line) <= _LONGEST_REMEMBERED:
            if len(self._known) >= self._most:
                self._known.clear()
            self._known[line] = entry
        return entry


def parse_request_head(raw: bytes, max_target: int, max_fields: int, reader: FieldReader) -> RequestHead:
    """Parse a head up to, but without, its blank line (so it does not end in CRLF)."""
    line, _, rest = raw.partition(b"\r\n")
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise malformed("request line")
    method, target, minor = match.groups()
    if len(target) > max_target:
        raise malformed("target too long")
    lines, index = reader.read(rest, max_fields)
    head = RequestHead(method.decode(), target, "", minor[0] - 48, lines, index)
    if b"host" not in index and head.version == 1:
        raise malformed("no Host")
    _origin_form(head)
    if head.method not in METHODS:
        raise Malformed(Code.METHOD_NOT_ALLOWED, "method")
    return head


def _check_host(value: bytes) -> None:
    match = _HOST.fullmatch(value)
    if match is None or (match[1] is not None and not 0 < int(match[1]) <= 65535):
        raise malformed("Host")


def _origin_form(head: RequestHead) -> None:
    """Bring the target to origin-form; `path` is set here."""
    target = head.target
    if target[0] != 47:
        if target == b"*" and head.method == "OPTIONS":
            head.path = "*"
            return
        match = _ABSOLUTE.fullmatch(target)
        if match is None or head.method == "CONNECT":
            raise malformed("target form")
        # RFC 9112 §3.2.2: the target's authority wins over Host; two different ones are two readings.
        if match[2].lower() != head.index.get(b"host", b"").lower():
            raise malformed("absolute target with another Host")
        rest = match[3]
        target = rest if rest.startswith(b"/") else b"/" + rest
        head.target = target
    if b"#" in target:
        raise malformed("fragment in target")
    head.path = target.partition(b"?")[0].decode("latin-1")


def request_framing(head: RequestHead) -> int:
    """Return the length of the body in bytes, or CHUNKED."""
    index = head.index
    length = index.get(b"content-length")
    coding = index.get(b"transfer-encoding")
    if coding is not None:
        if length is not None:
            raise malformed("Content-Length and Transfer-Encoding")
        if coding.lower() != b"chunked" or head.version == 0:
            raise malformed("Transfer-Encoding")
        return CHUNKED
    if length is None:
        return 0
    if len(length) > _LONGEST_LENGTH or not length.isdigit():
        raise malformed("Content-Length")
    return int(length)


class ResponseHead:
    """The head of the backend's answer.

    lines     (lower-case name, whole line) in order
    framing   the length of the body that follows, CHUNKED or UNTIL_CLOSE
    length    what Content-Length says (an answer to HEAD says it without a body), or -1
    reusable  another request may follow on this connection once the body is read
    """

    __slots__ = ("framing", "index", "length", "lines", "reusable", "status")

    def __init__(self, status: int, lines: Fields, index: dict[bytes, bytes]) -> None:
        self.status = status
        self.lines = lines
        self.index = index
        self.framing = 0
        self.length = -1
        self.reusable = False

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of a lower-case name, one a line."""
        return [value_of(line) for key, line in self.lines if key == name]


def value_of(line: bytes) -> bytes:
    """Return a field line's value without outer white space."""
    return line.partition(b":")[2].strip(b" \t")


def parse_response_head(raw: bytes, method: str, reader: FieldReader) -> ResponseHead:
    """Parse the head of an answer to `method`; garbage is `Malformed` with BACKEND_BROKEN."""
    line, _, rest = raw.partition(b"\r\n")
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise Malformed(Code.BACKEND_BROKEN, "answer's head")
    try:
        lines, index = reader.read(rest, _MAX_ANSWER_FIELDS)
    except Malformed:
        raise Malformed(Code.BACKEND_BROKEN, "answer's head") from None
    answer = ResponseHead(int(match[2]), lines, index)
    modern = match[1] == b"1"
    answer.length = _response_length(index)
    answer.framing = _response_framing(answer, method, modern)
    connection = index.get(b"connection", b"").lower()
    answer.reusable = (
        answer.framing != UNTIL_CLOSE and (modern or b"keep-alive" in connection) and b"close" not in connection
    )
    return answer


def _response_length(index: dict[bytes, bytes]) -> int:
    text = index.get(b"content-length")
    if text is None:
        return -1
    # Several equal lengths are one (RFC 9112 §6.3); differing ones are a broken answer.
    if len(text) <= _LONGEST_LENGTH and text.isdigit():
        return int(text)
    values = {part.strip() for part in text.split(b",")}
    value = values.pop()
    if values or _DIGITS.fullmatch(value) is None:
        raise Malformed(Code.BACKEND_BROKEN, "answer's Content-Length")
    return int(value)


def _response_framing(answer: ResponseHead, method: str, modern: bool) -> int:
    coding = answer.index.get(b"transfer-encoding")
    if coding is not None and (answer.length >= 0 or coding.lower() != b"chunked" or not modern):
        raise Malformed(Code.BACKEND_BROKEN, "answer's framing")
    if method == "HEAD" or answer.status in (204, 304) or answer.status < 200:
        return 0
    if coding is not None:
        return CHUNKED
    return UNTIL_CLOSE if answer.length < 0 else answer.length
