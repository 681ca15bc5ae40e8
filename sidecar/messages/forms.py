"""Messages in forms: find the named fields, put changed texts back, leave every other byte.

Only forms that every reader takes alike are inspected: each named field once, no second spelling of its
name, UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_plus, unquote_to_bytes

from sidecar.messages.field_names import FormNames

MAX_FIELDS: Final = 1000
BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
DISPOSITION = re.compile(
    rb'form-data; name="([^"\\\x00-\x1f\x7f]*)"'
    rb'((?:; filename="[^"\x00-\x1f\x7f]*")?'
    rb"(?:; filename\*=(?i:utf-8)'[A-Za-z0-9-]*'[!#$&+.^_`|~0-9A-Za-z%-]*)?)"  # RFC 8187 §3.2
)
HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")
CHARSET_FIELD: Final = "_charset_"
"""Names the encoding of the other fields (HTML, "constructing the entry list")."""
LATIN_1_SENTINEL: Final = "&#10003;"
"""What a field `utf8` holds when the form was sent in Latin-1: qs decodes the others accordingly."""
TEXT_TYPES: Final = frozenset({b"", b"text/plain", b"text/plain; charset=utf-8", b"text/plain;charset=utf-8"})


@dataclass(frozen=True, slots=True)
class Field:
    """One text field; its value is at body[start:end]."""

    name: str
    start: int
    end: int
    text: str


def urlencoded(body: bytes, wanted: FormNames) -> list[Field] | str:
    """Return the wanted fields of a form, or the reason why it cannot be inspected."""
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
        if wanted.ambiguous(name) or (b";" in pair and hides_field(pair, wanted)):
            return "odd_field_name"
        if names_other_charset(name, text):
            return "charset"
        if name in wanted.exact:
            if name in found:
                return "duplicate_key"
            found[name] = Field(name, start, start + len(raw), text)
    return list(found.values())


def decoded(raw: bytes) -> str:
    """Decode one name or value of application/x-www-form-urlencoded. Raises UnicodeDecodeError."""
    return unquote_to_bytes(raw.replace(b"+", b" ")).decode()


def hides_field(pair: bytes, wanted: FormNames) -> bool:
    """Return whether readers that also split at `;` (HTML 4.01, B.2.2) find one of our fields in a pair."""
    names = (decoded(each.partition(b"=")[0]) for each in pair.split(b";")[1:])
    return any(name in wanted.exact or wanted.ambiguous(name) for name in names) or b";" in pair.partition(b"=")[0]


def names_other_charset(name: str, text: str) -> bool:
    """Return whether a field tells some readers to decode the others by something else than UTF-8."""
    if name.lower() == CHARSET_FIELD:
        return text.lower() not in {"utf-8", "utf8"}
    return name.lower() == "utf8" and text == LATIN_1_SENTINEL


def multipart(body: bytes, boundary: bytes, wanted: FormNames) -> list[Field] | str:
    """Return the wanted parts of a multipart/form-data body, or the reason why it cannot be inspected."""
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


def read_part(body: bytes, head: bytes, start: int, end: int, wanted: FormNames) -> Field | str | None:
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
        if wanted.ambiguous(name):
            return "odd_field_name"
        if names_other_charset(name, body[start : min(end, start + 16)].decode(errors="replace")):
            return "charset"
        if name not in wanted.exact:
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
