"""Heads of requests, read by aiohttp's parser and held to the strict rules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from sidecar.bounded_cache import BoundedCache
from sidecar.head import RequestHead
from sidecar.proxy.codec.field_names import FieldNames
from sidecar.proxy.codec.parser import PARSER_ERRORS, parsed_request_head
from sidecar.proxy.strict_rules import METHODS, REQUEST_LINE, Malformed, check_host, joined, malformed, origin_form
from sidecar.vocabulary import Code

_CACHED: Final = 512 * 1024
"""Bytes of request lines that are remembered; as many again of hosts."""


class _RequestLine(NamedTuple):
    method: str
    target: bytes
    path: str
    version: int


class RequestHeadReader:
    """Reads complete heads. One serves all connections of a listener: it keeps nothing of any of them
    but request lines, hosts and spellings of names, which are bounded in bytes.
    """

    def __init__(self) -> None:
        self._names = FieldNames()
        self._lines: BoundedCache[bytes, _RequestLine] = BoundedCache(_CACHED)
        self._hosts: BoundedCache[bytes, bytes] = BoundedCache(_CACHED)

    def read(self, raw: bytes, max_target: int, max_fields: int) -> RequestHead:
        """Return the head that `raw` is, blank line included; raise Malformed when it has no single reading."""
        lines = raw[:-4].split(b"\r\n")
        line = lines.pop(0)
        if len(lines) > max_fields:
            raise Malformed(Code.HEADERS_TOO_LARGE, "too many fields")
        try:
            fields = parsed_request_head(raw).raw_headers
        except PARSER_ERRORS:
            raise _refused(line) from None
        if len(fields) != len(lines):
            raise malformed("field line")
        keys: Iterable[bytes]
        keys = index = self._names.index(fields)
        if len(index) != len(fields):
            keys = [self._names.lower(name) for name, _ in fields]
            index = joined(list(zip(keys, [value for _, value in fields], strict=True)))
        host = index.get(b"host")
        known = self._lines.get(line) or self._read_line(line, host or b"", max_target)
        if host is None or host not in self._hosts:
            self._check_host(host, known.version)
        if len(known.target) > max_target:
            raise Malformed(Code.TARGET_TOO_LONG, "target")
        if known.method not in METHODS:
            raise Malformed(Code.METHOD_NOT_ALLOWED, "method")
        return RequestHead(
            known.method, known.target, known.path, known.version, list(zip(keys, lines, strict=False)), index
        )

    def _check_host(self, host: bytes | None, version: int) -> None:
        if host is not None:
            check_host(host)
            self._hosts.remember(host, host, len(host))
        elif version != 0:
            raise malformed("no Host")

    def _read_line(self, line: bytes, host: bytes, max_target: int) -> _RequestLine:
        match = REQUEST_LINE.fullmatch(line)
        if match is None:
            raise malformed("request line")
        method, target = match[1].decode(), match[2]
        if len(target) > max_target:
            raise Malformed(Code.TARGET_TOO_LONG, "target")
        absolute = target[0] != 47
        target = origin_form(method, target, host)
        read = _RequestLine(method, target, target.partition(b"?")[0].decode("latin-1"), match[3][0] - 48)
        # What an absolute target means depends on Host.
        return read if absolute else self._lines.remember(line, read, 3 * len(line))


def _refused(line: bytes) -> Malformed:
    """Say what was wrong with a head that aiohttp's parser did not take; its own words quote what was sent."""
    match = REQUEST_LINE.fullmatch(line)
    if match is None:
        return malformed("request line")
    if match[1].decode() not in METHODS:
        return Malformed(Code.METHOD_NOT_ALLOWED, "method")
    return malformed("field line" if match[2].startswith(b"/") else "target form")
