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


class ResponseHead:
    """The head of the backend's response.

    lines     (lower-case name, whole line) in order
    framing   the length of the body that follows, CHUNKED or UNTIL_CLOSE
    length    what Content-Length says (a response to HEAD says it without a body), or -1
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


class ResponseHeadReader:
    """Reads complete heads of responses; one serves all connections to a backend."""

    def __init__(self) -> None:
        self._names = FieldNames(_check_name)
        self._status_lines: dict[bytes, tuple[int, bool]] = {}

    def read(self, raw: bytes, method: str) -> ResponseHead:
        """Return the head of a response to `method`; garbage is Malformed with BACKEND_BROKEN.

        aiohttp reads responses leniently, so line ends, control characters and names are checked here.
        """
        lines = raw[:-4].split(b"\r\n")
        ends = len(lines) + 1
        line = lines.pop(0)
        status, modern = self._status_lines.get(line) or self._read_status_line(line)
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
        answer.length = length_of(index)
        answer.framing = framing = response_framing(status, index, answer.length, method, modern=modern)
        connection = index.get(b"connection")
        if connection is None:
            answer.reusable = modern and framing != UNTIL_CLOSE
        else:
            connection = connection.lower()
            keep = modern or b"keep-alive" in connection
            answer.reusable = framing != UNTIL_CLOSE and keep and b"close" not in connection
        return answer

    def _read_status_line(self, line: bytes) -> tuple[int, bool]:
        match = STATUS_LINE.fullmatch(line)
        if match is None:
            raise _broken()
        read = (int(match[2]), match[1] == b"1")
        if len(self._status_lines) < _MOST_STATUS_LINES and len(line) <= 64:
            self._status_lines[line] = read
        return read


def with_one_length(lines: list[bytes]) -> list[bytes]:
    """Return field lines with several equal lengths made one (RFC 9112 §6.3), others as they are."""
    lengths = [line for line in lines if line[:15].lower() == b"content-length:"]
    values = {value.strip(b" \t") for line in lengths for value in value_of(line).split(b",")}
    if len(values) != 1:
        return lines
    others = [line for line in lines if line not in lengths]
    return [*others, b"Content-Length: " + values.pop()]


def _check_name(name: bytes) -> None:
    """Refuse a name that is no token: aiohttp passes blanks before the colon."""
    if _NAME.fullmatch(name) is None:
        raise _broken()


def _broken() -> Malformed:
    return Malformed(Code.BACKEND_BROKEN, "answer's head")
