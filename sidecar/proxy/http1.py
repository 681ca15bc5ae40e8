"""HTTP/1.1 as bytes, without I/O: strict where a guard must be stricter than what stands behind it.

Whatever this module accepts has one reading only (RFC 9112). What it does not accept is a
`Malformed` with the refusal's code; the connection is closed after it, because nothing that follows
can be trusted.
"""

from __future__ import annotations

import re
from typing import Final, Protocol, TypeAlias

from sidecar.head import Fields, RequestHead
from sidecar.vocabulary import Code

CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2
END_OF_HEAD: Final = b"\r\n\r\n"

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/1\.([01])")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [\t \x21-\x7e\x80-\xff]*)?")
# RFC 9112 §5: no space before the colon, no obs-fold, no control character, no bare CR or LF.
_FIELD_LINE = re.compile(_TOKEN + rb":[\t \x21-\x7e\x80-\xff]*")
_FIELD_LINES = re.compile(rb"(?:" + _TOKEN + rb":[\t \x21-\x7e\x80-\xff]*\r\n)*")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_HOST = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
_DIGITS = re.compile(rb"[0-9]{1,18}")
_ABSOLUTE = re.compile(rb"(https?)://([^/?#]*)(.*)", re.IGNORECASE)
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})((?:;" + _TOKEN + rb"(?:=" + _TOKEN + rb")?)*)")

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
_MAX_CHUNK_LINE: Final = 256
_MAX_TRAILERS: Final = 8192
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
    if end < 0 and _BARE_LF.search(buffer, max(0, searched - 1)):
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
        entry = (key, value.strip(b" \t"), (key, line))
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
    _one_host(head)
    _origin_form(head)
    if head.method not in METHODS:
        raise Malformed(Code.METHOD_NOT_ALLOWED, "method")
    return head


def _one_host(head: RequestHead) -> None:
    host = head.index.get(b"host")
    if host is None:
        if head.version == 1:
            raise malformed("no Host")
        return
    match = _HOST.fullmatch(host)
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
    if _DIGITS.fullmatch(length) is None:
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


class Body(Protocol):
    """How a body ends. `take` returns what of it stands in the buffer, and what of the buffer is left."""

    done: bool

    def take(self, buffer: bytes) -> tuple[bytes, bytes]: ...


class LengthBody:
    """A body of a known length."""

    __slots__ = ("done", "left")

    def __init__(self, length: int) -> None:
        self.left = length
        self.done = length == 0

    def take(self, buffer: bytes) -> tuple[bytes, bytes]:
        left = self.left
        size = len(buffer)
        if size <= left:
            self.left = left - size
            self.done = size == left
            return buffer, b""
        self.left = 0
        self.done = True
        return buffer[:left], buffer[left:]


class CloseBody:
    """A body that ends with its connection; who reads it sets `done`."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def take(self, buffer: bytes) -> tuple[bytes, bytes]:
        return buffer, b""


class ChunkedBody:
    """A chunked body (RFC 9112 §7.1). Extensions are dropped, so are trailers; both are bounded."""

    __slots__ = ("_code", "_left", "_state", "done")

    def __init__(self, code: Code = Code.REQUEST_MALFORMED) -> None:
        self.done = False
        self._code = code
        self._left = 0
        self._state = "size"

    def take(self, buffer: bytes) -> tuple[bytes, bytes]:
        pieces: list[bytes] = []
        position = 0
        size = len(buffer)
        while position < size and not self.done:
            if self._state == "data":
                piece = buffer[position : position + self._left]
                pieces.append(piece)
                position += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
                self._state = "end"
            elif self._state == "end":
                if size - position < 2 and buffer[position] == 13:
                    break
                if buffer[position : position + 2] != b"\r\n":
                    raise Malformed(self._code, "chunk end")
                position += 2
                self._state = "size"
            elif self._state == "size":
                end = self._line(buffer, position, _MAX_CHUNK_LINE)
                if end < 0:
                    break
                match = _CHUNK_LINE.fullmatch(buffer, position, end)
                if match is None:
                    raise Malformed(self._code, "chunk size")
                self._left = int(match[1], 16)
                position = end + 2
                self._state = "data" if self._left else "trailers"
            else:
                position = self._trailers(buffer, position)
                if not self.done:
                    break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces), buffer[position:]

    def _line(self, buffer: bytes, start: int, bound: int) -> int:
        end = buffer.find(b"\r\n", start, start + bound)
        if end < 0 and (len(buffer) - start >= bound or buffer.find(b"\n", start, start + bound) >= 0):
            raise Malformed(self._code, "chunk line")
        return end

    def _trailers(self, buffer: bytes, start: int) -> int:
        """Consume the trailer section once all of it is there; return the new position."""
        if buffer.startswith(b"\r\n", start):
            self.done = True
            return start + 2
        end = buffer.find(END_OF_HEAD, start, start + _MAX_TRAILERS)
        if end < 0:
            if len(buffer) - start >= _MAX_TRAILERS or _BARE_LF.search(buffer, start):
                raise Malformed(self._code, "trailers")
            return start
        if _FIELD_LINES.fullmatch(buffer, start, end + 2) is None:
            raise Malformed(self._code, "trailers")
        self.done = True
        return end + 4


def body_of(framing: int, code: Code = Code.REQUEST_MALFORMED) -> Body:
    """Return the reader for a framing; `code` is what odd chunk syntax is called."""
    if framing == CHUNKED:
        return ChunkedBody(code)
    return CloseBody() if framing == UNTIL_CLOSE else LengthBody(framing)


def chunk(data: bytes) -> bytes:
    """Frame one piece; empty data is nothing, because an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


LAST_CHUNK: Final = b"0\r\n\r\n"
