"""Heads of responses, read by aiohttp's parser and held to the strict rules."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from sidecar.head import Fields
from sidecar.proxy.codec.field_names import FieldNames
from sidecar.proxy.codec.parser import PARSER_ERRORS, parsed_response_head
from sidecar.proxy.strict_rules import STATUS_LINE, TOKEN, UNTIL_CLOSE, Malformed, joined, response_framing
from sidecar.proxy.strict_rules import response_length as length_of
from sidecar.vocabulary import Code

_MOST_FIELDS: Final = 500
_MOST_STATUS_LINES: Final = 256
_NAME = re.compile(TOKEN)
_FINE: Final = bytes(byte for byte in range(256) if byte == 9 or (byte >= 32 and byte != 127))
_NONE: Final[frozenset[bytes]] = frozenset()


_DATE: Final = b"\r\nDate: "
_LENGTH: Final = b"\r\nContent-Length: "
_LOWER_DATE: Final = _DATE.lower()
_LOWER_LENGTH: Final = _LENGTH.lower()
_MOST_DIGITS: Final = 15
_MOST_KNOWN: Final = 128
_LARGEST_KNOWN: Final = 4096
_MOST_SEEN: Final = 1024
_IMF_FIXDATE: Final = re.compile(rb"[A-Za-z0-9,: ]{29}")
_VARIED: Final = frozenset({b"set-cookie", b"etag", b"last-modified"})
"""Names whose heads differ from response to response."""


class KnownHead:
    """A response's head that came before, but for the values of Date and Content-Length.

    blocks  what is relayed of its other lines, by the names that a route's responses lose
    """

    __slots__ = ("blocks", "bodied", "date_at", "index", "length_at", "lines", "modern", "reusable", "status")

    def __init__(self, answer: ResponseHead, *, modern: bool) -> None:
        names = [key for key, _ in answer.lines]
        self.status = answer.status
        self.modern = modern
        self.lines = answer.lines
        self.index = answer.index
        self.date_at = names.index(b"date") if b"date" in names else -1
        self.length_at = names.index(b"content-length") if b"content-length" in names else -1
        self.blocks: dict[frozenset[bytes], bytes] = {}
        # A body follows whose length is said: what else decides about its framing is the same each time.
        self.bodied = answer.length >= 0 and answer.status >= 200 and answer.status not in (204, 304)
        self.reusable = answer.reusable

    def again(self, date: bytes, length: bytes) -> ResponseHead:
        """Return the head with these values."""
        lines, index = self.lines.copy(), self.index.copy()
        if self.date_at >= 0:
            lines[self.date_at] = (b"date", b"Date: " + date)
            index[b"date"] = date
        if self.length_at >= 0:
            lines[self.length_at] = (b"content-length", b"Content-Length: " + length)
            index[b"content-length"] = length
        answer = ResponseHead(self.status, lines, index)
        answer.known = self
        return answer


class ResponseHead:
    """The head of the backend's response.

    lines     (lower-case name, whole line) in order
    framing   the length of the body that follows, CHUNKED or UNTIL_CLOSE
    length    what Content-Length says (a response to HEAD says it without a body), or -1
    reusable  another request may follow on this connection once the body is read
    known     what it shares with responses before; None where it is the first of its kind
    """

    __slots__ = ("framing", "index", "known", "length", "lines", "reusable", "status")

    def __init__(self, status: int, lines: Fields, index: dict[bytes, bytes]) -> None:
        self.status = status
        self.lines = lines
        self.index = index
        self.framing = 0
        self.length = -1
        self.reusable = False
        self.known: KnownHead | None = None

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of a lower-case name, one a line."""
        return [value_of(line) for key, line in self.lines if key == name]


def value_of(line: bytes) -> bytes:
    """Return a field line's value without outer white space."""
    return line.partition(b":")[2].strip(b" \t")


class ResponseHeadReader:
    """Reads complete heads of responses; one serves all connections to a backend."""

    def __init__(self) -> None:
        self._names = FieldNames(_check_name)
        self._status_lines: dict[bytes, tuple[int, bool]] = {}
        self._known: dict[bytes, KnownHead] = {}
        self._seen: set[int] = set()
        self._date = b""  # the last one that was looked at

    def read(self, raw: bytes, method: str) -> ResponseHead:
        """Return the head of a response to `method`; garbage is Malformed with BACKEND_BROKEN.

        Backends say the same again and again, but for the values of Date and Content-Length: a head that
        differs in nothing else from one before is not parsed anew.
        """
        rest, date, length = raw, b"", b""
        at = raw.find(_DATE)
        if at < 0:
            at = raw.find(_LOWER_DATE)
        if at >= 0:
            date = raw[at + 8 : at + 37]
            if date != self._date:
                if _IMF_FIXDATE.fullmatch(date) is None:
                    return self._parsed(raw, method)[0]
                self._date = date
            rest = raw[: at + 8] + raw[at + 37 :]
        at = rest.find(_LENGTH)
        if at < 0:
            at = rest.find(_LOWER_LENGTH)
        if at >= 0:
            end = rest.find(b"\r", at + 18)
            length = rest[at + 18 : end]
            if not length.isdigit() or len(length) > _MOST_DIGITS:
                return self._parsed(raw, method)[0]
            rest = rest[: at + 18] + rest[end:]
        known = self._known.get(rest)
        if known is None:
            return self._first(raw, rest, method)
        answer = known.again(date, length)
        if known.bodied and length:
            answer.length = int(length)
            answer.framing = 0 if method == "HEAD" else answer.length
            answer.reusable = known.reusable
            return answer
        return _framed(answer, method, modern=known.modern)

    def _first(self, raw: bytes, rest: bytes, method: str) -> ResponseHead:
        """Parse a head that is not known; one that comes for the second time is kept."""
        answer, modern = self._parsed(raw, method)
        mark = hash(rest)
        if mark not in self._seen:
            if len(self._seen) >= _MOST_SEEN:
                self._seen.clear()
            self._seen.add(mark)
        elif len(rest) <= _LARGEST_KNOWN and rest.count(b"\r\n") == len(answer.index) + 2 and _alike(answer):
            # No name occurs twice: what was left out of the key is the value of the only Date and Content-Length.
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[rest] = KnownHead(answer, modern=modern)
        return answer

    def _parsed(self, raw: bytes, method: str) -> tuple[ResponseHead, bool]:
        """Parse a head; return it, and whether it is HTTP/1.1's.

        aiohttp reads responses leniently, so line ends, control characters and names are checked here.
        """
        lines = raw[:-4].split(b"\r\n")
        ends = len(lines) + 1
        line = lines.pop(0)
        status, modern = self._status_lines.get(line) or self._read_status_line(line)
        if lines and lines[0].startswith((b" ", b"\t")):
            raise _broken()  # readers differ about whether it goes on with the status line
        if raw.translate(None, _FINE) != b"\r\n" * ends:
            raise _broken()
        try:
            fields = parsed_response_head(raw).raw_headers
        except PARSER_ERRORS:
            lines = with_one_length(lines)
            try:
                fields = parsed_response_head(b"\r\n".join([line, *lines, b"\r\n"])).raw_headers
            except PARSER_ERRORS:
                raise _broken() from None
        if len(fields) != len(lines) or len(fields) > _MOST_FIELDS:
            raise _broken()
        keys: Iterable[bytes]
        keys = index = self._names.index(fields)
        if len(index) != len(fields):
            keys = [self._names.lower(name) for name, _ in fields]
            index = joined(list(zip(keys, [value for _, value in fields], strict=True)), _NONE)
        answer = ResponseHead(status, list(zip(keys, lines, strict=False)), index)
        return _framed(answer, method, modern=modern), modern

    def _read_status_line(self, line: bytes) -> tuple[int, bool]:
        match = STATUS_LINE.fullmatch(line)
        if match is None:
            raise _broken()
        read = (int(match[2]), match[1] == b"1")
        if len(self._status_lines) < _MOST_STATUS_LINES and len(line) <= 64:
            self._status_lines[line] = read
        return read


def _framed(answer: ResponseHead, method: str, *, modern: bool) -> ResponseHead:
    """Set how a response's body is framed, and whether its connection may be used again."""
    index = answer.index
    answer.length = length_of(index)
    answer.framing = framing = response_framing(answer.status, index, answer.length, method, modern=modern)
    connection = index.get(b"connection")
    if connection is None:
        answer.reusable = modern and framing != UNTIL_CLOSE
    else:
        connection = connection.lower()
        keep = modern or b"keep-alive" in connection
        answer.reusable = framing != UNTIL_CLOSE and keep and b"close" not in connection
    return answer


def with_one_length(lines: list[bytes]) -> list[bytes]:
    """Return field lines with several equal lengths made one (RFC 9112 §6.3), others as they are."""
    lengths = [line for line in lines if line[:15].lower() == b"content-length:"]
    values = {value.strip(b" \t") for line in lengths for value in value_of(line).split(b",")}
    if len(values) != 1:
        return lines
    others = [line for line in lines if line not in lengths]
    return [*others, b"Content-Length: " + values.pop()]


def _alike(answer: ResponseHead) -> bool:
    """Return whether further responses may have this head, but for Date and Content-Length."""
    return _VARIED.isdisjoint(answer.index)


def _check_name(name: bytes) -> None:
    """Refuse a name that is no token: aiohttp passes blanks before the colon."""
    if _NAME.fullmatch(name) is None:
        raise _broken()


def _broken() -> Malformed:
    return Malformed(Code.BACKEND_BROKEN, "answer's head")
