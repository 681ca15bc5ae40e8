"""Messages in forms: find the named fields, put changed texts back, leave every other byte.

Only forms that every reader takes alike are inspected: each field once, plain names, UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_plus, unquote_to_bytes

MAX_FIELDS: Final = 1000
BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
DISPOSITION = re.compile(rb'form-data; name="([^"\\\x00-\x1f\x7f]*)"(; filename="[^"\x00-\x1f\x7f]*")?')
HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")
TEXT_TYPES: Final = frozenset({b"", b"text/plain", b"text/plain; charset=utf-8", b"text/plain;charset=utf-8"})


@dataclass(frozen=True, slots=True)
class Field:
    """One text field; its value stands at body[start:end]."""

    name: str
    start: int
    end: int
    text: str


def urlencoded(body: bytes, wanted: Collection[str]) -> list[Field] | str:
    """Return the wanted fields of a form, or a word for why it cannot be inspected."""
    if BAD_PERCENT.search(body):
        return "bad_percent"
    found: dict[str, Field] = {}
    at = 0
    pairs = body.split(b"&", MAX_FIELDS)
    if len(pairs) > MAX_FIELDS:
        return "too_many_fields"
    for pair in pairs:
        raw_name, equals, raw = pair.partition(b"=")
        start, at = at + len(raw_name) + len(equals), at + len(pair) + 1
        try:
            name, text = decoded(raw_name), decoded(raw)
        except UnicodeDecodeError:
            return "not_utf8"
        if odd(name, wanted) or ";" in name:
            return "odd_field_name"
        if name in wanted:
            if name in found:
                return "duplicate_key"
            found[name] = Field(name, start, start + len(raw), text)
    return list(found.values())


def decoded(raw: bytes) -> str:
    return unquote_to_bytes(raw.replace(b"+", b" ")).decode()


def odd(name: str, wanted: Collection[str]) -> bool:
    """Say whether some readers would take this name as one of ours (`message[]`, `message.0`, ` message`)."""
    base = re.split(r"[\[.\x00]", name.strip(), maxsplit=1)[0]
    return name not in wanted and (base in wanted or base.strip() in wanted)


def multipart(body: bytes, boundary: bytes, wanted: Collection[str]) -> list[Field] | str:
    """Return the wanted parts of a multipart/form-data body, or a word for why it cannot be inspected."""
    delimiter = b"\r\n--" + boundary
    if not body.startswith(delimiter[2:]):
        return "bad_multipart"  # a preamble: some readers look into it
    found: dict[str, Field] = {}
    at = len(delimiter) - 2
    for count in range(1, MAX_FIELDS + 1):
        if body.startswith(b"--", at):
            # A boundary that we did not take as one (after a bare line feed, say) is one to some readers.
            ended = body[at + 2 :] in {b"", b"\r\n"} and body.count(delimiter[2:]) == count
            return list(found.values()) if ended else "bad_multipart"
        head_end = body.find(b"\r\n\r\n", at)
        if not body.startswith(b"\r\n", at) or head_end < 0:
            return "bad_multipart"
        start = head_end + 4
        end = body.find(delimiter, start - 2)
        if end < 0:
            return "bad_multipart"
        part = read_part(body, body[at + 2 : head_end], start, max(start, end), wanted)
        if isinstance(part, str):
            return part
        if part is not None:
            if part.name in found:
                return "duplicate_key"
            found[part.name] = part
        at = end + len(delimiter)
    return "too_many_fields"


def read_part(body: bytes, head: bytes, start: int, end: int, wanted: Collection[str]) -> Field | str | None:
    """Read one part; None: a part that is not ours (a file, another field)."""
    headers: dict[bytes, bytes] = {}
    for line in head.split(b"\r\n"):
        header = HEADER.fullmatch(line)
        if header is None or header[1].lower() in headers:
            return "bad_multipart"
        headers[header[1].lower()] = header[2]
    disposition = DISPOSITION.fullmatch(headers.get(b"content-disposition", b""))
    if disposition is None:
        return "bad_multipart"
    try:
        name = disposition[1].decode()
        if odd(name, wanted):
            return "odd_field_name"
        if name not in wanted:
            return None
        if disposition[2] or b"content-transfer-encoding" in headers:
            return "odd_field"
        if headers.get(b"content-type", b"").lower() not in TEXT_TYPES:
            return "content_type"
        return Field(name, start, end, body[start:end].decode())
    except UnicodeDecodeError:
        return "not_utf8"


def put_back(body: bytes, fields: list[Field], texts: Mapping[str, str], *, quoted: bool) -> bytes:
    """Return the body with the values of these fields replaced; `quoted` percent-encodes them."""
    out: list[bytes] = []
    copied = 0
    for field in sorted(fields, key=lambda one: one.start):
        if field.name in texts:
            text = texts[field.name]
            out += (body[copied : field.start], quote_plus(text).encode() if quoted else text.encode())
            copied = field.end
    out.append(body[copied:])
    return b"".join(out)
