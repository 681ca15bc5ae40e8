"""What kind of body a request carries, and the plain bytes of one that came compressed."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

TCHAR: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110 §5.6.2
TYPE = re.compile(rf"({TCHAR}/{TCHAR})[ \t]*")
PARAMETER = re.compile(rf';[ \t]*(?:({TCHAR})=(?:({TCHAR})|"((?:[^"\\\x00-\x1f]|\\[^\x00-\x1f])*)")[ \t]*)?')
GZIP_MAGIC: Final = b"\x1f\x8b"


class Kind(StrEnum):
    """The kinds of body that can be inspected."""

    JSON = "json"
    MULTIPART = "multipart"
    URLENCODED = "urlencoded"
    TEXT = "text"


@dataclass(frozen=True)
class ContentType:
    """A kind; `boundary` of a multipart body."""

    kind: Kind
    boundary: bytes = b""


JSON: Final = ContentType(Kind.JSON)
URLENCODED: Final = ContentType(Kind.URLENCODED)
TEXT: Final = ContentType(Kind.TEXT)


def media_of(content_type: bytes | None) -> ContentType | str:
    """Read a Content-Type, or return the reason why its body cannot be inspected.

    Strict, because a backend may read an odd one otherwise than we do: one value, one of each
    parameter, UTF-8 only.
    """
    if content_type == b"application/json":
        return JSON
    if content_type is None:
        return "no_content_type"
    parsed = split(content_type.decode("latin-1"))
    if parsed is None:
        return "bad_content_type"
    name, parameters = parsed
    if parameters.get("charset", "utf-8").lower() not in {"utf-8", "utf8"}:
        return "charset"
    if name == "application/json" or (name.startswith("application/") and name.endswith("+json")):
        return JSON
    if name == "text/plain":
        return TEXT
    if name == "application/x-www-form-urlencoded":
        return URLENCODED
    boundary = parameters.get("boundary", "")
    # PHP takes whatever follows the first `boundary` in the line, Werkzeug also `boundary*`: no other parameters.
    plain = parameters.keys() <= {"boundary", "charset"}
    if name == "multipart/form-data" and plain and 0 < len(boundary) <= 70:  # RFC 2046 §5.1.1
        return ContentType(Kind.MULTIPART, boundary.encode("latin-1"))
    return "content_type"


def split(text: str) -> tuple[str, dict[str, str]] | None:
    """Return media type and parameters (RFC 9110 §8.3.1), names in lower case; None if malformed or repeated."""
    start = TYPE.match(text)
    if start is None:
        return None
    parameters: dict[str, str] = {}
    at = start.end()
    while at < len(text):
        parameter = PARAMETER.match(text, at)
        if parameter is None:
            return None
        at = parameter.end()
        if parameter[1]:
            name = parameter[1].lower()
            if name in parameters:
                return None
            parameters[name] = parameter[2] if parameter[2] is not None else re.sub(r"\\(.)", r"\1", parameter[3])
    return start[1].lower(), parameters


def open_body(encoding: bytes | None, body: bytes, bound: int) -> bytes | str:
    """Return the body without its content coding, or the reason why it cannot be decoded.

    A body that does not start as gzip does was opened by an earlier guard, or never was gzip: it is
    read as it is, and goes on without the field. (Neither JSON nor a form can start so.)
    """
    if encoding is None:
        return body
    coding = encoding.strip().lower()
    if coding in {b"", b"identity"}:
        return body
    if coding not in {b"gzip", b"x-gzip"}:
        return "content_encoding"
    if not body.startswith(GZIP_MAGIC):
        return body
    opener = zlib.decompressobj(wbits=31)
    try:
        opened = opener.decompress(body, bound + 1)
    except zlib.error:
        return "bad_gzip"
    if len(opened) > bound:
        return "too_big"
    # One member, complete, nothing behind it: readers differ about the rest.
    return opened if opener.eof and not opener.unused_data else "bad_gzip"
