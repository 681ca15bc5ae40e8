"""Protocol buffers on the wire: find the strings at known fields, put changed ones back, leave every other byte.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2
FIXED32: Final = 5
MAX_FIELD: Final = (1 << 29) - 1
MAX_FIELDS: Final = 100_000

FieldPath = tuple[int, ...]
"""Numbers of fields, from the outermost message."""


class Malformed(ValueError):
    """Bytes that are no message, or that readers take differently."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field. A length-delimited one has its value at data[start:end]; `head` is where its tag starts."""

    number: int
    wire: int
    head: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Text:
    """One string, its path, and where it is: the field itself and those that hold it, outermost first."""

    path: FieldPath
    text: str
    fields: tuple[Field, ...]


def fields(data: bytes, start: int, end: int) -> Iterator[Field]:
    """Yield the fields of the message at data[start:end]; raise Malformed."""
    at = start
    for _ in range(MAX_FIELDS):
        if at == end:
            return
        head = at
        tag, at = varint(data, at, end)
        field, wire = tag >> 3, tag & 7
        if not 0 < field <= MAX_FIELD:
            raise Malformed("field number")
        if wire == LENGTH:
            size, at = varint(data, at, end)
        elif wire == VARINT:
            size = varint(data, at, end)[1] - at
        elif wire == FIXED64:
            size = 8
        elif wire == FIXED32:
            size = 4
        else:
            raise Malformed("group")  # readers skip groups differently
        if size > end - at:
            raise Malformed("length")
        yield Field(field, wire, head, at, at + size)
        at += size
    raise Malformed("too many fields")


def varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return the number at `at`, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise Malformed("varint")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                raise Malformed("varint")
            return value, at
    raise Malformed("varint")


def texts(data: bytes, paths: frozenset[FieldPath]) -> list[Text]:
    """Return the strings at these paths, in order; raise Malformed."""
    inner = frozenset(path[:depth] for path in paths for depth in range(1, len(path)))
    found: list[Text] = []
    _walk(data, 0, len(data), (), (), paths, inner, found)
    return found


def _walk(
    data: bytes,
    start: int,
    end: int,
    at: FieldPath,
    within: tuple[Field, ...],
    paths: frozenset[FieldPath],
    inner: frozenset[FieldPath],
    found: list[Text],
) -> None:
    for field in fields(data, start, end):
        path = (*at, field.number)
        if field.wire != LENGTH:
            continue
        if path in paths:
            try:
                found.append(Text(path, data[field.start : field.end].decode(), (*within, field)))
            except UnicodeDecodeError:
                raise Malformed("text") from None
        elif path in inner:
            _walk(data, field.start, field.end, path, (*within, field), paths, inner, found)


def sizes(data: bytes, paths: frozenset[FieldPath]) -> list[int]:
    """Return the lengths in bytes of the values at these paths, but of empty ones; raise Malformed."""
    inner = frozenset(path[:depth] for path in paths for depth in range(1, len(path)))
    found: list[int] = []
    waiting: list[tuple[int, int, FieldPath]] = [(0, len(data), ())]
    while waiting:
        start, end, at = waiting.pop()
        for field in fields(data, start, end):
            path = (*at, field.number)
            if field.wire == LENGTH and path in inner:
                waiting.append((field.start, field.end, path))
            elif field.wire == LENGTH and path in paths and field.end > field.start:
                found.append(field.end - field.start)
    return found


def put_back(data: bytes, found: list[Text], changes: Mapping[int, str]) -> bytes:
    """Return the message with the texts of these numbers in `found` changed; lengths around them are written anew."""
    edits: dict[tuple[int, int], bytes] = {}  # (start, end) of a value → what is there instead
    parents: dict[tuple[int, int], Field] = {}
    for at, text in changes.items():
        *around, own = found[at].fields
        edits[own.start, own.end] = text.encode()
        parents[own.start, own.end] = own
        for field in around:
            parents[field.start, field.end] = field
    return _rebuilt(data, 0, len(data), edits, sorted(parents.values(), key=lambda field: (field.start, -field.end)))


def _rebuilt(data: bytes, start: int, end: int, edits: Mapping[tuple[int, int], bytes], inside: list[Field]) -> bytes:
    """Return data[start:end] with the edits in it; `inside` are the fields there that hold one, outermost first."""
    out: list[bytes] = []
    copied = start
    at = 0
    while at < len(inside):
        field = inside[at]
        below = at + 1
        while below < len(inside) and inside[below].end <= field.end:
            below += 1
        value = edits.get((field.start, field.end))
        if value is None:
            value = _rebuilt(data, field.start, field.end, edits, inside[at + 1 : below])
        _, tag_end = varint(data, field.head, field.start)
        out += (data[copied : field.head], data[field.head : tag_end], number(len(value)), value)
        copied = field.end
        at = below
    out.append(data[copied:end])
    return b"".join(out)


def number(size: int) -> bytes:
    """Return a number as a varint."""
    out = bytearray()
    while size > 0x7F:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    out.append(size)
    return bytes(out)
